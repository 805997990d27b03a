"""The task and its columns are given by the job, inferred without doubt, or the job is refused with advice.

What was inferred is in the log and in the manifest.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from shared_schemas.errors import DataRejected, HeadraceError, SpecRejected
from shared_schemas.events import Logged
from shared_schemas.specs import Hyperparameters

from tests.support.training import TINY, assignment, experiment, trained, write_csv

TEXTS = [("a good soup", "pos"), ("a bad soup", "neg")] * 30
SIZES = [(f"{i}.5", f"{i % 7}", "warm" if i % 2 else "cold") for i in range(60)]


def prepared(root: Path, lines: Sequence[str], model_type: str, **spec: object) -> Any:
    """What a recipe makes of the data, before anything is trained."""
    write_csv(root / "data.csv", list(lines))
    return experiment(assignment(root, model_type=model_type, data_path="data.csv", seed=1, **spec))


def refused(root: Path, lines: Sequence[str], model_type: str, **spec: object) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught:
        prepared(root, lines, model_type, **spec)
    return caught.value


def table_of(header: str, rows: Sequence[Sequence[str]], separator: str = ",") -> list[str]:
    return [header, *(separator.join(row) for row in rows)]


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("text,label", ","), ("text;label", ";"), ("text\tlabel", "\t"), ("text|label", "|"),
        ("sep=;\ntext;label", ";"), ("text, label", ", "), (" text , label ", ","), ("Text,Label", ","),
        ("TEXT;Target", ";"), ("body,class", ","), ('"text";"label"', ";"), ("\ufefftext,label", ","),
        ("sep=^\ntext^label", "^"), ("review,y", ","),
    ],
)  # fmt: skip
def test_a_text_and_a_label_make_a_classifier_however_they_are_written(
    tmp_path: Path, header: str, separator: str
) -> None:
    made = prepared(tmp_path, table_of(header, TEXTS, separator), "transformer", hyperparameters=TINY)

    assert (made.task, made.labels) == ("text-classification", ("neg", "pos"))


@pytest.mark.parametrize(
    "header", ["text,sentiment", "text;sentiment", "review,category", "id,text", "Text,Kategorie", "text,labels"]
)
@pytest.mark.parametrize("spec", [{}, {"text_column": "text"}, {"task": "classification"}])
def test_other_columns_beside_a_text_are_refused_with_advice(tmp_path: Path, header: str, spec: dict[str, str]) -> None:
    separator = ";" if ";" in header else ","
    if "text_column" in spec and "text" not in header.lower():
        spec = {"text_column": "review"}

    error = refused(tmp_path, table_of(header, TEXTS, separator), "transformer", hyperparameters=TINY, **spec)

    assert isinstance(error, DataRejected)
    assert error.data_code == "data_column_missing"
    assert "label_column" in str(error)
    assert ("task language-modeling" in str(error)) == ("task" not in spec)
    assert all(repr(name) in str(error) for name in header.split(separator))


def test_a_language_model_is_made_if_the_job_asks_for_it_or_if_there_is_only_a_text(tmp_path: Path) -> None:
    asked = {"task": "language-modeling", "hyperparameters": TINY}

    for header in ("text,sentiment", "text,label", "Text,other"):
        made = prepared(tmp_path, table_of(header, TEXTS), "transformer", **asked)
        assert (made.task, made.text_column, made.target) == ("text-generation", header.split(",")[0], None)
    alone = prepared(tmp_path, ["words", *(text for text, _ in TEXTS)], "transformer", hyperparameters=TINY)
    assert (alone.task, alone.text_column) == ("text-generation", "words")


@pytest.mark.parametrize(
    "header",
    [
        "text:label", "text^label", "text~label", "text=label", "+------+-------+", "# made by hand", "text\x01label",
        "text  label", "text label", "Text Target", "text\uff0clabel", "text\u060c label", "text\uff1blabel",
    ],
)  # fmt: skip
def test_a_header_of_one_column_that_may_be_several_is_refused_with_advice(tmp_path: Path, header: str) -> None:
    lines = [header, *(f"{text}:{label}" for text, label in TEXTS)]

    error = refused(tmp_path, lines, "transformer", hyperparameters=TINY)

    assert isinstance(error, DataRejected)
    assert error.data_code == "data_format"
    named = prepared(tmp_path, lines, "transformer", text_column=header, hyperparameters=TINY)
    assert named.task == "text-generation"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_rows_of_two_columns_below_a_header_of_one_are_refused_with_advice(tmp_path: Path, separator: str) -> None:
    lines = table_of("text", TEXTS, separator)

    error = refused(tmp_path, lines, "transformer", hyperparameters=TINY)

    assert isinstance(error, DataRejected)
    assert error.data_code == "data_format"
    assert prepared(tmp_path, [*lines, "and no sign"], "transformer", hyperparameters=TINY).task == "text-generation"
    named = prepared(tmp_path, lines, "transformer", text_column="text", hyperparameters=TINY)
    assert named.task == "text-generation"


def test_one_column_cannot_be_both_the_text_and_the_label(tmp_path: Path) -> None:
    lines = table_of("text,label", TEXTS)

    error = refused(tmp_path, lines, "transformer", text_column="label", label_column="label")

    assert isinstance(error, SpecRejected)


@pytest.mark.parametrize(
    ("header", "separator"),
    [("a,b,kind", ","), ("a, b, kind", ", "), ("a;b;kind", ";"), (" a ,b , kind", ","), ("a\tb\tkind", "\t")],
)
def test_spaces_and_separators_change_no_name_no_number_and_no_class(
    tmp_path: Path, header: str, separator: str
) -> None:
    made = prepared(tmp_path, table_of(header, SIZES, separator), "mlp", label_column="kind")

    assert (made.features, made.target, made.labels) == (("a", "b"), "kind", ("cold", "warm"))


def test_a_space_before_a_number_leaves_it_a_quantity(tmp_path: Path) -> None:
    rows = [(f"{i}", f"{i % 7}", f"{i * 1.5}") for i in range(60)]

    assert prepared(tmp_path, table_of("a, b, price", rows, ", "), "mlp").task == "tabular-regression"
    assert prepared(tmp_path, table_of("a;b;price", rows, " ; "), "mlp").task == "tabular-regression"


REGRESSION, CLASSIFICATION = "tabular-regression", "tabular-classification"


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([str(100000 + 25000 * i) for i in range(16)], REGRESSION),
        ([str(100000 + 25000 * i) for i in range(15)] + ["100000"], REGRESSION),
        ([str(100000 + 25000 * (i // 2)) for i in range(16)], REGRESSION),
        ([str(i % 9) for i in range(20)], REGRESSION),
        ([str(i) for i in range(8)], REGRESSION),
        ([f"{i}.0" for i in range(16)], REGRESSION),
        ([f" {100 + i}" for i in range(16)], REGRESSION),
        ([str(i % 21) for i in range(300)], REGRESSION),
        (["0.5", "1.5"] * 30, REGRESSION),
        (["0", "1"] * 8, CLASSIFICATION),
        (["1.0", "2.0", "3.0"] * 8, CLASSIFICATION),
        (["2", "4"] * 30, CLASSIFICATION),
        ([str(i % 10) for i in range(60)], CLASSIFICATION),
        (["yes", "no"] * 8, CLASSIFICATION),
        (["nan", "pos"] * 8, CLASSIFICATION),
    ],
)
def test_a_target_is_a_quantity_if_its_values_hardly_repeat(tmp_path: Path, values: list[str], task: str) -> None:
    lines = table_of("rooms,price", [(str(i), value) for i, value in enumerate(values)])

    made = prepared(tmp_path, lines, "mlp", label_column="price")

    assert made.task == task
    assert any(
        note.startswith("'price' is a quantity" if task == REGRESSION else "'price' names") for note in made.notes
    )


@pytest.mark.parametrize(
    ("values", "code", "row"),
    [
        ([f"name {i}" for i in range(16)], "data_too_many_classes", None),
        ([f"name {i // 1.5}" for i in range(16)], "data_too_many_classes", None),
        ([f"{i}-{i}" for i in range(16)], "data_too_many_classes", None),
        ([f"{i},5" for i in range(16)], "data_not_numeric", 1),
        (["1,5", "2,5"] * 8, "data_not_numeric", 1),
        (["1", "2,5"] * 8, "data_not_numeric", 2),
        (["5%", "6%"] * 8, "data_not_numeric", 1),
        (["1 000", "2 000"] * 8, "data_not_numeric", 1),
        (["0"] * 7 + ["1"] * 7 + ["?"], "data_not_numeric", 15),
        (["0.5"] * 7 + ["1.5"] * 7 + ["nan"], "data_not_finite", 15),
        (["1", "01"] * 8, "data_ambiguous_label", 2),
        (["v1.1", "1.1", "x", "1.10"] * 4, "data_ambiguous_label", 4),
        (["1000", "1e3", "a", "b", "c"] * 4, "data_ambiguous_label", 2),
        (["1", "0", "True", "False"] * 4, "data_ambiguous_label", 3),
        (["true", "no", "1.0"] * 4, "data_ambiguous_label", 3),
    ],
)
def test_a_column_that_is_probably_no_label_is_refused_with_advice(
    tmp_path: Path, values: list[str], code: str, row: int | None
) -> None:
    lines = table_of("rooms,kind", [(str(i), f'"{value}"') for i, value in enumerate(values)])
    spec = {"task": "classification"} if code == "data_ambiguous_label" else {}

    error = refused(tmp_path, lines, "mlp", label_column="kind", **spec)

    assert isinstance(error, DataRejected)
    assert (error.data_code, error.row, error.column) == (code, row, "kind")


def test_a_job_that_asks_for_classification_gets_classes_of_any_shape(tmp_path: Path) -> None:
    for values in (["1,5", "2,5"] * 8, ["5%", "6%"] * 8, ["0", "1", "?"] * 6, [f"{i // 2}" for i in range(30)]):
        lines = table_of("rooms,kind", [(str(i), f'"{value}"') for i, value in enumerate(values)])
        made = prepared(tmp_path, lines, "mlp", label_column="kind", task="classification")
        assert set(made.labels) == set(values)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["1", "1.0", "0", "0.0"], ("0", "1")),
        (["1.0", "0.0", "1.0", "0.0"], ("0.0", "1.0")),
        (["p", " p", "q", "q "], ("p", "q")),
        (["p", "\u00a0p", "q", "q\t"], ("p", "q")),
        (["p", "p\u200e", "\u2060q", "q\u00ad"], ("p", "q")),
        (["p", "\u202ap\u202c", "q", "\ufeffq"], ("p", "q")),
        (["True", "true", "FALSE", "False"], ("false", "true")),
        (["True", "False"], ("False", "True")),
        (["caf\u00e9", "cafe\u0301", "tea", "tea"], ("caf\u00e9", "tea")),
        (["01", "02"], ("01", "02")),
        (["1.1", "1.2", "1.1"], ("1.1", "1.2")),
        (["12345678901234567890", "12345678901234567891"], ("12345678901234567890", "12345678901234567891")),
        (["1e99999999999999999999", "2e99999999999999999999"], ("1e99999999999999999999", "2e99999999999999999999")),
        (["Spam", "spam", "ham"], ("Spam", "ham", "spam")),
        (["nan", "NA", "None", "null", "a"], ("NA", "None", "a", "nan", "null")),
    ],
)
def test_two_spellings_of_one_class_are_one(tmp_path: Path, values: list[str], classes: tuple[str, ...]) -> None:
    rows = [(f"text number {i}", value) for i, value in enumerate(values * 12)]

    text = prepared(tmp_path, table_of("text,label", rows), "transformer", hyperparameters=TINY)
    numbers = [(str(i), value) for i, (_, value) in enumerate(rows)]
    table = prepared(tmp_path, table_of("x,label", numbers), "mlp", task="classification")

    assert text.labels == table.labels == classes


def test_what_looks_odd_about_classes_is_in_the_log(tmp_path: Path) -> None:
    values = ["1", "1.0", "Spam", "spam", "None"] * 4
    rows = [(f"text number {i}", value) for i, value in enumerate(values)]

    made = prepared(tmp_path, table_of("text,label", rows), "transformer", hyperparameters=TINY)

    assert list(made.notes) == [
        "classes of 'label' that are spelled in several ways: '1'",
        "classes of 'label' that differ only in case, spaces or form: 'Spam' and 'spam'",
        "classes of 'label' that are not missing values: 'None'",
    ]


@pytest.mark.parametrize("other", ["Very Good", "very  good", "very\u00a0good", "\uff56ery good"])
def test_classes_that_look_alike_are_in_the_log(tmp_path: Path, other: str) -> None:
    rows = [(f"text number {i}", value) for i, value in enumerate(["very good", other, "bad"] * 6)]

    made = prepared(tmp_path, table_of("text,label", rows), "transformer", hyperparameters=TINY)

    assert [note.split(":")[0] for note in made.notes] == [
        "classes of 'label' that differ only in case, spaces or form"
    ]


@pytest.mark.parametrize(
    ("model_type", "spec", "pointer"),
    [
        ("mlp", {"text_column": "text"}, "/text_column"),
        ("mlp", {"text_column": "absent"}, "/text_column"),
        ("transformer", {"feature_columns": ("text",)}, "/feature_columns"),
        ("transformer", {"feature_columns": ("absent",)}, "/feature_columns"),
        ("transformer", {"feature_columns": ("text",), "task": "language-modeling"}, "/feature_columns"),
        ("transformer", {"label_column": "label", "task": "language-modeling"}, "/label_column"),
        ("transformer", {"task": "regression"}, "/task"),
        ("mlp", {"task": "language-modeling"}, "/task"),
    ],
)
def test_what_a_model_type_cannot_use_is_refused_by_field(
    tmp_path: Path, model_type: str, spec: dict[str, object], pointer: str
) -> None:
    error = refused(tmp_path, table_of("text,label", TEXTS), model_type, **spec)

    assert isinstance(error, SpecRejected)
    assert error.pointer == pointer


def test_hyperparameters_of_another_model_type_are_in_the_log(tmp_path: Path) -> None:
    spec = {"label_column": "kind", "hyperparameters": Hyperparameters(heads=2, max_length=8, width=8)}

    made = prepared(tmp_path, table_of("a,b,kind", SIZES), "mlp", **spec)

    assert "hyperparameters that this model type does not use: heads, max_length" in made.describe()


def test_classes_without_a_training_row_or_a_held_out_row_are_in_the_log(tmp_path: Path) -> None:
    write_csv(tmp_path / "data.csv", table_of("a,b,kind", SIZES))
    write_csv(tmp_path / "held.csv", table_of("a,b,kind", SIZES[1::2]))
    job = {"model_type": "mlp", "data_path": "data.csv", "validation_path": "held.csv", "label_column": "kind"}

    made = experiment(assignment(tmp_path, seed=1, **job))

    assert "classes without a row held out: 'cold'" in made.describe()


def test_the_error_about_a_validation_text_that_is_too_short_names_the_validation_data(tmp_path: Path) -> None:
    write_csv(tmp_path / "data.csv", ["text", *(text for text, _ in TEXTS)])
    write_csv(tmp_path / "held.csv", ["text", "short"])
    job = {"model_type": "transformer", "data_path": "data.csv", "validation_path": "held.csv"}

    with pytest.raises(DataRejected, match="the validation data: the text of 'text' is shorter"):
        experiment(assignment(tmp_path, seed=1, hyperparameters=TINY, **job))


def test_validation_data_may_have_another_format(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "data.csv", table_of("a,b,kind", [(str(i), "2", "1.0" if i % 2 else "0.0") for i in range(20)])
    )
    write_csv(tmp_path / "held.csv", ["sep=;", "Kind ; more;b;a", "1;x;2;3", "0;y;2;4"])
    write_csv(tmp_path / "less.csv", ["kind,a", "1,2"])
    write_csv(tmp_path / "new.csv", ["kind,a,b", "1,2,3", "2,2,3"])
    job = {"model_type": "mlp", "data_path": "data.csv", "label_column": "kind", "task": "classification"}

    def held(name: str) -> Any:
        return experiment(assignment(tmp_path, seed=1, validation_path=name, **job))

    assert held("held.csv").labels == ("0.0", "1.0")
    with pytest.raises(DataRejected, match="the validation data: the data has no column 'b'") as missing:
        held("less.csv")
    assert missing.value.data_code == "data_column_missing"
    with pytest.raises(DataRejected, match="the validation data: row 2") as unknown:
        held("new.csv")
    assert (unknown.value.data_code, unknown.value.row) == ("data_unknown_class", 2)


@pytest.mark.parametrize("cell", ["red", "True", "4_512", "1,5"])
def test_a_feature_that_is_not_a_number_is_refused_with_advice(tmp_path: Path, cell: str) -> None:
    lines = table_of("a,b,kind", [(f'"{cell}"', "1", kind) for _, _, kind in SIZES])

    error = refused(tmp_path, lines, "mlp", label_column="kind")

    assert isinstance(error, DataRejected)
    assert (error.data_code, error.row, error.column) == ("data_not_numeric", 1, "a")
    assert any(word in str(error) for word in ("feature_columns", "write 1"))
    assert prepared(tmp_path, lines, "mlp", label_column="kind", feature_columns=("b",)).features == ("b",)


def test_what_was_inferred_is_in_the_log_and_in_the_manifest(tmp_path: Path) -> None:
    rows = [(str(i), str(i % 5), "x", f"{i * 1.5}") for i in range(24)]
    write_csv(tmp_path / "data.csv", ["id;size;note;price", *(";".join(row) for row in rows), ";;;", ";;;"])

    finished, events = trained(
        assignment(
            tmp_path, model_type="mlp", data_path="data.csv", feature_columns=("size", "id"), hyperparameters=TINY
        )
    )

    facts = finished.manifest.data
    assert facts is not None
    assert (facts.rows, facts.skipped_rows, facts.separator) == (24, 2, ";")
    assert (facts.text_column, facts.label_column, facts.unused_columns) == (None, "price", ("note",))
    assert facts.inferred == ("task", "label_column")
    assert facts.notes == (
        "blank lines left out: 2",
        "no column is called label, target, class or y: the last one, 'price', is predicted",
        "'price' is a quantity, since its values are not all whole",
    )
    lines = [event.line for event in events if isinstance(event, Logged)]
    assert "24 rows of 'id', 'size', 'note', 'price', separated by a semicolon" in lines
    assert "label 'price'; inferred: task, label_column" in lines
    assert "columns that are not used: 'note'" in lines
    assert all(note in lines for note in facts.notes)
