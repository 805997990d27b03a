"""docs/performance.md and what the README quotes of it, made of the results that were kept.

python -m benchmarks.page            write both
python -m benchmarks.page --check    exit with 1 if they are not what would be written
"""

import inspect
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import msgspec

from benchmarks import drain, fan_out, gateway, growth, idle, recovery, round_trip
from benchmarks.measuring import Found, Table

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs" / "performance.md", ROOT / "README.md"
RESULTS = Path(__file__).with_name("results")
MODULES: dict[str, ModuleType] = {
    "drain": drain,
    "round_trip": round_trip,
    "gateway": gateway,
    "fan_out": fan_out,
    "idle": idle,
    "growth": growth,
    "recovery": recovery,
}

# The first table of each stands in the README as well, between these lines.
QUOTED = ("drain", "round_trip", "gateway", "fan_out")
_BEGIN, _END = "<!-- quoted from docs/performance.md -->\n", "<!-- end of the quotation -->\n"

_HEAD = """\
# What it costs, and what others cost

Made from `benchmarks/results` by `uv run --group bench python -m benchmarks.page`; do not edit. Each table was printed
by the command above it, which starts all contestants on one machine, one after the other, over and over. A figure is
the median of the repeats, ± half the distance from the least to the greatest; a ratio is the median of the ratios of
each round. Machines differ, and a shared one by the minute: compare within a table.
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
    _file(name).write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    write()


def write() -> None:
    for path, text in made().items():
        path.write_text(text)


def made() -> dict[Path, str]:
    """What each page should say."""
    page = "\n".join([_HEAD, *(_section(name) for name in MODULES if _file(name).exists())])
    before, _, rest = README.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    tables = [MODULES[name].tables(_result(name).found)[0] for name in QUOTED if _file(name).exists()]
    quoted = "\n".join(line for each in tables for line in _markdown(each))
    return {PAGE: page, README: f"{before}{_BEGIN}{quoted}{_END}{after}"}


def _file(name: str) -> Path:
    return RESULTS / f"{name}.json"


def _result(name: str) -> Result:
    return msgspec.json.decode(_file(name).read_bytes(), type=Result)


def _section(name: str) -> str:
    result = _result(name)
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
        write()
        return
    for path, text in made().items():
        if not path.exists() or path.read_text() != text:
            sys.exit(f"{path.name} is not what benchmarks/results say: see the head of benchmarks/page.py")


if __name__ == "__main__":
    main()
