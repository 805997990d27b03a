"""docs/performance.md, made of the results that were kept: each benchmark's figures, of one machine and one day.

python -m benchmarks.page            write docs/performance.md
python -m benchmarks.page --check    exit with 1 if it is not what would be written
"""

import inspect
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import msgspec

from benchmarks import drain, fan_out, gateway, growth, idle, round_trip
from benchmarks.measuring import Found, Table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = Path(__file__).with_name("results")
MODULES: dict[str, ModuleType] = {
    "drain": drain,
    "round_trip": round_trip,
    "gateway": gateway,
    "fan_out": fan_out,
    "idle": idle,
    "growth": growth,
}

_HEAD = """\
# What it costs, and what others cost

Made from `benchmarks/results` by `uv run --group bench python -m benchmarks.page`; do not edit. Each table was printed
by the command above it, which starts all contestants on one machine, one after the other, over and over. A figure is
the median of the repeats, ± half the distance from the least to the greatest. Machines differ: compare within a table.
"""


class Result(msgspec.Struct, frozen=True):
    at: str
    repeats: int
    machine: dict[str, str | int | None]
    found: Found


def keep(name: str, found: Found, machine: dict[str, str | int | None]) -> None:
    repeats = max(len(rows) for rows in found.values())
    result = Result(datetime.now(UTC).date().isoformat(), repeats, machine, found)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    PAGE.write_text(made())


def made() -> str:
    return "\n".join([_HEAD, *(_section(name) for name in MODULES if (RESULTS / f"{name}.json").exists())])


def _section(name: str) -> str:
    result = msgspec.json.decode((RESULTS / f"{name}.json").read_bytes(), type=Result)
    title, _, what = inspect.cleandoc(MODULES[name].__doc__ or "").partition(":")
    facts = dict(result.machine)
    cores, memory = facts.pop("cores"), facts.pop("memory_gib")
    versions = ", ".join(f"{key} {value}" for key, value in facts.items())
    where = f"{result.at}, {cores} cores, {memory} GiB; {versions}."
    lines = [
        f"## {title}",
        "",
        what.strip()[:1].upper() + what.strip()[1:],
        "",
        f"`uv run --group bench python -m benchmarks {name} --keep`: {result.repeats} repeats; {where}",
        "",
    ]
    for each in MODULES[name].tables(result.found):
        lines += _markdown(each)
    return "\n".join(lines)


def _markdown(table: Table) -> list[str]:
    def row(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    return [f"**{table.title}**", "", *map(row, [list(table.columns), rule, *map(list, table.rows)]), ""]


def main() -> None:
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made())
    elif not PAGE.exists() or PAGE.read_text() != made():
        sys.exit("docs/performance.md is not what benchmarks/results say: see the head of benchmarks/page.py")


if __name__ == "__main__":
    main()
