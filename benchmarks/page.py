"""Makes docs/performance.md, and the table of figures in the README, from the results that were
kept.

    python -m benchmarks.page            write both
    python -m benchmarks.page --check    exit with 1 if one of them is out of date
"""

import inspect
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import msgspec

from benchmarks import drain, fan_out, gateway, growth, idle, recovery, round_trip, serving
from benchmarks.measuring import Found, Table
from tests.support.lists import MAX_COLUMNS, wrapped

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs" / "performance.md", ROOT / "README.md"
RESULTS = Path(__file__).with_name("results")
MODULES: dict[str, ModuleType] = {
    "drain": drain,
    "round_trip": round_trip,
    "gateway": gateway,
    "fan_out": fan_out,
    "serving": serving,
    "idle": idle,
    "growth": growth,
    "recovery": recovery,
}


class Quote(msgspec.Struct, frozen=True):
    """One row of the README's table.

    table: which table of the benchmark, from 0. figure: a column of that table. ours, theirs: rows
    of the table, where theirs is the closest alternative. alternative: the name of theirs in the
    README. unit: follows each figure.
    """

    what: str
    benchmark: str
    table: int
    figure: str
    ours: str
    theirs: str
    alternative: str
    unit: str = ""


# The README has only these, between the two comments below.
QUOTED = (
    Quote("no-op jobs finished per second, one worker", "drain", 0, "drained/s", "Headrace", "BullMQ", "BullMQ"),
    Quote(
        "one job from submission to result, without HTTP",
        "round_trip",
        0,
        "p50 ms",
        "Headrace",
        "BullMQ",
        "BullMQ",
        " ms",
    ),
    Quote(
        "inference jobs submitted per second",
        "gateway",
        0,
        "64: requests/s",
        "Headrace gateway",
        "Starlette, body as it is, one XADD",
        "Starlette, one XADD",
    ),
    Quote(
        "jobs stored per second, submitted in lists",
        "gateway",
        1,
        "jobs/s",
        "Headrace gateway, lists of 500 over 4 connections",
        "BullMQ",
        "BullMQ",
    ),
    Quote(
        "gateway CPU per event, 1,000 readers of one job",
        "fan_out",
        0,
        "server µs",
        "Headrace gateway, 1,000 readers, 1 jobs",
        "one XREAD per reader, 1,000 readers, 1 jobs",
        "one XREAD per reader",
        " µs",
    ),
)
_BEGIN, _END = "<!-- quoted from docs/performance.md -->\n", "<!-- end of the quotation -->\n"

_HEAD = """\
# What a job costs, here and elsewhere

This page is made from `benchmarks/results` by `uv run --group bench python -m benchmarks.page`. Do
not edit it.

The command above each table printed it. That command runs all contestants on one machine, one
after another, several times. A figure is the median of the runs, ± half the distance between the
lowest and the highest. The column *ratio* compares Headrace with the contestant of the row; above
1, Headrace is better. *vs XREAD* and *vs first row* compare the figure before them with that row.
Each is the median of the ratios of all rounds. Machines differ, and a shared machine changes from
minute to minute. Compare only figures of one table.
"""
# Columns that belong to the one before them, and stay beside it.
_QUALIFIES = ("ratio", "vs first row", "vs XREAD", "vs best peer", "vs ORT")


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
    """The text of each page."""
    page = "\n".join([_HEAD, *(_section(name) for name in MODULES if _file(name).exists())])
    before, _, rest = README.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rows = [_quoted(quote) for quote in QUOTED if _file(quote.benchmark).exists()]
    quoted = "\n".join(["| what | Headrace | closest alternative measured |", "|---|---:|---:|", *rows, ""])
    return {PAGE: page, README: f"{before}{_BEGIN}{quoted}{_END}{after}"}


def _quoted(quote: Quote) -> str:
    table = MODULES[quote.benchmark].tables(_result(quote.benchmark).found)[quote.table]
    column = table.columns.index(quote.figure)
    figures = {row[0]: row[column] + quote.unit for row in table.rows}
    return f"| {quote.what} | {figures[quote.ours]} | {figures[quote.theirs]} ({quote.alternative}) |"


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
    paragraphs = [" ".join(each.split()) for each in what.strip().split("\n\n")]
    lines = [f"## {title}", ""]
    for text in paragraphs:
        lines += [wrapped(text[:1].upper() + text[1:]), ""]
    lines += [
        f"`uv run --group bench python -m benchmarks {name} --keep`",
        "",
        wrapped(f"{result.repeats} repeats; {where}"),
        "",
    ]
    for each in MODULES[name].tables(result.found):
        lines += _markdown(each)
    return "\n".join(lines)


def _markdown(table: Table) -> list[str]:
    """One table, or several with the same rows if one would be too wide for the page."""
    lines = [f"**{table.title}**", ""]
    for columns in _parts(table):
        rows = [[row[place] for place in columns] for row in (table.columns, *table.rows)]
        rule = ["---", *["---:"] * (len(columns) - 1)]
        lines += [*map(_row, [rows[0], rule, *rows[1:]]), ""]
    return lines


def _parts(table: Table) -> Iterator[list[int]]:
    """The columns of each part. Each part begins with the first column, which names the rows."""
    part = [0]
    for group in _groups(table.columns):
        if len(part) > 1 and _width(table, [*part, *group]) > MAX_COLUMNS:
            yield part
            part = [0]
        part += group
    yield part


def _groups(columns: Sequence[str]) -> list[list[int]]:
    groups: list[list[int]] = []
    for place, name in enumerate(columns[1:], 1):
        if name in _QUALIFIES and groups:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _width(table: Table, columns: Sequence[int]) -> int:
    return max(len(_row([row[place] for place in columns])) for row in (table.columns, *table.rows))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    if "--check" not in sys.argv[1:]:
        write()
        return
    for path, text in made().items():
        if not path.exists() or path.read_text() != text:
            sys.exit(f"{path.name} is out of date: uv run --group bench python -m benchmarks.page")


if __name__ == "__main__":
    main()
