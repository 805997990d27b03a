"""Objects of scikit-learn and PyTorch become ONNX files that agree with them, or the error says how they differ.

With the real libraries. tests/e2e/test_publishing_objects.py publishes such files and asks them.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from headrace import ExportFailed, InvalidJob
from headrace.exporting import Exported, exported
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR
from torch import Tensor, nn

ROWS, CLASSES = load_iris(return_X_y=True)
TABLE = load_iris(as_frame=True).data
NAMES = np.array(["setosa", "versicolor", "virginica"])[CLASSES]
TARGET = ROWS @ [1.0, 2.0, -1.0, 0.5]


def run(made: Exported, **inputs: np.ndarray) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(made.contents, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def shapes(made: Exported) -> dict[str, list[int | str]]:
    graph = onnx.load_from_string(made.contents).graph
    return {
        value.name: [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(max_iter=500),
        RandomForestClassifier(8, random_state=0),
        MLPClassifier((8,), max_iter=100, random_state=0),
        GaussianNB(),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("labels", [NAMES, CLASSES, CLASSES == 1], ids=["names", "numbers", "booleans"])
@pytest.mark.filterwarnings("ignore")
def test_the_softmax_of_the_logits_of_a_classifier_is_its_probabilities(classifier: Any, labels: Any) -> None:
    classifier.fit(ROWS, labels)

    made = exported(classifier, ROWS, {})

    assert made is not None
    assert made.shown == {
        "task": "tabular-classification",
        "features": ("x0", "x1", "x2", "x3"),
        "labels": tuple(map(str, classifier.classes_)),
    }
    powers = np.exp(run(made, features=ROWS.astype(np.float32))["logits"])
    shares = powers / powers.sum(axis=1, keepdims=True)
    assert np.allclose(shares, classifier.predict_proba(ROWS), atol=1e-5)
    assert shapes(made) == {"features": ["batch", 4], "logits": ["batch", len(classifier.classes_)]}


@pytest.mark.parametrize(
    "regressor", [LinearRegression(), Ridge(), SVR(), GaussianProcessRegressor()], ids=lambda each: type(each).__name__
)
def test_a_regressor_of_a_table_names_its_columns(regressor: Any) -> None:
    regressor.fit(TABLE, TARGET)

    made = exported(regressor, TABLE, {})

    assert made is not None
    assert made.shown == {"task": "tabular-regression", "features": tuple(TABLE.columns)}
    assert list(shapes(made)) == ["features", "prediction"]


@pytest.mark.parametrize(
    ("estimator", "target", "first", "batch_axis"),
    [
        (KMeans(3, n_init=1), None, "label", "batch"),
        (PCA(2), None, "variable", "batch"),
        (SVC(), NAMES, "label", "batch"),
        (LinearRegression(), np.stack([TARGET, TARGET], axis=1), "variable", "batch"),
        (MultiOutputClassifier(LogisticRegression(max_iter=500)), np.stack([CLASSES, CLASSES], axis=1), "label", None),
    ],
    ids=lambda each: type(each).__name__,
)
def test_any_other_estimator_is_a_model_of_tensors(
    estimator: Any, target: Any, first: str, batch_axis: str | None
) -> None:
    estimator.fit(ROWS, target)

    made = exported(estimator, ROWS, {})

    assert made is not None
    assert made.shown == {"task": "tensors"} | ({} if batch_axis is None else {"batch_axis": batch_axis})
    wanted = estimator.predict(ROWS) if hasattr(estimator, "predict") else estimator.transform(ROWS)
    found = run(made, features=ROWS.astype(np.float32))[first]
    assert np.allclose(found, wanted, atol=1e-4) if wanted.dtype.kind == "f" else (found == wanted).all()


def test_a_classifier_can_be_a_model_of_tensors() -> None:
    classifier = LogisticRegression(max_iter=500).fit(ROWS, NAMES)

    made = exported(classifier, ROWS, {"task": "tensors"})

    assert made is not None
    answer = run(made, features=ROWS.astype(np.float32))
    assert (answer["label"] == classifier.predict(ROWS)).all()
    assert np.allclose(answer["probabilities"], classifier.predict_proba(ROWS), atol=1e-5)


def test_columns_that_are_taken_by_name_are_inputs_of_their_own() -> None:
    people = pd.DataFrame({"age": [22, 38, 26, 35], "fare": [7.25, 71.3, 7.9, 53.1], "class": ["b", "a", "b", "a"]})
    columns = make_column_transformer((OneHotEncoder(), ["class"]), (StandardScaler(), ["age", "fare"]))
    model = make_pipeline(columns, LogisticRegression()).fit(people, [0, 1, 0, 1])

    made = exported(model, people, {})

    assert made is not None
    assert made.shown == {"task": "tensors", "batch_axis": "batch"}
    given = {name: people[name].to_numpy().reshape(-1, 1) for name in people}
    given = {name: each.astype(object if name == "class" else np.float32) for name, each in given.items()}
    assert run(made, **given)["label"].tolist() == [0, 1, 0, 1]


def test_an_estimator_whose_file_answers_otherwise_is_refused_with_the_largest_difference() -> None:
    # In rows of equal distance, scikit-learn and the file choose other neighbours.
    nearest = KNeighborsClassifier().fit(ROWS, NAMES)

    with pytest.raises(ExportFailed, match=r"differs from the object on the example: .* by up to 0\.2, and 0\.00101"):
        exported(nearest, ROWS, {})


class Branch(nn.Module):
    """Has another answer from five rows on, which no export of three rows shows."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[0] < 5 else -x


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * len(x.tolist())


