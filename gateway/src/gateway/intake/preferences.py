"""The request header Prefer (RFC 7240). Knows no request."""

import re
from collections.abc import Iterable

from shared_schemas.numbers import whole_number

LONGEST_WAIT_S = 60

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A quoted text that is not closed takes the rest of the value. To try again behind its quote would
# take time that grows with the square of the length.
_QUOTED = r'"(?:[^"\\]|\\.)*"?'
_PREFERENCE = re.compile(rf"\s*(?P<name>{_NAME})(?:\s*=\s*(?P<value>{_QUOTED}|{_NAME})?)?\s*", re.DOTALL)
# Parameters, and what is not a preference, go up to the next comma outside of quotes.
_REST = re.compile(rf"(?:{_QUOTED}|[^,])*,?", re.DOTALL)


def preferences_of(values: Iterable[str]) -> dict[str, str]:
    """The value of each preference by its name in lower case; the first one wins. The value is
    empty if none is given. What is malformed is ignored, as the RFC tells servers to ignore what
    they do not know. values: of each header Prefer."""
    found: dict[str, str] = {}
    for value in values:
        at = 0
        while at < len(value):
            match = _PREFERENCE.match(value, at)
            end = at if match is None else match.end()
            if match is not None and (end == len(value) or value[end] in ",;"):
                found.setdefault(match["name"].lower(), _unquoted(match["value"] or ""))
            rest = _REST.match(value, end)
            # The pattern takes at least one character if there is one.
            at = len(value) if rest is None or rest.end() == at else rest.end()
    return found


def wait_s(values: Iterable[str]) -> int:
    """How long the response may be held, s. 0 if the header does not say so or is malformed."""
    value = preferences_of(values).get("wait")
    if value is None:
        return 0
    if not value:
        return LONGEST_WAIT_S
    # A number above the limit, however long, is still a valid time. `whole_number` gives None for it.
    if not (value.isascii() and value.isdigit()):
        return 0
    seconds = whole_number(value, most=LONGEST_WAIT_S)
    return LONGEST_WAIT_S if seconds is None else seconds


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:].removesuffix('"')) if value.startswith('"') else value
