"""Repeating, alternating and summing up: what every benchmark does with its figures. Knows no contestant."""

import math
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

import psutil
from rich.console import Console
from rich.table import Table

T = TypeVar("T")
Figures = Mapping[str, float]
N_REPEATS = 5


def alternate(contestants: Sequence[T], measure: Callable[[T], Figures], *, repeats: int) -> dict[int, list[Figures]]:
    """Each once, then each again, so that what the machine does meanwhile hits all alike. -> figures by place"""
    found: dict[int, list[Figures]] = {place: [] for place in range(len(contestants))}
    for _ in range(repeats):
        for place, contestant in enumerate(contestants):
            found[place].append(measure(contestant))
    return found


def median(rows: Sequence[Figures], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def spread(rows: Sequence[Figures], name: str) -> float:
    """Half the distance from the least to the greatest, relative to the median."""
    values = [row[name] for row in rows]
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else math.inf


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def machine(redis_version: str) -> dict[str, Any]:
    packages = ("redis", "hiredis", "uvloop", "anyio", "msgspec", "fastapi", "starlette", "uvicorn")
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "redis": redis_version,
        **{name: version(name) for name in packages},
    }


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=160).print(table)
