"""Draws the states of a job for docs/concepts.md from shared_schemas.lifecycle.TRANSITIONS:
docs/states.svg, and the same as Mermaid.

    python -m tests.support.concepts_page            write both
    python -m tests.support.concepts_page --check    exit with 1 if one of them is out of date
"""

import sys
from collections.abc import Iterator

from shared_schemas.events import Reason
from shared_schemas.job import TERMINAL_STATES
from shared_schemas.lifecycle import TRANSITIONS

from tests.support import states_drawing
from tests.support.gateways import ROOT

PICTURE = ROOT / "docs" / "states.svg"
PAGE = ROOT / "docs" / "concepts.md"
COMMAND = "uv run python -m tests.support.concepts_page"

_BEGIN, _END = "<!-- states: made by tests/support/concepts_page.py -->\n", "<!-- end of states -->\n"
# A job's first event has one of these reasons. The table has no row for "before the first event".
_FIRST = (Reason.SUBMITTED, Reason.SCHEDULED)


def drawing() -> str:
    """A Mermaid state diagram. Transitions between the same two states share one arrow."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {source} --> {target}: {', '.join(reasons)}" for (source, target), reasons in _arrows().items()]
    lines += [f"    {state} --> [*]" for state in sorted(TERMINAL_STATES)]
    return "\n".join([*lines, "```"]) + "\n"


def picture() -> str:
    """The same as an SVG for the site, whose pages load no script from elsewhere."""
    return states_drawing.drawing(_arrows(), frozenset(TERMINAL_STATES))


def _arrows() -> dict[tuple[str, str], list[str]]:
    arrows: dict[tuple[str, str], list[str]] = {}
    for source, reason in _sources():
        arrows.setdefault((source, TRANSITIONS[reason].target), []).append(reason)
    return arrows


def _sources() -> Iterator[tuple[str, Reason]]:
    for reason in _FIRST:
        yield "[*]", reason
    for reason, transition in TRANSITIONS.items():
        for source in sorted(transition.sources):
            yield source, reason


def made(text: str) -> str:
    """The page with its drawing brought up to date. ValueError if it has no place for it."""
    before, found, rest = text.partition(_BEGIN)
    _, closed, after = rest.partition(_END)
    if not (found and closed):
        raise ValueError("the page has no place for its drawing")
    return before + _BEGIN + "\n" + drawing() + "\n" + _END + after


def main() -> None:
    text = PAGE.read_text()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made(text))
        PICTURE.write_text(picture())
    elif made(text) != text or not PICTURE.exists() or PICTURE.read_text() != picture():
        sys.exit(f"docs/concepts.md or docs/states.svg is out of date: {COMMAND}")


if __name__ == "__main__":
    main()
