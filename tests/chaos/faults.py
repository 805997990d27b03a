"""docs/faults.md, made from the fault markers of the tests: what was broken, what a user sees, which test shows it.

python -m tests.chaos.faults            write docs/faults.md
python -m tests.chaos.faults --check    exit with 1 if it is not what would be written
"""

import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"

# Rows of the fault matrix that no test here breaks: the fault, why not, and what happens instead.
NOT_TESTED: dict[int, tuple[str, str, str]] = {}

_HEAD = """\
# What breaks, and what is seen then

Made from the tests by `uv run python -m tests.chaos.faults`; do not edit.
`uv run pytest -m chaos` runs all of them, `uv run pytest` those marked quick.

| row | fault | what a user sees | test | quick |
|---|---|---|---|---|
"""
_REST = """
## Not tested here

| row | fault | why not | what happens instead |
|---|---|---|---|
"""


class Fault(msgspec.Struct, frozen=True, order=True):
    row: int
    what: str
    sees: str
    test: str
    is_quick: bool


class _Collector:
    def __init__(self) -> None:
        self.faults: set[Fault] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for marker in item.iter_markers("fault"):
                row, what = marker.args
                test = item.nodeid.partition("[")[0]
                is_quick = item.get_closest_marker("quick") is not None
                self.faults.add(Fault(row or 0, what, marker.kwargs["sees"], test, is_quick))


def collect() -> list[Fault]:
    collector = _Collector()
    arguments = ["--collect-only", "-qq", "-m", "chaos", "-n", "0", str(ROOT / "tests")]
    if pytest.main(arguments, plugins=[collector]) is not pytest.ExitCode.OK:
        raise SystemExit("the tests cannot be collected")
    # A fault without a row comes last.
    return sorted(collector.faults, key=lambda fault: (fault.row or 1000, fault.what, fault.test, not fault.is_quick))


def page(faults: list[Fault]) -> str:
    rows = [
        f"| {fault.row or ''} | {fault.what} | {fault.sees} | `{fault.test}` | {'yes' if fault.is_quick else ''} |"
        for fault in faults
    ]
    rest = [f"| {row} | {what} | {why} | {instead} |" for row, (what, why, instead) in sorted(NOT_TESTED.items())]
    return _HEAD + "\n".join(rows) + "\n" + (_REST + "\n".join(rest) + "\n" if rest else "")


def main() -> None:
    made = page(collect())
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != made:
            raise SystemExit("docs/faults.md is out of date: uv run python -m tests.chaos.faults")
    else:
        PAGE.write_text(made)


if __name__ == "__main__":
    main()
