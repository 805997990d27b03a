"""A list of rows is answered as its rows would be alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given
from inference_worker.features import FeatureRows
from inference_worker.handler import InferenceHandler
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from onnx import TensorProto, helper
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed, InvalidInput
from shared_schemas.events import Progressed
from shared_schemas.models import Model, ModelManifest, TensorSpec
from shared_schemas.outcome import Success
from shared_schemas.specs import InferenceParameters, InferenceSpec
from shared_schemas.store.files import ArtifactStore
from worker_runtime.handler import Handler

from tests.support.attempts import CollectingAttempt
from tests.support.onnx_models import Published, a_model, linear, regression
from tests.support.onnx_tensors import graph

FEATURES = ("length", "width", "height")
RANGES = ((0.0, 1.0), (-5.0, 5.0), (0.0, 100.0))
ANY_NUMBER = st.integers(-(2**1100), 2**1100) | st.floats(allow_nan=False, allow_infinity=False)
ANY_VALUE = ANY_NUMBER | st.booleans() | st.none() | st.text(max_size=2) | st.lists(ANY_NUMBER, max_size=1)
NUMBER = st.integers(-9, 9) | st.floats(-9, 9)
ROW = st.lists(NUMBER, min_size=3, max_size=3)
ITEM = (
    ROW
    | st.lists(ANY_VALUE, max_size=4)
    | st.fixed_dictionaries(dict.fromkeys(FEATURES, NUMBER))
    | st.dictionaries(st.sampled_from([*FEATURES, "other"]), ANY_VALUE)
    | ANY_VALUE
)


def feature_rows(dtype: str) -> FeatureRows:
    manifest = ModelManifest(
        task="tabular-regression",
        model_type="test",
        onnx=ArtifactRef(sha256="0" * 64, n_bytes=1),
        inputs=(TensorSpec(name="features", dtype=dtype, shape=("batch", 3)),),
        outputs=(),
        features=FEATURES,
        feature_ranges=RANGES,
    )
    return FeatureRows(manifest, dtype)


def row_or_error(features: FeatureRows, item: Any) -> Any:
    try:
        return features.row(item)
    except InvalidInput as error:
        return error


@given(
    items=st.lists(ROW, min_size=1, max_size=5) | st.lists(ITEM, min_size=1, max_size=5), bits=st.sampled_from([32, 64])
)
def test_a_table_has_the_rows_and_the_errors_of_its_items(items: list[Any], bits: int) -> None:
    features = feature_rows(f"float{bits}")
    alone = {place: row_or_error(features, item) for place, item in enumerate(items)}

    rows, errors = features.table(items)

    refused = {place: error.info() for place, error in alone.items() if isinstance(error, InvalidInput)}
    assert {place: error.info() for place, error in errors.items()} == refused
    expected = [row for row in alone.values() if not isinstance(row, InvalidInput)]
    assert (rows.shape, rows.dtype) == ((len(expected), 3), np.dtype(f"float{bits}"))
    assert rows.tobytes() == b"".join(row.tobytes() for row in expected)


@pytest.mark.parametrize(
    ("row", "warned"),
    [([0.5, 0, 50], []), ([9, 0, 50], ["length"]), ([9, 99, -999], ["length", "width", "height"])],
)
def test_a_row_of_a_table_has_its_own_warnings(row: list[float], warned: list[str]) -> None:
    rows, _ = feature_rows("float64").table([[0.5, 0, 50], row, [0.5, 0, 50]])

    warnings = feature_rows("float64").warnings(rows)

    assert [warning.feature for warning in warnings.get(1, ())] == warned
    assert warnings.keys() <= {1}


def picky() -> bytes:
    """features [batch, 2] -> prediction [batch]: the first feature, looked up in a table of 1000 numbers at the second.
    The run fails for a place that is not in the table."""
    make = helper.make_tensor_value_info
    table = helper.make_tensor("table", TensorProto.FLOAT, [1000], np.arange(1000, dtype=np.float32))
    nodes = [
        helper.make_node("Constant", [], ["table"], value=table),
        helper.make_node("Constant", [], ["second"], value_int=1),
        helper.make_node("Gather", ["features", "second"], ["place"], axis=1),
        helper.make_node("Cast", ["place"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["prediction"]),
    ]
    inputs = [make("features", TensorProto.FLOAT, ["batch", 2])]
    return graph(nodes, inputs, [make("prediction", TensorProto.FLOAT, ["batch"])])


@asynccontextmanager
async def handling(folder: Path, *models: Model, **settings: Any) -> AsyncIterator[Handler]:
    with anyio.fail_after(30):
        limits = Settings(device="cpu", intra_op_threads=1, **settings)
        async with LoadedModels(Published(*models).resolve, ArtifactStore(folder), limits) as loaded:
            yield InferenceHandler(loaded, device="cpu", items_in_flight=limits.items_in_flight)


async def answer(handler: Handler, input_data: Any, attempt: CollectingAttempt | None = None, **parameters: Any) -> Any:
    spec = InferenceSpec(model_id="model", input_data=input_data, parameters=InferenceParameters(**parameters))
    outcome = await handler.run(attempt or CollectingAttempt(spec))
    assert isinstance(outcome, Success)
    return msgspec.json.decode(outcome.result)


@pytest.mark.parametrize("top_k", [None, 2])
async def test_a_list_of_rows_has_the_answers_of_its_rows_alone(tmp_path: Path, top_k: int | None) -> None:
    random = np.random.default_rng(0)
    weights = random.integers(-3, 4, (3, 5)).astype(np.float32)
    model = a_model(
        ArtifactStore(tmp_path), linear(weights, np.zeros(5, "f")), labels=tuple("abcde"), features=FEATURES
    )
    rows: list[Any] = random.integers(-9, 10, (300, 3)).tolist()
    rows[7], rows[200], rows[201] = dict(zip(FEATURES, rows[7], strict=True)), [1, 2], "x"

    async with handling(tmp_path, model, max_batch=64) as handler:
        together = await answer(handler, rows, top_k=top_k)
        alone = [await answer(handler, row, top_k=top_k) for row in [*rows[:200], *rows[202:]]]

    assert [one["error"]["code"] for one in together[200:202]] == ["invalid_input"] * 2
    assert [*together[:200], *together[202:]] == alone
    assert len(alone[0]["scores"]) == (top_k or 5)


async def test_rows_that_the_model_cannot_process_have_their_errors_in_their_places(tmp_path: Path) -> None:
    model = a_model(ArtifactStore(tmp_path), picky(), task="tabular-regression", features=("a", "place"))
    rows: list[Any] = [[0, i] for i in range(300)]
    at_fault, refused = {3, 130, 299}, {0, 131, 298}
    rows = [[0, 5000] if i in at_fault else None if i in refused else row for i, row in enumerate(rows)]

    async with handling(tmp_path, model) as handler:
        answers = await answer(handler, rows)
        with pytest.raises(AttemptFailed, match="no input could be used"):
            await answer(handler, [[0, 5000], [0, 6000]])

    codes = {i: one["error"]["code"] for i, one in enumerate(answers) if "error" in one}
    assert codes == dict.fromkeys(at_fault, "model_failed") | dict.fromkeys(refused, "invalid_input")
    assert all(one == {"prediction": i} for i, one in enumerate(answers) if i not in codes)


async def test_the_progress_of_a_long_list_is_a_few_events(tmp_path: Path) -> None:
    model = a_model(ArtifactStore(tmp_path), regression(np.ones(3, "f")), task="tabular-regression", features=FEATURES)
    attempt = CollectingAttempt(InferenceSpec(model_id="model", input_data=[[i, 1, 1] for i in range(5000)]))

    async with handling(tmp_path, model) as handler:
        began = anyio.current_time()
        answers = await answer(handler, None, attempt)
        took_s = anyio.current_time() - began

    steps = [event.step for event in attempt.events if isinstance(event, Progressed)]
    assert [one["prediction"] for one in answers] == [i + 2 for i in range(5000)]
    assert (steps, steps[-1]) == (sorted(steps), 5000)
    assert len(steps) <= 2 + took_s / 0.25


async def test_answers_that_no_result_can_hold_are_refused_before_they_are_made(tmp_path: Path) -> None:
    """16 MiB hold less than 170 answers with 100 labels of 1,000 letters."""
    labels = tuple(f"{i:1000}" for i in range(100))
    weights = np.zeros((3, 100), dtype=np.float32)
    model = a_model(ArtifactStore(tmp_path), linear(weights, weights[0]), labels=labels, features=FEATURES)

    async with handling(tmp_path, model) as handler:
        answers = await answer(handler, [[1, 2, 3]] * 400)
        few = await answer(handler, [[1, 2, 3]] * 400, top_k=1)

    assert {one["error"]["code"] for one in answers if "error" in one} == {"result_too_large"}
    assert len([one for one in answers if "error" not in one]) < 170
    assert all(len(one["scores"]) == 1 for one in few)
