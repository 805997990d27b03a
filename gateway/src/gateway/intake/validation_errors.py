"""Turns an error message of msgspec into an item of a problem: the place and the rule, and never
the value that was sent. Knows no request.

The message may contain anything about our own types: a pattern, a bound, the values of a small
enumeration.
"""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect
from shared_schemas.replies import ProblemItem

from gateway.intake.leniency import alternatives, type_of

_AT = re.compile(r" - at `(?P<path>[^`]*)`\Z")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_A_TIME = "a time in the format of RFC 3339, with its offset from UTC, such as 2030-01-31T12:00:00Z"
_BOUNDS = (">", "<", "length", "multiple", "range")


def item_of(message: str, kind: Any) -> ProblemItem:
    """message: of a msgspec.ValidationError. kind: the type that was to be decoded."""
    text, steps = message, list[str]()
    # An error that a Struct raises itself gives the place within the Struct, then that of the
    # Struct.
    while match := _AT.search(text):
        text, steps = text[: match.start()], steps + _steps(match["path"])
    pointer = "".join(f"/{shown(step)}" for step in steps)
    unknown, missing = _UNKNOWN.match(text), _MISSING.match(text)
    if unknown:
        return ProblemItem(pointer=f"{pointer}/{shown(unknown['name'])}", code="unknown_field", detail="no such field")
    if missing:
        return ProblemItem(
            pointer=f"{pointer}/{missing['name']}", code="missing_field", detail="this field is required"
        )
    if "datetime` with a timezone" in text or "RFC3339" in text:
        return ProblemItem(pointer=pointer, code="invalid_format", detail=f"expected {_A_TIME}")
    if text.startswith("Invalid"):
        values = ", ".join(map(str, _allowed(kind, steps)))
        detail = "not one of the allowed values" + (f": {values}" if values else "")
        return ProblemItem(pointer=pointer, code="invalid_value", detail=detail)
    # A pattern ends in \Z in Python, and in $ in other languages and in our OpenAPI document.
    detail = (text[0].lower() + text[1:]).replace(r"\\Z'", "$'")
    if "matching regex" in text:
        return ProblemItem(pointer=pointer, code="invalid_format", detail=detail)
    if any(word in text for word in _BOUNDS):
        return ProblemItem(pointer=pointer, code="out_of_range", detail=detail)
    # What a Struct itself says of fields that contradict each other begins in another way.
    return ProblemItem(
        pointer=pointer, code="wrong_type" if text.startswith("Expected") else "invalid_value", detail=detail
    )


def shown(name: str) -> str:
    return name if _SAFE_NAME.fullmatch(name) else "?"


def _steps(path: str) -> list[str]:
    return [match[1] or match[2] for match in _STEP.finditer(path.removeprefix("$"))]


def _allowed(kind: Any, steps: list[str]) -> list[Any]:
    """The values of the enumeration at that place, or nothing if another type is there."""
    types = list(alternatives(type_of(kind)))
    for step in steps:
        types = [found for one in types for found in _inside(one, step)]
    found: list[Any] = []
    for one in types:
        if isinstance(one, inspect.EnumType):
            found += [member.value for member in one.cls]
        elif isinstance(one, inspect.LiteralType):
            found += one.values
    return found


def _inside(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            if field.encode_name == step:
                yield from alternatives(field.type)
        if kind.tag_field == step:
            yield inspect.LiteralType((kind.tag,))
    elif isinstance(kind, inspect.CollectionType):
        yield from alternatives(kind.item_type)
    elif isinstance(kind, inspect.DictType):
        yield from alternatives(kind.value_type)
