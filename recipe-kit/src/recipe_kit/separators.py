"""Finds the character that separates the cells of a CSV file, from its first lines.

Knows lines of text, and no file.

The header decides, because a text in a row may contain any of these characters: its separator is
the one that splits it into several names. If several do, the rows decide. If the rows fit several,
the file is refused. A first line such as `sep=;`, which Excel writes and reads, sets the separator
to any character.
"""

import csv
import re
from collections.abc import Sequence

import msgspec
from shared_schemas.errors import DataRejected

COMMA = ","
SEPARATORS = (COMMA, ";", "\t", "|")
_NAMES = {COMMA: "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_DECLARATION = re.compile(r"\"?sep=(.)\1*\"?[\r\n]*", re.IGNORECASE)
# For example `sep = ;`, a backslash and a t, or commas that a program has added at the end of the
# line.
_WRONG_DECLARATION = re.compile(r"\"?sep\s*=[^A-Za-z0-9]", re.IGNORECASE)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """separator: one character. is_declared: a first line `sep=` sets it. has_spaces: a space
    follows each separator of the header. That space belongs to the separator, so a quote after it
    opens a quoted cell."""

    separator: str = COMMA
    is_declared: bool = False
    has_spaces: bool = False


def name_of(separator: str) -> str:
    """For a message, as in "a comma"."""
    return _NAMES.get(separator, repr(separator))


def declared_separator(line: str) -> str | None:
    """The separator that a first line `sep=` sets; None for any other line. DataRejected
    data_format for a character that cannot separate cells."""
    match = _DECLARATION.fullmatch(line)
    if match is None:
        if _WRONG_DECLARATION.match(line):
            raise DataRejected("data_format", "the line sep= must name one character, as in sep=;")
        return None
    separator = match[1]
    if separator.isalnum() or separator in "\"' ":
        raise DataRejected("data_format", "the line sep= names a character that cannot separate cells")
    return separator


def dialect_of(lines: Sequence[str], *, is_whole: bool) -> Dialect:
    """lines: the first lines of the file, from its header on. is_whole: they are the whole file.
    DataRejected data_format if two separators fit."""
    splits = {separator: _complete_rows(lines, separator, is_whole=is_whole) for separator in SEPARATORS}
    possible = [separator for separator, rows in splits.items() if rows and len(rows[0]) > 1]
    if len(possible) > 1:
        fitting = [separator for separator in possible if _is_even(splits[separator])]
        if len(fitting) > 1 or (not fitting and COMMA not in possible):
            names = " and at ".join(name_of(separator) for separator in fitting or possible)
            raise DataRejected(
                "data_format", f"the header could be split at {names}: choose one with a first line such as sep=;"
            )
        possible = fitting or [COMMA]
    separator = possible[0] if possible else COMMA
    return Dialect(separator=separator, has_spaces=_has_spaces(splits[separator]))


def _has_spaces(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the header has a space after each of its separators."""
    names = rows[0][1:] if rows else ()
    return bool(names) and all(name.startswith(" ") for name in names)


def _rows_of(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The header and the rows. A quoted cell that the last line leaves open counts as a cell."""
    try:
        return [row for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error:
        # A cell is too long. The reader of the file reports it.
        return []


def _complete_rows(lines: Sequence[str], separator: str, *, is_whole: bool) -> list[list[str]]:
    rows = _rows_of(lines, separator)
    # If lines follow, the last row may end in the middle of a quoted cell.
    return rows if is_whole or len(rows) < 2 else rows[:-1]


def _is_even(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all rows have as many cells as the header. Rows of empty cells do not count."""
    width = len(rows[0])
    return all(len(row) == width or not any(map(str.strip, row)) for row in rows)
