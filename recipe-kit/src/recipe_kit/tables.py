"""A CSV as a table of text, checked whole before anything is trained on it. Knows columns, not models.

Every complaint names the row or the column: rows count from 1, without the header and without what was skipped.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from shared_schemas.errors import DataRejected
from shared_schemas.numbers import advice_on, is_not_finite, parse_number

from recipe_kit.csv_file import Contents, read_csv, tidy
from recipe_kit.separators import SEPARATORS, Dialect

MOST_BYTES = 2 << 30
# Of float32. Beyond it a finite number of the file is infinite in training.
LARGEST = 3.4028234e38
# Signs that separate cells somewhere, beside those that are recognised.
_MAY_SEPARATE = (
    *SEPARATORS, ":", "^", "~", "#", "=", "+", "\u00a6", "\u00a7", "\uff0c", "\u3001", "\u060c", "\u061b", "\uff1b",
    "\uff1a", "\uff5c", "  ", *map(chr, range(1, 32)),
)  # fmt: skip
_USUAL_LABELS = (("label", "target", "class"), ("y",))
_ADVICE_ON_WORDS = "the column must have numbers alone, or be no feature (feature_columns)"
_ADVICE_ON_TRUTH = dict.fromkeys(("true", "false"), "write 1 for true and 0 for false")
_NAMES_SHOWN, _LETTERS_SHOWN = 20, 40


class Table:
    """height: rows. sha256: of the file. notes: what was left out or looks odd. called: the file, in complaints."""

    def __init__(self, contents: Contents, called: str = "") -> None:
        self.height, self.sha256, self.notes = contents.height, contents.sha256, contents.notes
        self.dialect: Dialect = contents.dialect
        self.n_skipped = contents.n_skipped
        self._columns, self._called = contents.columns, called

    @property
    def columns(self) -> list[str]:
        return list(self._columns)

    def find(self, name: str) -> str:
        """The column that is called so, without spaces around it, else the only one that differs from it in case.
        DataRejected data_column_missing names the columns there are."""
        return _find(self.columns, name, self._called)

    def column(self, name: str) -> list[str]:
        """Cells as they stand, an empty one as "". DataRejected data_column_missing."""
        return self._columns[self.find(name)].to_list()

    def texts(self, name: str) -> list[str]:
        """A column of which no cell is empty."""
        cells = self.column(name)
        for row, cell in enumerate(cells, start=1):
            if not cell.strip():
                raise self.fault("data_missing_value", f"row {row} has no {name!r}", row=row, column=name)
        return cells

    def labels(self, name: str) -> list[str]:
        """A column of class names without the spaces around them. Only an empty cell lacks one: nan, NA, None and null
        are names like any other."""
        return [tidy(cell) for cell in self.texts(name)]

    def numbers(self, name: str) -> list[float]:
        """A column of numbers that are finite as float32."""
        values = []
        for row, cell in enumerate(self.texts(name), start=1):
            value = parse_number(cell)
            if value is None and is_not_finite(cell):
                value = math.nan
            if value is None:
                advice = advice_on(cell) or _ADVICE_ON_TRUTH.get(cell.strip().casefold(), _ADVICE_ON_WORDS)
                message = f"row {row} of {name!r} is not a number: {advice}"
                raise self.fault("data_not_numeric", message, row=row, column=name)
            if not abs(value) <= LARGEST:
                message = f"row {row} of {name!r} is not a finite number"
                raise self.fault("data_not_finite", message, row=row, column=name)
            values.append(value)
        return values

    def is_numeric(self, name: str) -> bool:
        """Whether more cells are numbers, or look like some, than are words: a word is then a fault of the data."""
        n_numbers = n_words = 0
        for cell in self._columns[self.find(name)]:
            if parse_number(cell) is not None or advice_on(cell):
                n_numbers += 1
            elif cell.strip() and not is_not_finite(cell):
                n_words += 1
        return n_numbers > n_words

    def fault(self, code: str, message: str, *, row: int | None = None, column: str | None = None) -> DataRejected:
        return DataRejected(code, self._called + message, row=row, column=column)


def read_table(source: Path | BinaryIO, *, called: str = "") -> Table:
    """source: closed when it was read. called: what precedes each complaint. DataRejected data_not_readable,
    data_empty, data_format, data_encoding, data_ragged, data_duplicate_column, data_column_missing, data_too_large."""
    try:
        with source.open("rb") if isinstance(source, Path) else source as file:
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise DataRejected("data_too_large", f"a data set may have {MOST_BYTES} bytes")
            return Table(read_csv(file), called)
    except OSError:
        raise DataRejected("data_not_readable", f"{called}the data cannot be read") from None
    except DataRejected as error:
        raise DataRejected(error.data_code, f"{called}{error}", row=error.row, column=error.column) from None


def label_column(columns: Sequence[str], named: str | None) -> str | None:
    """The named column, else the one called label, target or class, else the one called y; None where there is none.

    DataRejected data_column_missing, data_ambiguous_column.
    """
    if named is not None:
        return _find(columns, named)
    for usual in _USUAL_LABELS:
        found = [column for column in columns if column.casefold() in usual]
        if len(found) > 1:
            message = f"the label may be any of {seen(found)}: say which with label_column"
            raise DataRejected("data_ambiguous_column", message)
        if found:
            return found[0]
    return None


def text_column(table: Table, named: str | None, label: str | None) -> str:
    """The named column, else the one called text, else the only one that is neither the label nor numeric.

    DataRejected data_column_missing, data_ambiguous_column.
    """
    if named is not None:
        return table.find(named)
    if len(table.columns) == 1:
        _check_single(table)
    called_text = [column for column in table.columns if column.casefold() == "text" and column != label]
    candidates = called_text or [c for c in table.columns if c != label and not table.is_numeric(c)]
    if len(candidates) == 1:
        return candidates[0]
    if called_text:
        message = f"the text may be any of {seen(called_text)}: say which with text_column"
        raise table.fault("data_ambiguous_column", message)
    raise table.fault(
        "data_column_missing",
        f"no column is called text, and not exactly one of {seen(table.columns)} holds text: "
        "say which one it is with text_column",
    )


def _check_single(table: Table) -> None:
    """A header of one column may be one of several, by a separator that is not recognised. DataRejected data_format."""
    [name] = table.columns
    ask = "say sep= in the first line if it separates cells, or name the text_column if it does not"
    if sign := next((sign for sign in _MAY_SEPARATE if sign in name), None):
        raise table.fault("data_format", f"the header has one column, and {sign!r} stands in its name: {ask}")
    words = name.casefold().split()
    if len(words) > 1 and not set(words).isdisjoint(_USUAL_LABELS[0]):
        raise table.fault(
            "data_format", f"the header has one column, {name[:_LETTERS_SHOWN]!r}, of several names: {ask}"
        )
    for sign in SEPARATORS[1:]:
        counts = {cell.count(sign) for cell in table.column(name)}
        if len(counts) == 1 and counts != {0}:
            raise table.fault("data_format", f"the header has one column, and every row as many {sign!r}: {ask}")


def seen(columns: Sequence[str]) -> str:
    """Names of columns for a message, the first of many."""
    told = ", ".join(repr(name[:_LETTERS_SHOWN]) for name in columns[:_NAMES_SHOWN])
    return told if len(columns) <= _NAMES_SHOWN else f"{told} and {len(columns) - _NAMES_SHOWN} more"


def _find(columns: Sequence[str], name: str, called: str = "") -> str:
    wanted = tidy(name)
    if wanted in columns:
        return wanted
    alike = [column for column in columns if column.casefold() == wanted.casefold()]
    if len(alike) != 1:
        message = f"{called}the data has no column {name[:_LETTERS_SHOWN]!r}, only {seen(columns)}"
        raise DataRejected("data_column_missing", message, column=name)
    return alike[0]
