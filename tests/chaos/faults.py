"""docs/faults.md, made from the fault markers of the tests: what was broken, what a user sees, which test shows it.

python -m tests.chaos.faults            write docs/faults.md
python -m tests.chaos.faults --check    exit with 1 if it is not what would be written
"""

import sys
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"

_HEAD = """\
# What breaks, and what is seen then

Made from the tests by `uv run python -m tests.chaos.faults`; do not edit.
`uv run pytest -m chaos` runs all of them, `uv run pytest` those marked quick.

| row | fault | what a user sees | test | quick |
|---|---|---|---|---|
"""

_QUICK = {frozenset({True}): "yes", frozenset({False}): "", frozenset({True, False}): "some"}


class Fault(msgspec.Struct, frozen=True, order=True):
    row: int
    what: str
    sees: str
    test: str


class _Collector:
    def __init__(self) -> None:
        # Of each fault, whether each case of its test is quick.
        self.faults = defaultdict[Fault, set[bool]](set)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for marker in item.iter_markers("fault"):
                row, what = marker.args
                test = item.nodeid.partition("[")[0]
                is_quick = item.get_closest_marker("quick") is not None
                self.faults[Fault(row or 0, what, marker.kwargs["sees"], test)].add(is_quick)


def collect() -> list[tuple[Fault, str]]:
    """-> each fault, with what the page says in its last column"""
    collector = _Collector()
    arguments = ["--collect-only", "-qq", "-m", "chaos", "-n", "0", str(ROOT / "tests")]
    if pytest.main(arguments, plugins=[collector]) is not pytest.ExitCode.OK:
        raise SystemExit("the tests cannot be collected")
    # A fault without a row comes last.
    faults = sorted(collector.faults.items(), key=lambda item: (item[0].row or 1000, item[0].what, item[0].test))
    return [(fault, _QUICK[frozenset(quick)]) for fault, quick in faults]


def page(faults: list[tuple[Fault, str]]) -> str:
    rows = [
        f"| {fault.row or ''} | {fault.what} | {fault.sees} | `{fault.test}` | {quick} |" for fault, quick in faults
    ]
    return _HEAD + "\n".join(rows) + "\n"


def main() -> None:
    made = page(collect())
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != made:
            raise SystemExit("docs/faults.md is out of date: uv run python -m tests.chaos.faults")
    else:
        PAGE.write_text(made)


if __name__ == "__main__":
    main()
