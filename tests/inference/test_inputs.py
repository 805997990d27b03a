"""Which inputs a task accepts, and in which form."""

import math

import numpy as np
import pytest
from inference_worker.features import FeatureRows
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import InvalidInput
from shared_schemas.inputs import inputs_of
from shared_schemas.inputs.texts import text_of
from shared_schemas.models import ModelManifest, TensorSpec

FEATURES = ("height", "width")


def a_manifest(dtype: str = "float32", ranges: tuple[tuple[float, float], ...] = ()) -> ModelManifest:
    return ModelManifest(
        task="tabular-regression",
        model_type="mlp",
        onnx=ArtifactRef(sha256="a" * 64, n_bytes=1),
        inputs=(TensorSpec(name="features", dtype=dtype, shape=("batch", 2)),),
        outputs=(),
        features=FEATURES,
        feature_ranges=ranges,
    )


def features_of(item, features, dtype: str = "float32"):
    assert features == FEATURES
    return FeatureRows(a_manifest(dtype), dtype).row(item)


@pytest.mark.parametrize(
    ("task", "data", "items", "is_list"),
    [
        ("text-generation", "once", ("once",), False),
        ("text-generation", ["once", "twice"], ("once", "twice"), True),
        ("text-classification", ["once"], ("once",), True),
        ("tabular-regression", {"height": 1}, ({"height": 1},), False),
        ("tabular-regression", [1, 2.5], ([1, 2.5],), False),
        ("tabular-regression", [1, None, "x"], ([1, None, "x"],), False),
        ("tabular-classification", [[1, 2], [3, 4]], ([1, 2], [3, 4]), True),
        ("tabular-classification", [{"height": 1}, 7], ({"height": 1}, 7), True),
    ],
)
def test_one_input_and_a_list_of_inputs_are_distinguished(task, data, items, is_list) -> None:
    found = inputs_of(task, data)

    assert (found.items, found.is_list) == (items, is_list)


@pytest.mark.parametrize("task", ["text-generation", "tabular-regression"])
def test_an_empty_list_is_refused(task) -> None:
    with pytest.raises(InvalidInput):
        inputs_of(task, [])


def test_features_are_ordered_as_the_model_wants_them() -> None:
    row = features_of({"width": 2, "height": 1.5}, FEATURES)

    assert row.dtype == np.float32
    assert row.tolist() == [1.5, 2.0] == features_of([1.5, 2], FEATURES).tolist()


@pytest.mark.parametrize(
    ("item", "column"),
    [
        ({"height": 1}, "width"),
        ({"height": 1, "width": 2, "depth": 3}, "depth"),
        ({"height": 1, "width": None}, "width"),
        ({"height": 1, "width": "2"}, "width"),
        ({"height": True, "width": 2}, "height"),
        ({"height": 1e39, "width": 2}, "height"),
        ({"height": 10**400, "width": 2}, "height"),
        ({"height": math.nan, "width": 2}, "height"),
        ([1, [2]], "width"),
    ],
)
def test_a_feature_that_cannot_be_used_is_named(item, column: str) -> None:
    with pytest.raises(InvalidInput, match=column) as refusal:
        features_of(item, FEATURES)

    assert refusal.value.info().code == "invalid_input"
    assert refusal.value.info().column == column


@pytest.mark.parametrize("item", [[1], [1, 2, 3], "1,2", 7, None])
def test_an_input_that_is_not_a_row_is_refused(item) -> None:
    with pytest.raises(InvalidInput):
        features_of(item, FEATURES)


@pytest.mark.parametrize("item", [7, None, {"text": "x"}, ["x"]])
def test_an_input_that_is_not_a_text_is_refused(item) -> None:
    with pytest.raises(InvalidInput):
        text_of(item)
