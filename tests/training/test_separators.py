"""The separator of a CSV file is found in its header or set by its first line; in doubt the file is refused."""

import io

import pytest
from recipe_kit.csv_file import Contents, read_csv
from shared_schemas.errors import DataRejected


def contents_of(text: str) -> Contents:
    return read_csv(io.BytesIO(text.encode()))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("cell", ["plain", "1,5", "a; b", "tab\there", "a|b", '5" pipe', "a, b; c"])
def test_the_one_separator_that_splits_the_header_separates_the_rows(separator: str, cell: str) -> None:
    quoted = f'"{cell.replace(chr(34), chr(34) * 2)}"' if separator in cell else cell
    text = f"text{separator}label\n" + f"{quoted}{separator}a\n" * 3

    contents = contents_of(text)

    assert (contents.dialect.separator, contents.dialect.is_declared) == (separator, False)
    assert {name: cells.to_list() for name, cells in contents.columns.items()} == {
        "text": [cell] * 3,
        "label": ["a"] * 3,
    }


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "sep=;\r", "\ufeffsep=;", "sep=;;"])
def test_a_first_line_may_set_the_separator(line: str) -> None:
    contents = contents_of(f"{line}\nx;y\n1,5;2\n")

    assert (contents.dialect.separator, contents.dialect.is_declared, contents.height) == (";", True, 1)
    assert contents.columns["x"].to_list() == ["1,5"]


@pytest.mark.parametrize("separator", [",", "\t", "|", "^", "~", ":", "\x1f"])
def test_a_first_line_may_set_any_separator(separator: str) -> None:
    contents = contents_of(f"sep={separator}\nx{separator}y\n1{separator}2\n")

    assert list(contents.columns) == ["x", "y"]


@pytest.mark.parametrize("line", ["sep=a", "sep=5", "sep= ", "sep='", 'sep="', "sep=\\t", "sep = ;", "sep=;,,"])
def test_what_cannot_separate_is_refused(line: str) -> None:
    with pytest.raises(DataRejected) as caught:
        contents_of(f"{line}\nx,y\n1,2\n")

    assert caught.value.data_code == "data_format"


@pytest.mark.parametrize(
    ("text", "separator", "columns"),
    [
        ("size (m,2);price\n1;2\n3;4\n", ";", ["size (m,2)", "price"]),
        ("name|alias,label\nbob,x\nann,y\n", ",", ["name|alias", "label"]),
        ("a\tb, c\n1\t2\n", "\t", ["a", "b, c"]),
        ('"a;b",c\n1,2\n', ",", ["a;b", "c"]),
        ("a;b,c\n1,2,3\n4\n", ",", None),
    ],
)
def test_if_two_separators_split_the_header_the_rows_decide(
    text: str, separator: str, columns: list[str] | None
) -> None:
    if columns is None:
        with pytest.raises(DataRejected):
            contents_of(text)
        return
    contents = contents_of(text)

    assert (contents.dialect.separator, list(contents.columns)) == (separator, columns)


@pytest.mark.parametrize("text", ["size (m,2);price\n1,5;2\n3,5;4\n", "a\tb;c\n1;2\t3\n", "a;b|c\n1\n"])
def test_a_file_whose_rows_fit_two_separators_is_refused_with_advice(text: str) -> None:
    with pytest.raises(DataRejected, match="sep=") as caught:
        contents_of(text)

    assert caught.value.data_code == "data_format"


def test_one_column_is_never_split() -> None:
    lines = ["It rained; she slept.", "Well | then", "a\tb"]

    assert contents_of("text\n" + "\n".join(lines) + "\n").columns["text"].to_list() == lines


def test_a_space_after_each_separator_of_the_header_belongs_to_the_separators() -> None:
    contents = contents_of('text; label; note\n"a; b"; "c"; d\n')

    assert contents.dialect.has_spaces
    assert [cells.to_list() for cells in contents.columns.values()] == [["a; b"], ["c"], ["d"]]
