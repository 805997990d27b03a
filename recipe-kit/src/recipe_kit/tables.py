"""A CSV file as a table of text. It is checked as a whole before anything is trained on it.

Knows columns, not models. Every error names the row or the column. Rows count from 1, without the
header and without rows that were left out.
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
# The largest float32. A larger number in a file would become infinite in training.
LARGEST = 3.4028234e38
# Characters that separate cells in some files, besides those that are recognised.
_MAY_SEPARATE = (
    *SEPARATORS, ":", "^", "~", "#", "=", "+", "\u00a6", "\u00a7", "\uff0c", "\u3001", "\u060c", "\u061b", "\uff1b",
    "\uff1a", "\uff5c", "  ", *map(chr, range(1, 32)),
)  # fmt: skip
_USUAL_LABELS = (("label", "target", "class"), ("y",))
_ADVICE_ON_WORDS = "the column must have numbers alone, or be no feature (feature_columns)"
_ADVICE_ON_TRUTH = dict.fromkeys(("true", "false"), "write 1 for true and 0 for false")
_NAMES_SHOWN, _LETTERS_SHOWN = 20, 40


class Table:
    """The columns of a CSV file, as text.

    height: the number of rows.
    sha256: of the file.
    dialect: what separates its cells.
    n_skipped: how many empty rows and repeated headers were left out.
    notes: what was left out or looks odd, one sentence each.
    prefix: comes before each error message, to name the file.
    """

    def __init__(self, contents: Contents, prefix: str = "") -> None:
        self.height, self.sha256, self.notes = contents.height, contents.sha256, contents.notes
        self.dialect: Dialect = contents.dialect
        self.n_skipped = contents.n_skipped
        self._columns, self._prefix = contents.columns, prefix

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in the order of the file."""
        return list(self._columns)

    def find(self, name: str) -> str:
        """The name of the column as the file has it. name: with or without spaces around it, and in
        any case unless two columns differ only in case. DataRejected data_column_missing names the
        columns that exist."""
        return _find(self.columns, name, self._prefix)

    def column(self, name: str) -> list[str]:
        """The cells of a column, unchanged; "" for an empty cell. DataRejected
        data_column_missing."""
        return self._columns[self.find(name)].to_list()

    def texts(self, name: str) -> list[str]:
        """The cells of a column, unchanged, of which none may be empty. DataRejected
        data_missing_value, data_column_missing."""
        cells = self.column(name)
        for row, cell in enumerate(cells, start=1):
            if not cell.strip():
                raise self.fault("data_missing_value", f"row {row} has no {name!r}", row=row, column=name)
        return cells

    def labels(self, name: str) -> list[str]:
        """The class names in a column, without spaces around them. Only an empty cell counts as
        missing: nan, NA, None and null are ordinary names. DataRejected data_missing_value,
        data_column_missing."""
        return [tidy(cell) for cell in self.texts(name)]

    def numbers(self, name: str) -> list[float]:
        """The numbers in a column, all finite as float32. DataRejected data_not_numeric,
        data_not_finite, data_missing_value, data_column_missing."""
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
        """Whether more cells are numbers, or look like numbers, than are words. A word in such a
        column is then a fault of the data. DataRejected data_column_missing."""
        n_numbers = n_words = 0
        for cell in self._columns[self.find(name)]:
            if parse_number(cell) is not None or advice_on(cell):
                n_numbers += 1
            elif cell.strip() and not is_not_finite(cell):
                n_words += 1
        return n_numbers > n_words

    def fault(self, code: str, message: str, *, row: int | None = None, column: str | None = None) -> DataRejected:
        """An error to raise, whose message begins with the prefix of the table."""
        return DataRejected(code, self._prefix + message, row=row, column=column)


def read_table(source: Path | BinaryIO, *, prefix: str = "") -> Table:
    """Read a CSV file. source: is closed afterwards. prefix: comes before each error message.
    DataRejected data_not_readable, data_empty, data_format, data_encoding, data_ragged,
    data_duplicate_column, data_column_missing, data_too_large."""
    try:
        with source.open("rb") if isinstance(source, Path) else source as file:
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise DataRejected("data_too_large", f"a data set may have at most {MOST_BYTES} bytes")
            return Table(read_csv(file), prefix)
    except OSError:
        raise DataRejected("data_not_readable", f"{prefix}the data cannot be read") from None
    except DataRejected as error:
        raise DataRejected(error.data_code, f"{prefix}{error}", row=error.row, column=error.column) from None


def label_column(columns: Sequence[str], named: str | None) -> str | None:
    """The column `named`. Without one, the column called label, target or class, else the one
    called y; None if there is none of these.

    DataRejected data_column_missing if `named` does not exist, data_ambiguous_column if several
    columns fit.
    """
    if named is not None:
        return _find(columns, named)
    for usual in _USUAL_LABELS:
        found = [column for column in columns if column.casefold() in usual]
        if len(found) > 1:
            message = f"the label may be any of {listed(found)}: say which with label_column"
            raise DataRejected("data_ambiguous_column", message)
        if found:
            return found[0]
    return None


def text_column(table: Table, named: str | None, label: str | None) -> str:
    """The column `named`. Without one, the column called text, else the only column that is neither
    the label nor numeric. label: the column of the labels, if there is one.

    DataRejected data_column_missing, data_ambiguous_column, and data_format if the header may be
    split wrongly.
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
        message = f"the text may be any of {listed(called_text)}: say which with text_column"
        raise table.fault("data_ambiguous_column", message)
    raise table.fault(
        "data_column_missing",
        f"no column is called text, and not exactly one of {listed(table.columns)} holds text: "
        "say which one it is with text_column",
    )


def _check_single(table: Table) -> None:
    """A header of one column may be a header of several, with a separator that is not recognised.
    DataRejected data_format if it looks like one."""
    [name] = table.columns
    ask = "say sep= in the first line if it separates cells, or name the text_column if it does not"
    if sign := next((sign for sign in _MAY_SEPARATE if sign in name), None):
        raise table.fault("data_format", f"the header has one column, and its name contains {sign!r}: {ask}")
    words = name.casefold().split()
    if len(words) > 1 and not set(words).isdisjoint(_USUAL_LABELS[0]):
        raise table.fault(
            "data_format",
            f"the header has one column, {name[:_LETTERS_SHOWN]!r}, which looks like several names: {ask}",
        )
    for sign in SEPARATORS[1:]:
        counts = {cell.count(sign) for cell in table.column(name)}
        if len(counts) == 1 and counts != {0}:
            message = f"the header has one column, and every row has the same number of {sign!r}: {ask}"
            raise table.fault("data_format", message)


def listed(columns: Sequence[str]) -> str:
    """The names of columns for a message; only the first ones if there are many."""
    shown = ", ".join(repr(name[:_LETTERS_SHOWN]) for name in columns[:_NAMES_SHOWN])
    return shown if len(columns) <= _NAMES_SHOWN else f"{shown} and {len(columns) - _NAMES_SHOWN} more"


def _find(columns: Sequence[str], name: str, prefix: str = "") -> str:
    wanted = tidy(name)
    if wanted in columns:
        return wanted
    alike = [column for column in columns if column.casefold() == wanted.casefold()]
    if len(alike) != 1:
        message = f"{prefix}the data has no column {name[:_LETTERS_SHOWN]!r}, only {listed(columns)}"
        raise DataRejected("data_column_missing", message, column=name)
    return alike[0]
