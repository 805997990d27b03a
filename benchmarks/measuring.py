"""Repeats, alternates and summarises, for every benchmark. Knows no contestant."""

import math
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Literal, TypeVar

import msgspec
import psutil

T = TypeVar("T")
Figures = Mapping[str, float]
# The figures of each case, once for each repeat.
Found = dict[str, list[Figures]]
N_REPEATS = 5
NOTHING = "-"


class PeerFailed(Exception):
    """The software of others failed, so its figure is left out."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table: the median of a figure, the same with its spread, or the median of its
    ratio to the base of the table in the same round. `ratio` is the figure over that of the base,
    `inverse` the other way round. form: as for format(); ratios always have two places. base: the
    case that this column's ratios refer to, if it is another one than the table's."""

    title: str
    figure: str
    form: str = ",.0f"
    kind: Literal["median", "spread", "ratio", "inverse"] = "median"
    base: str = ""


class Table(msgspec.Struct, frozen=True):
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def alternate(cases: Mapping[str, T], measure: Callable[[T], Figures], *, repeats: int) -> Found:
    """Measure each case once, then each again, so that changes of the machine affect all alike."""
    found: Found = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            try:
                found[name].append(measure(case))
            except PeerFailed as error:
                print(f"{name}: {error}", file=sys.stderr)
                found[name].append({})
    return found


def table(title: str, found: Found, columns: Sequence[Column], *, base: str = "") -> Table:
    """A table with a row for each case. base: the case that ratios refer to."""
    rows = [
        [name, *(_cell(column, here, found.get(column.base or base, here)) for column in columns)]
        for name, here in found.items()
    ]
    return Table(title, ["", *(column.title for column in columns)], rows)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def machine(redis_version: str) -> dict[str, str | int | None]:
    packages = ("redis", "hiredis", "uvloop", "anyio", "msgspec", "fastapi", "starlette", "uvicorn")
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "redis-server": redis_version,
        **{name: version(name) for name in packages},
    }


def _cell(column: Column, here: Sequence[Figures], base: Sequence[Figures]) -> str:
    values = [row[column.figure] for row in here if column.figure in row]
    if not values:
        return NOTHING
    middle = statistics.median(values)
    match column.kind:
        case "median":
            return format(middle, column.form)
        case "spread":
            return f"{format(middle, column.form)} ± {_spread(values):.0%}"
        case "ratio":
            return _ratio(here, base, column.figure)
        case "inverse":
            return _ratio(base, here, column.figure)


def _ratio(above: Sequence[Figures], below: Sequence[Figures], figure: str) -> str:
    """The median of the ratios of each round: a shared machine may be half as fast for minutes,
    which affects both."""
    ratios = [a[figure] / b[figure] for a, b in zip(above, below, strict=False) if figure in a and figure in b]
    return f"{statistics.median(ratios):.2f}" if ratios else NOTHING


def _spread(values: Sequence[float]) -> float:
    """Half the distance between the smallest and the largest value, relative to the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else math.inf
