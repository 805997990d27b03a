"""Makes the table of docs/following.md: what common clients of event streams do when a stream is
interrupted or ends.

tests/sse_clients checks the table against a gateway.

    python -m tests.support.sse_clients            write the table
    python -m tests.support.sse_clients --check    exit with 1 if the page is out of date
"""

import sys
from enum import StrEnum

from tests.support.gateways import ROOT

PAGE = ROOT / "docs" / "following.md"
COMMAND = "uv run python -m tests.support.sse_clients"


class Outcome(StrEnum):
    GOES_ON = "continues"
    REPORTED = "reports an error"
    SILENT = "stops silently"
    ASKS = "never stops"


NPM = ("eventsource", "fetch-event-source")
PYPI = ("httpx-sse", "requests-sse")
CLIENTS = (*NPM, *PYPI)
_G, _T, _S, _A = Outcome.GOES_ON, Outcome.REPORTED, Outcome.SILENT, Outcome.ASKS
# For each situation, what each client does, in the order of CLIENTS.
SITUATIONS: dict[str, tuple[Outcome, ...]] = {
    "`done` and a clean end": (_T, _S, _S, _T),
    "204: no more events": (_T, _A, _T, _T),
    "the connection is cut": (_G, _G, _T, _G),
    "the gateway drains, another starts": (_G, _G, _T, _G),
    "Redis restarts during the stream": (_G, _G, _G, _G),
    "503 at the first request": (_T, _G, _T, _T),
}
_BEGIN, _END = "<!-- clients: made by tests/support/sse_clients.py -->\n", "<!-- end of clients -->\n"


def expected(situation: str, client: str) -> Outcome:
    return SITUATIONS[situation][CLIENTS.index(client)]


def made(text: str) -> str:
    """The page with its table brought up to date. ValueError if it has no place for it."""
    before, found, rest = text.partition(_BEGIN)
    _, closed, after = rest.partition(_END)
    if not (found and closed):
        raise ValueError("the page has no place for its table")
    rows = [f"| {situation} | {' | '.join(outcomes)} |" for situation, outcomes in SITUATIONS.items()]
    head = f"| what happens | {' | '.join(f'`{client}`' for client in CLIENTS)} |\n|{'---|' * (len(CLIENTS) + 1)}"
    return before + _BEGIN + "\n" + "\n".join([head, *rows]) + "\n\n" + _END + after


def main() -> None:
    text = PAGE.read_text()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made(text))
    elif made(text) != text:
        sys.exit(f"docs/following.md is not what the tests say: {COMMAND}")


if __name__ == "__main__":
    main()
