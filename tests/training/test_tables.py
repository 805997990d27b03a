"""Bad data is refused with a code, and with the row or column at fault."""

import csv
import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_schemas.errors import DataRejected
from training_worker.tables import Table, label_column, read_table, text_column


def rejected(path: Path) -> DataRejected:
    with pytest.raises(DataRejected) as caught:
        read_table(path)
    return caught.value


def table_of(tmp_path: Path, data: str | bytes) -> Table:
    path = tmp_path / "data.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_table(path)


@pytest.mark.parametrize(
    ("data", "code", "row", "column"),
    [
        (b"", "data_empty", None, None),
        (b" \n\n", "data_empty", None, None),
        (b"\xef\xbb\xbf", "data_empty", None, None),
        (b"x,y\n", "data_empty", None, None),
        (b"x,y\n1,2\n3\n4,5\n", "data_ragged", 2, None),
        (b"x,y\n1,2,3\n", "data_ragged", 1, None),
        (b"x,y\n1,2\n3,\xff\n", "data_encoding", 2, None),
        (b'x,y\n"two\nlines",2\n3,\xff\n', "data_encoding", 2, None),
        (b"x,\xe9\n1,2\n", "data_encoding", None, None),
        (b"x,x\n1,2\n", "data_duplicate_column", None, "x"),
        (b"x,\n1,2\n", "data_column_missing", None, None),
        (b'x,y\n"1,2\n', "data_format", 1, None),
        (gzip.compress(b"x,y\n1,2\n", mtime=0), "data_format", None, None),
        (b"\xff\xfex\x00,\x00y\x00", "data_format", None, None),
        (b"\x7fELF\x02\x01\x01\x00\x00", "data_format", None, None),
    ],
)
def test_a_file_that_is_no_csv_is_refused_by_its_first_fault(
    tmp_path: Path, data: bytes, code: str, row: int | None, column: str | None
) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(data)

    info = rejected(path).info()

    assert (info.code, info.row, info.column, info.retryable) == (code, row, column, False)


def test_parquet_is_refused_as_a_format(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    pl.DataFrame({"x": [1]}).write_parquet(path)

    assert rejected(path).data_code == "data_format"


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    table = table_of(tmp_path, b"\xef\xbb\xbfx,y\r\n1,a\r\n2,b\r\n")

    assert (table.columns, table.height) == (["x", "y"], 2)
    assert table.numbers("x") == [1.0, 2.0]
    assert table.texts("y") == ["a", "b"]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    assert table_of(tmp_path, "x,y\n1,a\n\n2,b\n\n").texts("y") == ["a", "b"]
    assert table_of(tmp_path, "text\none\n\ntwo\n").texts("text") == ["one", "two"]


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("", "data_missing_value"),
        ("  ", "data_missing_value"),
        ("NaN", "data_not_finite"),
        ("inf", "data_not_finite"),
        ("-Infinity", "data_not_finite"),
        ("1e39", "data_not_finite"),
        ("three", "data_not_numeric"),
        ("1_000", "data_not_numeric"),
        ("1,5", "data_not_numeric"),
        ("\u0663", "data_not_numeric"),
        ("NA", "data_not_numeric"),
    ],
)
def test_a_cell_that_is_no_number_names_its_row_and_column(tmp_path: Path, cell: str, code: str) -> None:
    table = table_of(tmp_path, f'width,y\n1,a\n2,a\n"{cell}",b\n')

    with pytest.raises(DataRejected) as caught:
        table.numbers("width")

    info = caught.value.info()
    assert (info.code, info.row, info.column) == (code, 3, "width")


def test_a_space_beside_a_number_changes_nothing(tmp_path: Path) -> None:
    table = table_of(tmp_path, "size,price,label\n 1, 250.5,a\n2 ,\t99 ,b\n")

    assert (table.numbers("size"), table.numbers("price")) == ([1.0, 2.0], [250.5, 99.0])
    assert table.is_numeric("price")


@pytest.mark.parametrize("cell", ["", " ", "nan", "NaN"])
def test_a_label_that_is_missing_names_its_row_and_column(tmp_path: Path, cell: str) -> None:
    table = table_of(tmp_path, f"x,label\n1,a\n2,{cell}\n")

    with pytest.raises(DataRejected) as caught:
        table.labels("label")

    info = caught.value.info()
    assert (info.code, info.row, info.column) == ("data_missing_value", 2, "label")


def test_the_label_is_the_named_column_or_one_of_the_usual_names(tmp_path: Path) -> None:
    assert label_column(["text", "Class"], None) == "Class"
    assert label_column(["y", "label"], None) == "label"
    assert label_column(["text", "label", "mood"], "mood") == "mood"
    assert label_column(["text", "mood"], None) is None
    with pytest.raises(DataRejected) as caught:
        label_column(["text"], "mood")
    assert (caught.value.data_code, caught.value.column) == ("data_column_missing", "mood")


def test_the_text_is_the_named_column_or_text_or_the_only_one_in_words(tmp_path: Path) -> None:
    table = table_of(tmp_path, "id,body,label\n1,hello,a\n2,there,b\n")

    assert text_column(table, None, "label") == "body"
    assert text_column(table, "label", None) == "label"
    assert text_column(table_of(tmp_path, "a,text\nb,c\n"), None, None) == "text"
    with pytest.raises(DataRejected) as caught:
        text_column(table, None, None)
    assert caught.value.data_code == "data_column_missing"


_CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(_CELLS, min_size=width, max_size=width), min_size=1, max_size=8)
    ),
    st.booleans(),
)
def test_what_python_writes_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], is_spaced: bool
) -> None:
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    header = ["a", "b", "c"][: len(rows[0])]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n\n" if is_spaced else "\n").writerows([header, *rows])

    table = read_table(path)

    assert [list(row) for row in zip(*(table.column(name) for name in header), strict=True)] == rows
