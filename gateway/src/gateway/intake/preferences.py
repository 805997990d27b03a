"""The request header Prefer, as RFC 7240 has it. Knows no request."""

import re
from collections.abc import Iterable

from shared_schemas.numbers import whole_number

LONGEST_WAIT_S = 60

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# One that is not closed takes what is left: to try again behind its quote would cost the square of a line's length.
_QUOTED = r'"(?:[^"\\]|\\.)*"?'
_PREFERENCE = re.compile(rf"\s*(?P<name>{_NAME})(?:\s*=\s*(?P<value>{_QUOTED}|{_NAME})?)?\s*", re.DOTALL)
# What is not one goes up to the next comma outside of quotes, and so do parameters.
_REST = re.compile(rf"(?:{_QUOTED}|[^,])*,?", re.DOTALL)


def preferences_of(lines: Iterable[str]) -> dict[str, str]:
    """By name, in lower case, the first of each name. Without a value, or with an empty one: an empty text. What is not
    well formed is passed over, as the RFC has servers do with what they do not know."""
    found: dict[str, str] = {}
    for line in lines:
        at = 0
        while at < len(line):
            match = _PREFERENCE.match(line, at)
            end = at if match is None else match.end()
            if match is not None and (end == len(line) or line[end] in ",;"):
                found.setdefault(match["name"].lower(), _plain(match["value"] or ""))
            rest = _REST.match(line, end)
            # The pattern takes at least one character where there is one.
            at = len(line) if rest is None or rest.end() == at else rest.end()
    return found


def wait_s(lines: Iterable[str]) -> int:
    """How long the answer may be held, s. 0: not at all, or not in a way that can be read."""
    value = preferences_of(lines).get("wait")
    if value is None:
        return 0
    if not value:
        return LONGEST_WAIT_S
    # Any number of digits is a time, however long.
    if not (value.isascii() and value.isdigit()):
        return 0
    seconds = whole_number(value, most=LONGEST_WAIT_S)
    return LONGEST_WAIT_S if seconds is None else seconds


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:].removesuffix('"')) if value.startswith('"') else value