class SumAndProduct(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        return {"sum": a + b, "product": a * b}


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return (self.table(input_ids) * attention_mask.unsqueeze(-1)).sum(1)


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("n_rows", [1, 5])
@pytest.mark.parametrize("form", [np.asarray, torch.tensor, list], ids=["array", "tensor", "list"])
def test_a_module_is_exported_as_it_is_served_and_left_as_it_was(n_rows: int, form: Callable[[Any], Any]) -> None:
    module, rows = layers(), np.random.default_rng(0).standard_normal((n_rows, 4)).astype(np.float32)

    made = exported(module, form(rows), {"task": "tabular-classification"})

    assert made is not None
    assert shapes(made) == {"features": ["batch", 4], "logits": ["batch", 3]}
    assert all(part.training for part in module.modules())
    module.eval()
    wanted = module(torch.tensor(rows)).detach().numpy()
    assert np.allclose(run(made, features=rows)["logits"], wanted, atol=1e-5)


@pytest.mark.parametrize("form", [lambda x: (x, x), lambda x: {"b": x, "a": x}], ids=["tuple", "mapping"])
def test_inputs_and_outputs_keep_their_names(form: Callable[[Any], Any]) -> None:
    made = exported(SumAndProduct(), form(torch.ones(2, 3)), {})

    assert made is not None
    assert shapes(made) == {name: ["batch", 3] for name in ("a", "b", "sum", "product")}
    answer = run(made, a=np.full((1, 3), 2, np.float32), b=np.full((1, 3), 5, np.float32))
    assert (answer["sum"][0, 0], answer["product"][0, 0]) == (7, 10)


def test_the_length_of_texts_varies_too() -> None:
    ids = torch.ones(2, 6, dtype=torch.int64)

    made = exported(Text(), {"input_ids": ids, "attention_mask": ids}, {"task": "text-classification"})

    assert made is not None
    assert shapes(made)["input_ids"] == ["batch", "length"]
    assert list(shapes(made))[-1] == "logits"


def test_a_program_of_the_exporter_is_a_file() -> None:
    program = torch.onnx.export(nn.Linear(2, 2).eval(), (torch.zeros(1, 2),), verbose=False)

    made = exported(program, None, {})

    assert made is not None
    assert shapes(made)["input"] == [1, 2]


X = torch.ones(3, 2)
WRONG: dict[str, tuple[Any, Any, dict[str, Any], type[InvalidJob], str]] = {
    "noise": (Noise(), X, {}, ExportFailed, "differs by up to"),
    "branch": (Branch(), X, {}, ExportFailed, "on the example twice: .* differs by up to"),
    "constant": (Constant(), X, {}, ExportFailed, "does not run on one row"),
    "bfloat16": (nn.Linear(2, 2).bfloat16(), X.bfloat16(), {}, ExportFailed, "cannot load the exported model"),
    "another shape": (nn.Linear(5, 2), X, {}, ExportFailed, "does not take the example"),
    "nested answers": (nn.LSTM(2, 2), torch.ones(3, 2, 2), {}, ExportFailed, "something else than a tensor"),
    "no example": (nn.Linear(2, 2), None, {}, InvalidJob, "give an example"),
    "a text": (nn.Linear(2, 2), "rows", {}, InvalidJob, "no tensor"),
    "no rows": (nn.Linear(2, 2), X[:0], {}, InvalidJob, "rows"),
    "a scalar": (nn.Linear(2, 2), torch.tensor(1.0), {}, InvalidJob, "no rows"),
    "too many": (nn.Linear(2, 2), (X, X), {}, InvalidJob, "forward does not take"),
    "two inputs of a table": (SumAndProduct(), (X, X), {"task": "tabular-regression"}, InvalidJob, "takes features"),
    "rows of texts": (Text(), (X[:, 0], X[:, 0]), {"task": "rerank"}, InvalidJob, "length"),
    "not fitted": (LogisticRegression(), ROWS, {}, ExportFailed, "not fitted"),
    "no estimator's example": (LinearRegression().fit(ROWS, TARGET), None, {}, InvalidJob, "give an example"),
    "a row": (LinearRegression().fit(ROWS, TARGET), ROWS[0], {}, InvalidJob, "an example is numbers"),
    "uneven": (LinearRegression().fit(ROWS, TARGET), [[1], [1, 2]], {}, InvalidJob, "an example is numbers"),
    "fewer columns": (LinearRegression().fit(ROWS, TARGET), ROWS[:, 1:], {}, ExportFailed, "does not take"),
    "another task": (LinearRegression().fit(ROWS, TARGET), ROWS, {"task": "rerank"}, InvalidJob, "tabular-regr"),
    "no classes": (
        LinearRegression().fit(ROWS, TARGET), ROWS, {"task": "tabular-classification"}, InvalidJob, "no probabilities",
    ),
    "a file": (b"onnx", ROWS, {}, InvalidJob, "only for an estimator"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_exported_says_why(case: str) -> None:
    model, example, given, kind, says = WRONG[case]

    with pytest.raises(kind, match=says) as refused:
        exported(model, example, given)

    assert type(refused.value) is kind


def test_other_values_are_no_objects_of_a_library() -> None:
    assert [exported(each, None, {}) for each in (b"", "path", Path("path"), 7, object())] == [None] * 5


def test_without_the_packages_the_error_names_the_extra() -> None:
    """In a process that cannot import the exporters."""
    code = """
import sys
sys.modules["onnxscript"] = sys.modules["skl2onnx"] = None
import torch
from sklearn.linear_model import LinearRegression
from headrace.exporting import exported
for model in (torch.nn.Linear(1, 1), LinearRegression()):
    try:
        exported(model, [[1.0]], {})
    except Exception as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.splitlines() == [
        "ExportFailed the package onnxscript is missing: pip install 'headrace-client[torch]'",
        "ExportFailed the package skl2onnx is missing: pip install 'headrace-client[sklearn]'",
    ]


def test_the_client_imports_no_library_for_a_file() -> None:
    code = (
        "import sys; from headrace.exporting import exported; exported(b'', None, {}); "
        "print(*{'torch', 'sklearn', 'skl2onnx', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == []
