"""What stands between the cells of a CSV, found from its first lines. Knows lines of text, no file and no model.

The header decides, since a text may hold any of these signs: the one separator by which it has more than one name.
Where it can be split at several, the rows decide, and where these fit several the file is refused. A first line such as
`sep=;`, which Excel writes and reads, ends the matter for any sign.
"""

import csv
import re
from collections.abc import Sequence

import msgspec
from shared_schemas.errors import DataRejected

COMMA = ","
SEPARATORS = (COMMA, ";", "\t", "|")
_NAMES = {COMMA: "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_SAID = re.compile(r"\"?sep=(.)\1*\"?[\r\n]*", re.IGNORECASE)
# As `sep = ;`, with a backslash and a t, or with the commas that a program put behind it.
_SAID_OTHERWISE = re.compile(r"\"?sep\s*=[^A-Za-z0-9]", re.IGNORECASE)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """separator: one character. is_said: by a first line `sep=`. has_spaces: one after each separator, so that a quote
    behind it opens a quoted cell."""

    separator: str = COMMA
    is_said: bool = False
    has_spaces: bool = False


def name_of(separator: str) -> str:
    return _NAMES.get(separator, repr(separator))


def said_separator(line: str) -> str | None:
    """What a first line `sep=` names, None for any other line. DataRejected data_format for what cannot separate."""
    match = _SAID.fullmatch(line)
    if match is None:
        if _SAID_OTHERWISE.match(line):
            raise DataRejected("data_format", "the line sep= names no single sign: write it as in sep=;")
        return None
    separator = match[1]
    if separator.isalnum() or separator in "\"' ":
        raise DataRejected("data_format", "the line sep= names no sign that can stand between cells")
    return separator


def dialect_of(lines: Sequence[str], *, is_whole: bool) -> Dialect:
    """lines: the first of the file, from its header on; is_whole: they are all of it. DataRejected data_format where
    two separators fit."""
    splits = {separator: _records(lines, separator, is_whole=is_whole) for separator in SEPARATORS}
    possible = [separator for separator, records in splits.items() if records and len(records[0]) > 1]
    if len(possible) > 1:
        fitting = [separator for separator in possible if _is_even(splits[separator])]
        if len(fitting) > 1 or (not fitting and COMMA not in possible):
            names = " and at ".join(name_of(separator) for separator in fitting or possible)
            raise DataRejected(
                "data_format", f"the header can be split at {names}: say which with a first line such as sep=;"
            )
        possible = fitting or [COMMA]
    separator = possible[0] if possible else COMMA
    return Dialect(separator=separator, has_spaces=has_spaces(splits[separator]))


def has_spaces(records: Sequence[Sequence[str]]) -> bool:
    """Whether the header has a space after each of its separators."""
    names = records[0][1:] if records else ()
    return bool(names) and all(name.startswith(" ") for name in names)


def records_of(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Forgiving: what stands in a quoted cell that has no end yet counts as one cell."""
    try:
        return [record for record in csv.reader(lines, delimiter=separator) if record]
    except csv.Error:
        # A cell beyond the limit: whoever reads the file says so.
        return []


def _records(lines: Sequence[str], separator: str, *, is_whole: bool) -> list[list[str]]:
    records = records_of(lines, separator)
    # The last may be cut in the middle of a quoted cell.
    return records if is_whole or len(records) < 2 else records[:-1]


def _is_even(records: Sequence[Sequence[str]]) -> bool:
    """Whether all rows have as many cells as the header. A row without any word may have what it likes."""
    width = len(records[0])
    return all(len(record) == width or not any(map(str.strip, record)) for record in records)
