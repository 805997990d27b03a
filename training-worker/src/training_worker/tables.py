"""A CSV as a table of text, checked whole before anything is trained on it. Knows columns, not models.

Every complaint names the row or the column: rows count from 1, the header not counted.
"""

import csv
import hashlib
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import polars as pl
from shared_schemas.errors import DataRejected
from shared_schemas.numbers import advice_on, is_not_finite, parse_number

MOST_BYTES = 2 << 30
MOST_COLUMNS = 4096
LONGEST_FIELD = 1 << 20
# Of float32. Beyond it a finite number of the file is infinite in training.
LARGEST = 3.4028234e38
_NOT_CSV = (b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xfe\xff")


class Table:
    """frame: every cell as text, an empty one as "". sha256: of the file."""

    def __init__(self, frame: pl.DataFrame, sha256: str) -> None:
        self.frame, self.sha256 = frame, sha256

    @property
    def columns(self) -> list[str]:
        return self.frame.columns

    @property
    def height(self) -> int:
        return self.frame.height

    def column(self, name: str) -> list[str]:
        """DataRejected data_column_missing."""
        if name not in self.frame.columns:
            raise DataRejected("data_column_missing", f"the data has no column {name!r}", column=name)
        return self.frame[name].to_list()

    def texts(self, name: str) -> list[str]:
        """A column of which no cell is empty."""
        cells = self.column(name)
        for row, cell in enumerate(cells, start=1):
            if not cell.strip():
                raise DataRejected("data_missing_value", f"row {row} has no {name!r}", row=row, column=name)
        return cells

    def labels(self, name: str) -> list[str]:
        """A column of class names, none of which is empty or stands for a missing number."""
        cells = self.texts(name)
        for row, cell in enumerate(cells, start=1):
            if cell.strip().lower() == "nan":
                raise DataRejected("data_missing_value", f"row {row} has no {name!r}", row=row, column=name)
        return cells

    def numbers(self, name: str) -> list[float]:
        """A column of numbers that are finite as float32."""
        values = []
        for row, cell in enumerate(self.texts(name), start=1):
            value = math.nan if is_not_finite(cell) else parse_number(cell)
            if value is None:
                advice = advice_on(cell)
                message = f"row {row} of {name!r} is not a number" + (f": {advice}" if advice else "")
                raise DataRejected("data_not_numeric", message, row=row, column=name)
            if not abs(value) <= LARGEST:
                raise DataRejected(
                    "data_not_finite", f"row {row} of {name!r} is not a finite number", row=row, column=name
                )
            values.append(value)
        return values

    def is_numeric(self, name: str) -> bool:
        """Whether most cells are numbers: one that is not is then a fault of the data."""
        cells = self.column(name)
        return sum(parse_number(cell) is not None or is_not_finite(cell) for cell in cells) * 2 > len(cells)


def read_table(source: Path | BinaryIO) -> Table:
    """source: closed when it was read. DataRejected data_not_readable, data_empty, data_format, data_encoding,
    data_ragged, data_duplicate_column, data_too_large."""
    data = _contents(source)
    sha256 = hashlib.sha256(data).hexdigest()
    text = _decode(data)
    header, height, n_blank = _check_shape(text)
    if n_blank:
        text = _without_blank_lines(text)
    if height == 0:
        raise DataRejected("data_empty", "the data has a header and no rows")
    frame = (
        pl.read_csv(
            io.BytesIO(text.encode()),
            infer_schema=False,
            has_header=False,
            skip_rows=0,
            new_columns=list(header),
            truncate_ragged_lines=False,
        )
        .slice(1)
        .fill_null("")
    )
    if frame.height != height:
        raise DataRejected("data_format", "the data is not a CSV: its quotes do not match")
    return Table(frame, sha256)


def _contents(source: Path | BinaryIO) -> bytes:
    """All of it, read once: what is digested is what is trained on."""
    try:
        with source.open("rb") if isinstance(source, Path) else source as file:
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise DataRejected("data_too_large", f"a data set may have {MOST_BYTES} bytes")
            return file.read()
    except OSError:
        raise DataRejected("data_not_readable", "the data cannot be read") from None


def label_column(columns: Sequence[str], named: str | None) -> str | None:
    """The named column, else the one called label, target, class or y."""
    if named is not None:
        if named not in columns:
            raise DataRejected("data_column_missing", f"the data has no column {named!r}", column=named)
        return named
    lowered = {column.lower(): column for column in columns}
    return next((lowered[name] for name in ("label", "target", "class", "y") if name in lowered), None)


def text_column(table: Table, named: str | None, label: str | None) -> str:
    """The named column, else `text`, else the only column that is neither the label nor numeric."""
    if named is not None:
        table.column(named)
        return named
    if "text" in table.columns:
        return "text"
    candidates = [c for c in table.columns if c != label and not table.is_numeric(c)]
    if len(candidates) != 1:
        raise DataRejected(
            "data_column_missing",
            "no column is called text, and not exactly one holds text: say which one it is with text_column",
        )
    return candidates[0]


def _decode(data: bytes) -> str:
    if data.startswith(_NOT_CSV) or b"\0" in data[:4096]:
        raise DataRejected("data_format", "the data is not a CSV in UTF-8")
    if not data.removeprefix(b"\xef\xbb\xbf").strip():
        raise DataRejected("data_empty", "the data is empty")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        row = _row_of(data[: error.start])
        where = f"row {row}" if row else "the header"
        raise DataRejected("data_encoding", f"{where} is not UTF-8", row=row or None) from None


def _row_of(before: bytes) -> int:
    """The row that comes after these bytes, 0 for the header. A field in quotes may hold line ends."""
    reader = csv.reader(io.StringIO(before.decode("utf-8-sig") + ".", newline=""))
    return sum(1 for row in reader if row) - 1


def _check_shape(text: str) -> tuple[list[str], int, int]:
    """-> (header, number of rows, blank lines). The module csv is strict about quotes where polars forgives."""
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    height = n_blank = 0
    try:
        for row in reader:
            if not row:
                n_blank += 1
                continue
            if not header:
                header = row
                _check_header(header)
                continue
            height += 1
            if len(row) != len(header):
                raise DataRejected(
                    "data_ragged", f"row {height} has {len(row)} fields, the header {len(header)}", row=height
                )
    except csv.Error as error:
        message = "a field is too long" if "limit" in str(error) else "the quotes do not match"
        raise DataRejected("data_format", f"row {height + 1}: {message}", row=height + 1) from None
    return header, height, n_blank


def _without_blank_lines(text: str) -> str:
    """polars takes a blank line for a row where there is but one column."""
    kept = io.StringIO(newline="")
    rows = (row for row in csv.reader(io.StringIO(text, newline="")) if row)
    csv.writer(kept, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return kept.getvalue()


def _check_header(header: list[str]) -> None:
    if len(header) > MOST_COLUMNS:
        raise DataRejected("data_too_large", f"a data set may have {MOST_COLUMNS} columns")
    for i, name in enumerate(header):
        if not name.strip():
            raise DataRejected("data_column_missing", f"column {i + 1} has no name")
        if name in header[:i]:
            raise DataRejected("data_duplicate_column", f"two columns are called {name!r}", column=name)
