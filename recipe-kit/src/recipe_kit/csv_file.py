"""Reads a CSV file once, from its first byte to its last, into columns of text.

Knows no model, and not what a column means.

Python's csv module decides what a cell is, with two exceptions. Text after a closing quote and a
quote that is never closed are refused, although the module can read them. Empty rows are left out.
Every error names its row. Rows count from 1, without the header and without rows that were left
out.
"""

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import BinaryIO, NamedTuple

from shared_schemas.errors import DataRejected
from shared_schemas.numbers import parse_number

from recipe_kit.separators import Dialect, declared_separator, dialect_of

MOST_COLUMNS = 4096
LONGEST_FIELD = 1 << 20
# The first bytes of gzip, zip, Parquet, xz, bzip2, Zstandard and UTF-16.
_MAGIC_NUMBERS = (
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"PAR1",
    b"\xfd7zXZ",
    b"BZh",
    b"\x28\xb5\x2f\xfd",
    b"\xff\xfe",
    b"\xfe\xff",
)
_JSON_OR_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*\"|\[\s*[\[{]|<\?xml|<!doctype|<html)", re.IGNORECASE)
_HEAD_BYTES = 4096
# How many lines after the header are used to find the separator.
_SAMPLE_LINES = 64
# A repeated header may have this many spaces around its last name. The limit avoids comparing long
# texts.
_SPACES_AROUND = 8
# How many cells are kept as separate strings before they are joined.
_PIECE_CELLS = 1 << 16
# Invisible characters: byte order marks, soft hyphens, joiners, and marks of the writing direction.
_INVISIBLE = "\ufeff\u00ad\u061c\u180e" + "".join(
    map(chr, (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)))
)
_SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + _INVISIBLE
# A header with this many numbers in order names a scale, such as wavelengths, even if they are not
# whole.
_MANY_NUMBERS = 8
# The names that pandas gives the index of a table: none when it writes one, `Unnamed: 0` when it
# reads that back.
_INDEX = re.compile(r"|Unnamed: [0-9]+(?:\.[0-9]+)*")
# A cell of the line below the header, in Markdown and in the results of queries.
_DASHES = re.compile(r":?-{3,}:?")
_OTHER_QUOTES = re.compile("['`\u2018\u201c\u201e\u00ab].*['`\u2019\u201d\u201c\u00bb]")


class Cells:
    """The cells of a column. The cells of each piece of the file are joined and kept as UTF-8,
    because separate strings take ten times as much memory."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def append(self, cells: Sequence[str]) -> None:
        """UnicodeEncodeError if a cell was not UTF-8; ValueError if one has a NUL, which separates
        the cells here."""
        joined = "\0".join(cells)
        if joined.count("\0") != len(cells) - 1:
            raise ValueError("NUL")
        self._pieces.append(joined.encode())

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            yield from piece.decode().split("\0")

    def to_list(self) -> list[str]:
        return [cell for piece in self._pieces for cell in piece.decode().split("\0")]

    @property
    def n_line_breaks(self) -> int:
        return sum(piece.count(b"\n") for piece in self._pieces)


class Contents(NamedTuple):
    """What was read from a file.

    columns: by name. height: the number of rows. sha256: of the file. n_skipped: how many empty
    rows and repeated headers were left out. notes: what was left out or looks odd, one sentence
    each."""

    columns: dict[str, Cells]
    height: int
    sha256: str
    dialect: Dialect
    n_skipped: int
    notes: tuple[str, ...]


def tidy(name: str) -> str:
    """The name of a column or a label, as it is compared: without spaces around it, in Unicode's
    form NFC."""
    stripped = name.strip(_SPACES)
    return stripped if stripped.isascii() else unicodedata.normalize("NFC", stripped)


def _is_header(row: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the row repeats the header. names: tidied, in lower case."""
    return all(tidy(cell).casefold() == name for cell, name in zip(row, names, strict=True))


def read_csv(source: BinaryIO) -> Contents:
    """Read a CSV file in UTF-8 with a header. DataRejected data_empty, data_format, data_encoding,
    data_ragged, data_duplicate_column, data_column_missing, data_too_large. OSError as of the
    source."""
    csv.field_size_limit(LONGEST_FIELD)
    hashing = _HashingReader(source)
    with io.BufferedReader(hashing, 1 << 16) as buffered:
        _check_first_bytes(buffered.peek(_HEAD_BYTES)[:_HEAD_BYTES])
        # Bytes that are not UTF-8 are kept, so that the error can name their row.
        lines: Iterator[str] = io.TextIOWrapper(buffered, "utf-8-sig", errors="surrogateescape", newline="")
        dialect, lines = _find_dialect(lines)
        return _Reader(lines, dialect).contents(hashing.sha256)


class _HashingReader(io.RawIOBase):
    """Passes on the bytes of the source and computes their digest."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self.sha256 = source, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self.sha256.update(data)
        return len(data)


def _check_first_bytes(head: bytes) -> None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataRejected("data_format", "the data is in UTF-16: save it as CSV in UTF-8")
    if head.startswith(_MAGIC_NUMBERS) or b"\0" in head:
        raise DataRejected("data_format", "the data is not a CSV in UTF-8")
    if _JSON_OR_MARKUP.match(head):
        raise DataRejected("data_format", "the data is JSON or markup, not a CSV")


def _find_dialect(lines: Iterator[str]) -> tuple[Dialect, Iterator[str]]:
    """-> (what separates the cells, all lines from the header on)."""
    first = next((line for line in lines if line.strip(_SPACES)), None)
    if first is None:
        raise DataRejected("data_empty", "the data is empty")
    declared = declared_separator(first)
    sample = [] if declared else [first]
    sample += islice(lines, _SAMPLE_LINES)
    all_lines = chain(sample, lines)
    if declared is not None:
        return Dialect(separator=declared, is_declared=True), all_lines
    return dialect_of(sample, is_whole=len(sample) <= _SAMPLE_LINES), all_lines


class _Reader:
    """Reads the rows of one file. lines: from the header on."""

    def __init__(self, lines: Iterator[str], dialect: Dialect) -> None:
        self._dialect = dialect
        self._reader = csv.reader(lines, delimiter=dialect.separator, skipinitialspace=dialect.has_spaces, strict=True)
        self._height = self._n_blank = self._n_headers = self._n_cut = 0
        self._rows: list[list[str]] = []
        self._columns: list[Cells] = []
        self._names: list[str] = []
        self._n_fields = 0

    def contents(self, sha256: "hashlib._Hash") -> Contents:
        try:
            header = next((row for row in self._reader if any(map(str.strip, row))), None)
            if header is None:
                raise DataRejected("data_empty", "the data is empty")
            self._read_header(header)
            self._read_rows()
            self._store_rows()
        except csv.Error as error:
            self._store_rows()
            raise self._format_error(error) from None
        if self._height == 0:
            raise DataRejected("data_empty", "the data has a header and no rows")
        return self._finished(sha256.hexdigest())

    def _read_header(self, header: list[str]) -> None:
        names = [tidy(name) for name in header]
        self._n_fields = len(names)
        while names and not names[-1]:
            names.pop()
        _check_names(names)
        self._names, self._columns = names, [Cells() for _ in names]

    def _read_rows(self) -> None:
        width, rows = len(self._names), self._rows
        header = [name.casefold() for name in self._names]
        # A row that equals the header is a row if there is one column, because a text may be the
        # word that names it, or if all names are numbers.
        may_repeat = width > 1 and any(parse_number(name) is None for name in header)
        last, longest = header[-1], len(header[-1]) + _SPACES_AROUND
        most_rows = max(1, _PIECE_CELLS // width)
        for row in self._reader:
            if len(row) != width:
                fitted = self._fit_to_header(row, width)
                if fitted is None:
                    continue
                row = fitted
            if not row[0].strip() and not any(map(str.strip, row)):
                self._n_blank += 1
                continue
            # The conditions that cost least come first.
            if (
                may_repeat
                and len(row[-1]) <= longest
                and row[-1].strip().casefold() == last
                and _is_header(row, header)
            ):
                self._n_headers += 1
                continue
            rows.append(row)
            if len(rows) >= most_rows:
                self._store_rows()

    def _fit_to_header(self, row: list[str], width: int) -> list[str] | None:
        """row: has another number of cells than the header, which has `width`. -> the row without
        surplus cells, if those are empty; None for an empty row. DataRejected data_ragged,
        data_column_missing."""
        if not any(map(str.strip, row)):
            self._n_blank += 1
            return None
        # If the file has one column, a comma at the end may be part of the text.
        may_cut = width > 1 or self._n_fields > 1
        if len(row) > width and may_cut and not any(map(str.strip, row[width:])):
            self._n_cut += 1
            return row[:width]
        self._store_rows()
        at = self._height + 1
        if width < len(row) <= self._n_fields:
            raise DataRejected("data_column_missing", f"column {width + 1} has no name")
        by = "" if self._dialect.separator == "," else f" by {self._dialect.separator!r}"
        advice = ": a text that contains a separator needs quotes around it" if len(row) > width else ""
        raise DataRejected("data_ragged", f"row {at} has {len(row)} fields, the header {width}{by}{advice}", row=at)

    def _store_rows(self) -> None:
        """Move the rows that were read into the columns. DataRejected for the first cell that is
        not UTF-8 or has a NUL byte."""
        rows = self._rows
        if not rows:
            return
        try:
            for column, cells in zip(self._columns, zip(*rows, strict=True), strict=True):
                column.append(cells)
        except ValueError:
            for at, row in enumerate(rows, start=self._height + 1):
                _check_text(row, f"row {at}", at)
            raise
        self._height += len(rows)
        rows.clear()

    def _format_error(self, error: csv.Error) -> DataRejected:
        at = self._height + 1
        where = f"row {at}" if self._columns else "the header"
        if "limit" in str(error):
            message = f"a field has more than {LONGEST_FIELD} characters, or its quote is never closed"
        elif "end of data" in str(error):
            message = "a quote opens a field here and is never closed: the quotes do not match"
        else:
            message = "there is text after a closing quote: write a quote within quotes twice"
        return DataRejected("data_format", f"{where}: {message}", row=at if self._columns else None)

    def _finished(self, sha256: str) -> Contents:
        notes = []
        if self._n_blank:
            notes.append(f"blank lines left out: {self._n_blank}")
        if self._n_headers:
            notes.append(f"repeated header rows left out: {self._n_headers}")
        if self._n_cut or self._n_fields > len(self._names):
            notes.append("trailing separators at the end of lines left out")
        firsts = [next(iter(cells)).strip() for name, cells in zip(self._names, self._columns, strict=True) if name]
        if len(firsts) > 1 and all(map(_DASHES.fullmatch, firsts)):
            raise DataRejected("data_format", "there is a line of dashes below the header: remove it", row=1)
        columns: dict[str, Cells] = {}
        for i, (name, cells) in enumerate(zip(self._names, self._columns, strict=True)):
            left_out = _why_left_out(i, name, cells, self._height, is_first=not columns)
            if left_out:
                notes.append(left_out)
                continue
            if not name:
                advice = "" if i else ": give an index a name, or write the file without it"
                raise DataRejected("data_column_missing", f"column {i + 1} has no name{advice}")
            columns[name] = cells
            if n_breaks := cells.n_line_breaks:
                notes.append(f"line breaks within quoted cells of {name!r}: {n_breaks}")
        if not columns:
            raise DataRejected("data_column_missing", "no column has a name")
        return Contents(columns, self._height, sha256, self._dialect, self._n_blank + self._n_headers, tuple(notes))


def _check_names(names: Sequence[str]) -> None:
    """names: of the header, tidied. An empty name is accepted here, because an empty column is left
    out later. DataRejected."""
    _check_text(names, "the header", None)
    if len(names) > MOST_COLUMNS:
        raise DataRejected("data_too_large", f"a data set may have at most {MOST_COLUMNS} columns")
    if len(names) > 1 and all(_OTHER_QUOTES.fullmatch(name) for name in names):
        raise DataRejected("data_format", 'the header has quotes of another kind: only " can quote a cell')
    if _are_numbers_of_a_row(names):
        raise DataRejected("data_format", "the first line has numbers in place of column names: add a header")
    seen = set()
    for name in filter(None, names):
        if name in seen:
            raise DataRejected("data_duplicate_column", f"two columns are called {name!r}", column=name)
        seen.add(name)


def _are_numbers_of_a_row(names: Sequence[str]) -> bool:
    """Whether the first line is a row and no header. Names may be numbers too: whole ones in rising
    order, such as 0, 1, 2 or years, or many in rising or falling order, such as wavelengths."""
    numbers = [number for name in names if (number := parse_number(name)) is not None]
    is_rising = all(a < b for a, b in pairwise(numbers))
    if len(numbers) < _MANY_NUMBERS:
        return not is_rising or not all(number.is_integer() for number in numbers)
    return not is_rising and not all(a > b for a, b in pairwise(numbers))


def _check_text(cells: Sequence[str], where: str, row: int | None) -> None:
    """where: for the message, such as "row 3". DataRejected for a cell that is not UTF-8 or has a
    NUL byte."""
    for cell in cells:
        if "\0" in cell:
            raise DataRejected("data_format", f"{where} has a NUL byte: the data is not a CSV in UTF-8", row=row)
        try:
            cell.encode()
        except UnicodeEncodeError:
            raise DataRejected(
                "data_encoding", f"{where} is not UTF-8: save the data as CSV in UTF-8", row=row
            ) from None


def _why_left_out(i: int, name: str, cells: Cells, height: int, *, is_first: bool) -> str | None:
    """A note if column i is left out, else None. A column is left out if it has no name and no
    values, or if it is the first one and numbers the rows, as the index that pandas writes.
    is_first: no column before it was kept."""
    if not name and not any(cell.strip() for cell in cells):
        return f"left out column {i + 1}, which has no name and no value"
    if is_first and _INDEX.fullmatch(name):
        numbers = {number for cell in cells if (number := parse_number(cell)) is not None and number.is_integer()}
        if len(numbers) == height:
            return f"left out column {i + 1}, {name!r}, which numbers the rows"
    return None
