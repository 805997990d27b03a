"""Makes docs/faults.md from the fault markers of the tests: what was broken, what a user sees,
which test shows it.

python -m tests.chaos.faults            write the page python -m tests.chaos.faults --check    exit
with 1 if the page is out of date
"""

import sys
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from tests.support import lists

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"

_HEAD = """\
# What breaks, and what a user sees

This page is made from the tests by `uv run python -m tests.chaos.faults`. Do not edit it.

Each fault below is injected by a test into real processes, and the test checks what a user sees.
`uv run pytest -m chaos` runs all of them. `uv run pytest` runs those that are marked *quick*.
"""
# The sections of the page, by the first argument of a marker.
TOPICS = {
    "workers": "Workers that die, stop or hang",
    "replies": "Replies of Redis that are lost",
    "gateways": "Gateways that die, stop or start too early",
    "requests": "Requests that compete",
    "readers": "Readers and their streams",
    "redis": "Redis restarts, is full, or loses data",
    "failover": "Failover of Redis",
    "network": "Networks and connections",
    "machines": "Disks, memory and devices of a worker",
    "clocks": "Clocks",
    "versions": "Versions side by side",
    "everything": "Everything at random",
}

_QUICK = {frozenset({True}): "yes", frozenset({False}): "", frozenset({True, False}): "some"}


class Fault(msgspec.Struct, frozen=True, order=True):
    topic: str
    what: str
    sees: str
    test: str


class _Collector:
    def __init__(self) -> None:
        # For each fault, whether its cases are quick.
        self.faults = defaultdict[Fault, set[bool]](set)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for marker in item.iter_markers("fault"):
                topic, what = marker.args
                if topic not in TOPICS:
                    raise pytest.UsageError(f"{item.nodeid}: the page of faults has no section {topic!r}")
                test = item.nodeid.partition("[")[0]
                is_quick = item.get_closest_marker("quick") is not None
                self.faults[Fault(topic, what, marker.kwargs["sees"], test)].add(is_quick)


def collect() -> list[tuple[Fault, str]]:
    """-> each fault, and whether its cases are quick: "yes", "some", or "" for none."""
    collector = _Collector()
    arguments = ["--collect-only", "-qq", "-m", "chaos", "-n", "0", str(ROOT / "tests")]
    if pytest.main(arguments, plugins=[collector]) is not pytest.ExitCode.OK:
        raise SystemExit("the tests cannot be collected")
    return [(fault, _QUICK[frozenset(quick)]) for fault, quick in sorted(collector.faults.items(), key=_place)]


def _place(found: tuple[Fault, set[bool]]) -> tuple[str, str]:
    return found[0].what.lower(), found[0].test


def page(faults: list[tuple[Fault, str]]) -> str:
    return _HEAD + "".join(
        f"\n## {title}\n\n" + "".join(_item(*one) for one in faults if one[0].topic == topic)
        for topic, title in TOPICS.items()
    )


def _item(fault: Fault, quick: str) -> str:
    path, _, test = fault.test.partition("::")
    marks = {"yes": ", quick", "some": ", some cases quick", "": ""}[quick]
    what, seen = (text[:1].upper() + text[1:] for text in (fault.what, fault.sees))
    return lists.item(f"**{what}.**", f"*Seen:* {seen}.", f"*Test:* `{path}`{marks}:", f"`{test}`.")


def main() -> None:
    made = page(collect())
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != made:
            raise SystemExit("docs/faults.md is out of date: uv run python -m tests.chaos.faults")
    else:
        PAGE.write_text(made)


if __name__ == "__main__":
    main()
