"""A CSV file has the cells that Python's csv module reads, or is refused because of its first fault."""

import csv
import io
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_kit.csv_file import Contents, read_csv
from recipe_kit.separators import SEPARATORS
from shared_schemas.errors import DataRejected

N_FILES = 5000


def contents_of(data: str | bytes) -> Contents:
    return read_csv(io.BytesIO(data.encode() if isinstance(data, str) else data))


def rejected(data: str | bytes) -> DataRejected:
    with pytest.raises(DataRejected) as caught:
        contents_of(data)
    return caught.value


def rows_of(contents: Contents) -> list[list[str]]:
    return [list(row) for row in zip(*(cells.to_list() for cells in contents.columns.values()), strict=True)]


def as_csv_reads(text: str, separator: str = ",") -> list[list[str]]:
    """The rows that Python's csv module reads, without the header, without empty rows, and without
    separators at their end. csv.Error if the module in strict mode refuses the text."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header, *rows = (row for row in reader if any(map(str.strip, row)))
    width = len(header)
    return [row if width == 1 or any(map(str.strip, row[width:])) else row[:width] for row in rows]


def a_file(rng: random.Random) -> tuple[str, str, int]:
    """-> (text, its separator, width): rows as people and programs write them, right or wrong."""
    width = rng.randint(1, 4)
    separator = rng.choice(SEPARATORS) if width > 1 else ","
    end = rng.choice(["\n", "\r\n", "\r"])
    lines = [separator.join(["alpha", "beta", "gamma", "delta"][:width])]
    for _ in range(rng.randint(1, 8)):
        lines.append("" if rng.random() < 0.1 else separator.join(a_field(rng, separator) for _ in range(width)))
    ends = [rng.choice(["\n", "\r\n", end, end, end]) for _ in lines]
    text = "".join(line + line_end for line, line_end in zip(lines, ends, strict=True))
    if rng.random() < 0.2:
        text = text.rstrip("\r\n")
    return ("\ufeff" if rng.random() < 0.2 else "") + text, separator, width


def a_field(rng: random.Random, separator: str) -> str:
    pieces = ["a", "5", '"', '""', " ", ".", "é", "\U0001f600", "'", "\\", "#", "\u2028", "x y", *SEPARATORS]
    cell = "".join(rng.choices(pieces, k=rng.randint(0, 5)))
    kind = rng.random()
    if kind < 0.35:
        inside = cell + rng.choice(["", "\n", "\r\n", "\r"]) + rng.choice(["", "b"])
        return '"' + inside.replace('"', '""') + '"'
    if kind < 0.42:
        # A common mistake: a quote within quotes must be written twice.
        return '"' + cell + '"'
    plain = cell.replace(separator, "")
    # A quote at the beginning opens a field; anywhere else it is an ordinary character.
    return plain if kind < 0.5 else plain.lstrip('"')


def test_five_thousand_files_have_the_cells_that_pythons_csv_module_reads() -> None:
    rng = random.Random(20261129)
    n_read = n_refused = n_rows = 0
    for _ in range(N_FILES):
        text, separator, width = a_file(rng)
        try:
            wanted = as_csv_reads(text.removeprefix("\ufeff"), separator)
        except csv.Error:
            wanted = None
        if wanted is None or not wanted or any(len(row) != width for row in wanted):
            refused = rejected(text)
            assert refused.data_code in ("data_format", "data_ragged", "data_empty"), (text, refused)
            n_refused += 1
            continue
        contents = contents_of(text)
        assert rows_of(contents) == wanted, text
        assert (list(contents.columns), contents.height) == (["alpha", "beta", "gamma", "delta"][:width], len(wanted))
        n_read, n_rows = n_read + 1, n_rows + len(wanted)

    # The comparison is only useful if many files were valid and some were not.
    assert n_read > N_FILES / 2
    assert n_refused > N_FILES / 20
    assert n_rows > N_FILES


_CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(_CELLS, min_size=width, max_size=width), min_size=1, max_size=8)
    ),
    st.booleans(),
)
def test_what_python_writes_is_read_back_unchanged(rows: list[list[str]], is_spaced: bool) -> None:
    header = ["a", "b", "c"][: len(rows[0])]
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n\n" if is_spaced else "\n").writerows([header, ["1"] * len(header), *rows])

    contents = contents_of(file.getvalue())

    rows_in_which_something_stands = [row for row in rows if any(map(str.strip, row))]
    assert rows_of(contents)[1:] == rows_in_which_something_stands
    n_blank_lines = len(rows) + 2 if is_spaced else 0
    assert contents.n_skipped == len(rows) - len(rows_in_which_something_stands) + n_blank_lines


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('note,l\na 5" pipe,x\n', [['a 5" pipe', "x"]]),
        ('note,l\n5",6"\n', [['5"', '6"']]),
        ('note,w,h\n"kind ""a"" one",5",6"\nb,c,d\n', [['kind "a" one', '5"', '6"'], ["b", "c", "d"]]),
        ('note,l\na "good" soup,x\n', [['a "good" soup', "x"]]),
        ('note,l\n a "good" soup,x\n', [[' a "good" soup', "x"]]),
        ('note,l\n"""quoted""",x\n', [['"quoted"', "x"]]),
        ('note,l\n"",x\n', [["", "x"]]),
        ('note,l\n"a\r\nb",x\r\nc,y\r\n', [["a\r\nb", "x"], ["c", "y"]]),
        ("note,l\ra,x\rb,y", [["a", "x"], ["b", "y"]]),
        ("note,l\na\u2028b\x0bc\x85,x\n", [["a\u2028b\x0bc\x85", "x"]]),
        ("note,l\na\\,x\n", [["a\\", "x"]]),
        ("note,l\n'a',x\n", [["'a'", "x"]]),
    ],
)
def test_quotes_and_line_ends_are_read_as_python_reads_them(text: str, wanted: list[list[str]]) -> None:
    assert rows_of(contents_of(text)) == wanted
    assert as_csv_reads(text) == wanted


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('text,l\n"a 5" pipe",x\n', 1),
        ('text,l\na,x\n"b,y\nc,z\n', 2),
        ('text,l\na,x\n"b,y\nc,z\n"d",w\n', 2),
        ('text,l\na,x\nb,"y\n', 2),
        ('text,l\n"a \\"good\\" soup",x\n', 1),
        ('"text,l\na,x\n', None),
        ('text\n"' + "a" * (1 << 20) + "b\n", 1),
        ('text,l\na,x\n\n,\nb,"y\n', 2),
    ],
)
def test_a_quote_that_does_not_match_is_refused_with_the_row_where_it_opens(text: str, row: int | None) -> None:
    info = rejected(text).info()

    assert (info.code, info.row, info.retryable) == ("data_format", row, False)


@pytest.mark.parametrize("place", [1, 2, 9000, 30000])
def test_the_error_of_a_byte_that_is_not_utf_8_names_its_row_wherever_it_is(place: int) -> None:
    rows = [b"%d,a" % i for i in range(1, 30001)]
    rows[place - 1] = b'"two\nlines",\xe9'

    error = rejected(b"x,y\n" + b"\n".join(rows) + b"\n1,2,3\n")

    assert (error.data_code, error.row) == ("data_encoding", place)


def test_the_error_is_about_the_first_fault_of_a_file() -> None:
    assert rejected(b"x,y\n1,2\n3,\xe9\n4\n").data_code == "data_encoding"
    assert rejected(b"x,y\n1,2\n4\n3,\xe9\n").data_code == "data_ragged"
    assert rejected(b'x,y\n1,2\n3,\xe9\n"4,5\n').data_code == "data_encoding"


@pytest.mark.parametrize(
    ("text", "n_skipped"),
    [
        ("x,y\n1,a\n2,b\n", 0),
        ("x,y\n1,a\n2,b\n,\n,\n", 2),
        ("x,y\n1,a\n,\n\n2,b\n", 2),
        ("x,y\n1,a\n , \n2,b\n", 1),
        ("x,y\n1,a\n   \n2,b\n", 1),
        ('x,y\n1,a\n"",""\n2,b\n', 1),
        ("x,y\n1,a\n,,,,\n2,b\n", 1),
        ("x,y\r\n1,a\r\n\r\n2,b\r\n\r\n", 2),
        ("\n\nx,y\n1,a\n2,b\n", 0),
        (",,\nx,y\n1,a\n2,b\n", 0),
        ("x,y\n1,a\nx,y\n2,b\n", 1),
        ("\ufeffx,y\n1,a\n\ufeffx,y\n2,b\n", 1),
        ("x,y,\n1,a,\n2,b,\n", 0),
        ("x,y\n1,a,\n2,b,\n", 0),
        ("x,y,\n1,a\n2,b\n", 0),
        ("x,y,,\n1,a,,\n2,b,,\n", 0),
        ("x,,y\n1,,a\n2,,b\n", 0),
        (",x,y\n0,1,a\n1,2,b\n", 0),
        ("Unnamed: 0,x,y\n7,1,a\n3,2,b\n", 0),
        (",Unnamed: 0,x,y\n0,7,1,a\n1,3,2,b\n", 0),
        ("Unnamed: 0.1,Unnamed: 0,x,y\n0,7,1,a\n1,3,2,b\n", 0),
        (" x , y\n1,a\n2,b\n", 0),
        ('"x","y"\n"1","a"\n"2","b"\n', 0),
        ("x, y\n1, a\n2, b\n", 0),
        ('x, y\n"1", "a"\n2, b\n', 0),
    ],
)
def test_empty_rows_repeated_headers_and_indexes_are_left_out(text: str, n_skipped: int) -> None:
    contents = contents_of(text)

    assert list(contents.columns) == ["x", "y"]
    assert rows_of(contents) == [["1", "a"], ["2", "b"]]
    assert contents.n_skipped == n_skipped


def test_what_is_left_out_is_in_the_notes() -> None:
    text = "Unnamed: 0,x,,y,\n0,1,,a,\nUnnamed: 0,x,,y,\n,,,,\n1,2,,b,\n"

    notes = contents_of(text).notes

    assert notes == (
        "blank lines left out: 1",
        "repeated header rows left out: 1",
        "trailing separators at the end of lines left out",
        "left out column 1, 'Unnamed: 0', which numbers the rows",
        "left out column 3, which has no name and no value",
    )
    assert contents_of("x,y\n1,a\n").notes == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x, x\n1,2\n", "data_duplicate_column"),
        ("x,x \n1,2\n", "data_duplicate_column"),
        ("caf\u00e9,cafe\u0301\n1,2\n", "data_duplicate_column"),
        (",x,y\na,1,2\nb,1,2\n", "data_column_missing"),
        ("x,,y\n1,,a\n2,3,b\n", "data_column_missing"),
        ("x,y,\n1,a,\n2,b,c\n", "data_column_missing"),
        ("# made by hand\nx,y\n1,2\n", "data_ragged"),
        ("x,y\n1,2\n# the end\n", "data_ragged"),
        ("x,y\n1,a\n2\n", "data_ragged"),
        ("x,y\n1,a, b\n", "data_ragged"),
        ('x,y\n1, "a, b"\n', "data_ragged"),
        ("text\none, two\n", "data_ragged"),
        ("text\none,\n", "data_ragged"),
        ("x,y\n,\n,\n", "data_empty"),
        ("x,y\nx,y\n", "data_empty"),
    ],
)
def test_a_file_that_could_be_read_in_two_ways_is_refused(text: str, code: str) -> None:
    assert rejected(text).data_code == code


def test_one_column_may_have_separators_at_the_end_of_each_line() -> None:
    assert rows_of(contents_of("text;;\none;;\ntwo\n")) == [["one"], ["two"]]


def test_a_text_that_is_the_name_of_its_column_is_a_text() -> None:
    contents = contents_of("text\nsome\ntext\n")

    assert (rows_of(contents), contents.n_skipped) == ([["some"], ["text"]], 0)


def test_a_column_that_is_only_named_like_an_index_is_kept() -> None:
    assert list(contents_of("Unnamed: 0,x\na,1\nb,2\n").columns) == ["Unnamed: 0", "x"]
    assert list(contents_of("Unnamed: 0,x\n1,1\n1,2\n").columns) == ["Unnamed: 0", "x"]
    assert list(contents_of("x,Unnamed: 0\n1,1\n2,2\n").columns) == ["x", "Unnamed: 0"]


def test_the_names_of_columns_may_be_numbers_in_order() -> None:
    assert list(contents_of("0,1,2,label\n5,3,1,a\n").columns) == ["0", "1", "2", "label"]
    assert list(contents_of("2019,2020,price\n5,3,1\n").columns) == ["2019", "2020", "price"]
    wavelengths = [f"{400 + i / 2}" for i in range(12)]
    assert len(contents_of(",".join(wavelengths) + "\n" + ",".join("1" * 12) + "\n").columns) == 12


def test_a_field_may_have_a_mebibyte_and_no_more(tmp_path: Path) -> None:
    assert contents_of("text\n" + "a" * (1 << 20) + "\n").height == 1
    assert rejected("text\n" + "a" * ((1 << 20) + 1) + "\n").row == 1


@pytest.mark.parametrize(
    "again", ["text,label", "Text,LABEL", "text, label", " text ,label", "\ufefftext,label", '"text","label"']
)
def test_a_repeated_header_is_not_a_row_however_it_is_written(again: str) -> None:
    contents = contents_of(f"text,label\na,p\n{again}\ntext,q\nb,label\n")

    assert rows_of(contents) == [["a", "p"], ["text", "q"], ["b", "label"]]
    assert contents.n_skipped == 1


def test_a_row_of_the_numbers_that_name_the_columns_is_a_row() -> None:
    assert rows_of(contents_of("0,1,2\n5,6,7\n0,1,2\n")) == [["5", "6", "7"], ["0", "1", "2"]]
