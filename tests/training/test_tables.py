"""Bad data are refused with a code that names the fault, and with its row or column."""

import gzip
from pathlib import Path

import pytest
from recipe_kit.tables import Table, label_column, read_table, text_column
from shared_schemas.errors import DataRejected


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


@pytest.mark.parametrize(
    "data",
    [
        b"PAR1\x15\x04\x15\x10\x15\x14L\x15\x02\x15\x00\x12PAR1",
        b"PK\x03\x04\x14\x00\x06\x00xl/workbook.xml",
        b'{"text": "good", "label": "pos"}\n{"text": "bad", "label": "neg"}\n',
        b'[\n  {"text": "good", "label": "pos"}\n]\n',
        b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n",
        "x,y\n1,2\n".encode("utf-16"),
        "x,y\n1,2\n".encode("utf-16-le"),
        b"x,y\n" + b"1,2\n" * 5000 + b"3,\0\n",
        b"'x','y'\n'1','2'\n",
        "\u201cx\u201d,\u201cy\u201d\n\u201c1\u201d,\u201c2\u201d\n".encode(),
        b"5.1,3.5,1.4,0.2,setosa\n4.9,3.0,1.4,0.2,setosa\n",
        b"5,3,1,a\n4,3,1,b\n",
        b"| text | label |\n|------|:-----:|\n| good | pos |\n",
        b"text,label\n----,-----\ngood,pos\n",
    ],
)
def test_another_format_is_refused_as_such(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(data)

    assert rejected(path).data_code == "data_format"


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    table = table_of(tmp_path, b"\xef\xbb\xbfx,y\r\n1,a\r\n2,b\r\n")

    assert (table.columns, table.height) == (["x", "y"], 2)
    assert table.numbers("x") == [1.0, 2.0]
    assert table.texts("y") == ["a", "b"]


def test_blank_lines_are_not_rows(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("cell", ["nan", "NaN", "NA", "N/A", "None", "null", "NULL", "-", "?"])
def test_a_word_for_a_missing_value_is_an_ordinary_label(tmp_path: Path, cell: str) -> None:
    assert table_of(tmp_path, f"x,label\n1,a\n2, {cell} \n").labels("label") == ["a", cell]


@pytest.mark.parametrize("cell", ["", " ", "\u00a0"])
def test_a_label_that_is_missing_names_its_row_and_column(tmp_path: Path, cell: str) -> None:
    table = table_of(tmp_path, f"x,label\n1,a\n2,{cell}\n")

    with pytest.raises(DataRejected) as caught:
        table.labels("label")

    info = caught.value.info()
    assert (info.code, info.row, info.column) == ("data_missing_value", 2, "label")


def test_the_label_is_the_named_column_or_one_of_the_usual_names(tmp_path: Path) -> None:
    assert label_column(["text", "Class"], None) == "Class"
    assert label_column(["y", "label"], None) == "label"
    assert label_column(["a", "Y"], None) == "Y"
    assert label_column(["text", "Mood"], " mood ") == "Mood"
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
    assert text_column(table_of(tmp_path, "Text,body\nb,c\n"), None, None) == "Text"
    with pytest.raises(DataRejected) as caught:
        text_column(table, None, None)
    assert caught.value.data_code == "data_column_missing"
    assert all(repr(name) in str(caught.value) for name in table.columns)


@pytest.mark.parametrize("columns", [["label", "target"], ["Label", "label"], ["class", "text", "Target"], ["y", "Y"]])
def test_two_columns_that_may_be_the_label_are_refused_with_advice(columns: list[str]) -> None:
    with pytest.raises(DataRejected) as caught:
        label_column(columns, None)

    assert caught.value.data_code == "data_ambiguous_column"
    assert label_column(columns, columns[0]) == columns[0]


def test_two_columns_that_may_be_the_text_are_refused_with_advice(tmp_path: Path) -> None:
    table = table_of(tmp_path, "text,Text,label\na,b,c\n")

    with pytest.raises(DataRejected) as caught:
        text_column(table, None, "label")

    assert caught.value.data_code == "data_ambiguous_column"
    assert text_column(table, "Text", "label") == "Text"


def test_the_prefix_of_an_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "short.csv").write_text("x,y\n1\n")
    (tmp_path / "words.csv").write_text("x,y\none,2\n")

    with pytest.raises(DataRejected, match=r"^the second: row 1 has 1 fields"):
        read_table(tmp_path / "short.csv", prefix="the second: ")
    with pytest.raises(DataRejected, match=r"^the second: row 1 of 'x' is not a number"):
        read_table(tmp_path / "words.csv", prefix="the second: ").numbers("x")
