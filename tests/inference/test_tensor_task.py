"""Models of the task tensors in a worker's handler: each dtype, any shape, joined with other jobs or alone."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from inference_worker.engines.session import bfloat16_bits
from inference_worker.tasks.tensors import array_of
from onnx import TensorProto, helper
from shared_schemas.errors import InvalidInput
from shared_schemas.inputs.tensors import tensors_of
from shared_schemas.models import Dtype, TensorSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_tensors import DTYPES, a_tensor_model, graph, identity, numpy_type, read
from tests.support.tensor_serving import an_identity, serving

VALUES: dict[Dtype, list[Any]] = {
    "float16": [0.0, -0.0, 65504.0, 0.0999755859375, 5.960464477539063e-08, "NaN", "Infinity", "-Infinity"],
    "bfloat16": [0.0, -0.0, 3.3895313892515355e38, 0.10009765625, 9.183549615799121e-41, "NaN", "Infinity"],
    "float32": [0.0, -0.0, 3.4028234663852886e38, 0.10000000149011612, 1.401298464324817e-45, "NaN", "-Infinity"],
    "float64": [0.0, -0.0, 1.7976931348623157e308, 0.1, 5e-324, "NaN", "Infinity", "-Infinity"],
    "int8": [-128, 127],
    "int16": [-(2**15), 2**15 - 1],
    "int32": [-(2**31), 2**31 - 1],
    "int64": [-(2**63), 2**63 - 1, 2**53 + 1],
    "uint8": [0, 255],
    "uint16": [0, 2**16 - 1],
    "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**64 - 1],
    "bool": [True, False],
    "string": ["", "a", "é\u0000b", "\U0001f600", "NaN", "x\u0000"],
}


@pytest.mark.parametrize("dtype", DTYPES)
async def test_each_dtype_comes_back_as_it_was_sent(tmp_path: Path, dtype: Dtype) -> None:
    values = VALUES[dtype]

    async with serving(tmp_path, an_identity(tmp_path, dtype)) as model:
        answer = await model.ask({"x": values})

    assert answer["outputs"] == {"y": {"dtype": dtype, "shape": [len(values)], "data": values}}
    assert str(answer["outputs"]["y"]["data"]) == str(values), "0 for -0.0, or true for 1"
    n_bad = sum(value in ("NaN", "Infinity", "-Infinity") for value in values) if "float" in dtype else 0
    assert answer.get("nonfinite_count", 0) == n_bad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1, 2, 1, 3), (0, 3), (2, 0)])
async def test_each_dtype_has_scalars_many_dimensions_and_no_values(
    tmp_path: Path, dtype: Dtype, shape: tuple[int, ...]
) -> None:
    good: Any = {"bool": True, "string": "a"}.get(dtype, 1)
    tensor = {"shape": list(shape), "data": [good] * int(np.prod(shape))}

    async with serving(tmp_path, an_identity(tmp_path, dtype, shape)) as model:
        answer = await model.ask({"x": tensor})

    assert answer["outputs"]["y"] == {"dtype": dtype, **tensor}


@pytest.mark.parametrize("value", [7, [7], [[7, 8], [9, 10]]])
async def test_a_tensor_of_unknown_rank_may_have_any(tmp_path: Path, value: Any) -> None:
    async with serving(tmp_path, an_identity(tmp_path, "int32", None)) as model:
        answer = await model.ask({"x": value})

    assert answer["outputs"]["y"]["shape"] == list(np.shape(value))


async def test_a_scalar_is_no_tensor_of_unknown_rank(tmp_path: Path) -> None:
    async with serving(tmp_path, an_identity(tmp_path, "int32", ())) as model:
        assert (await model.ask({"x": 7}))["outputs"]["y"]["shape"] == []
        with pytest.raises(InvalidInput, match=r"takes \[\]"):
            await model.ask({"x": [7]})


async def test_bfloat16_is_rounded_as_ml_dtypes_does_it() -> None:
    numbers = np.random.default_rng(0).standard_normal(10_000).astype(np.float32) * np.float32(1e3)
    special = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, 1.00390625, 1.01171875], dtype=np.float32)
    array = np.concatenate([numbers, special])

    expected = array.astype(ml_dtypes.bfloat16)
    found = bfloat16_bits(array).view(ml_dtypes.bfloat16)

    np.testing.assert_array_equal(found.astype(np.float32), expected.astype(np.float32))
    reversed_columns = bfloat16_bits(array[:6].reshape(2, 3).T)
    assert reversed_columns.flags.c_contiguous
    assert reversed_columns.tolist() == bfloat16_bits(array[:6]).reshape(2, 3).T.tolist()


@given(st.data())
@settings(deadline=None)
def test_what_the_form_accepts_an_array_holds(data: st.DataObject) -> None:
    """Each integer, boolean and string exactly, each float to the precision of its dtype."""
    dtype: Dtype = data.draw(st.sampled_from(DTYPES))
    numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    sent = data.draw(st.lists(numbers | st.booleans() | st.text(max_size=3), max_size=6))
    try:
        [tensor] = tensors_of({"x": sent}, [TensorSpec(name="x", dtype=dtype, shape=("n",))]).values()
    except InvalidInput:
        return

    array = array_of(tensor, dtype)

    if "float" not in dtype:
        assert array.tolist() == sent
        return
    kept = array.astype(numpy_type(dtype)).astype(np.float64)
    precision = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24, "float64": 2**-53}[dtype]
    smallest = {"float16": 2**-25}.get(dtype, 2**-134 if dtype == "bfloat16" else 2**-150)
    np.testing.assert_allclose(kept, np.array(tensor.values, dtype=np.float64), rtol=precision, atol=smallest)


def several() -> bytes:
    """text [n], factor [], halves [n] -> text, doubled [n] = factor * halves, kept [n] (bfloat16)."""
    nodes = [
        helper.make_node("Mul", ["halves", "factor"], ["doubled"]),
        helper.make_node("Cast", ["doubled"], ["kept"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["doubled"], ["text"], to=TensorProto.STRING),
    ]
    make = helper.make_tensor_value_info
    inputs = [make("halves", TensorProto.DOUBLE, ["n"]), make("factor", TensorProto.DOUBLE, [])]
    outputs = [
        make("text", TensorProto.STRING, ["n"]),
        make("doubled", TensorProto.DOUBLE, ["n"]),
        make("kept", TensorProto.BFLOAT16, ["n"]),
    ]
    return graph(nodes, inputs, outputs)


async def test_a_model_may_have_several_inputs_and_outputs_of_different_dtypes(tmp_path: Path) -> None:
    async with serving(tmp_path, a_tensor_model(ArtifactStore(tmp_path), several())) as model:
        outputs = (await model.ask({"factor": 2, "halves": [0.5, 1.5]}))["outputs"]

    assert list(outputs) == ["text", "doubled", "kept"]
    assert {name: tensor["data"] for name, tensor in outputs.items()} == {
        "text": ["1", "3"],
        "doubled": [1.0, 3.0],
        "kept": [1.0, 3.0],
    }


async def test_a_model_without_inputs_takes_an_empty_object(tmp_path: Path) -> None:
    value = helper.make_tensor("value", TensorProto.INT8, [2], [3, 4])
    constant = graph(
        [helper.make_node("Constant", [], ["y"], value=value)],
        [],
        [helper.make_tensor_value_info("y", TensorProto.INT8, [2])],
    )

    async with serving(tmp_path, a_tensor_model(ArtifactStore(tmp_path), constant)) as model:
        answers = await model.ask([{}, {}])

    assert [answer["outputs"]["y"]["data"] for answer in answers] == [[3, 4]] * 2


def centred() -> bytes:
    """x [n, 2] -> y [n, 2]: x without its mean over the rows, so a row's answer depends on the others."""
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[0])
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["mean"])
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    return graph([axes, mean, helper.make_node("Sub", ["x", "mean"], ["y"])], infos[:1], infos[1:])


async def test_without_a_batch_axis_each_input_of_a_job_runs_alone(tmp_path: Path) -> None:
    inputs = [{"x": [[i, 0], [0, i]]} for i in range(20)]

    async with serving(tmp_path, a_tensor_model(ArtifactStore(tmp_path), centred()), max_wait_ms=50) as model:
        answers = await model.ask(inputs)
        n_runs = await model.count_runs()

    assert n_runs == 20
    for i, answer in enumerate(answers):
        assert answer["outputs"]["y"]["data"] == [i / 2, -i / 2, -i / 2, i / 2]


async def test_along_a_batch_axis_inputs_of_any_number_of_rows_share_a_run(tmp_path: Path) -> None:
    """Negative control of the test above: a model whose rows depend on each other answers otherwise."""
    inputs = [{"x": [[i, 0]] * (1 + i % 2)} for i in range(20)]
    store = ArtifactStore(tmp_path)
    same = a_tensor_model(store, identity("float32", ("n", 2)), batch_axis="n")
    mixed = a_tensor_model(store, centred(), name="mixed", batch_axis="n")

    async with serving(tmp_path, same, mixed, max_wait_ms=50) as model:
        answers = await model.ask(inputs)
        n_runs = await model.count_runs()
        centred_rows = await model.ask([{"x": [[i, 0]]} for i in range(20)], "mixed")

    assert n_runs < 4
    assert [read(answer["outputs"]["y"]).tolist() for answer in answers] == [each["x"] for each in inputs]
    assert any(any(answer["outputs"]["y"]["data"]) for answer in centred_rows)


async def test_an_input_of_many_rows_runs_in_parts(tmp_path: Path) -> None:
    rows = [[i, -i] for i in range(300)]

    async with serving(tmp_path, an_identity(tmp_path, "float32", ("n", 2), batch_axis="n")) as model:
        answer = await model.ask({"x": rows})
        n_runs = await model.count_runs()

    assert n_runs == 3, "of at most 128 rows each"
    assert read(answer["outputs"]["y"]).tolist() == rows


async def test_no_input_of_no_rows_disturbs_the_others(tmp_path: Path) -> None:
    model_of_rows = an_identity(tmp_path, "float32", ("n", 2), batch_axis="n")
    empty = {"x": {"shape": [0, 2], "data": []}}

    async with serving(tmp_path, model_of_rows, max_wait_ms=50) as model:
        answers = await model.ask([empty, {"x": [[1, 2]]}, empty])

    assert [answer["outputs"]["y"]["shape"] for answer in answers] == [[0, 2], [1, 2], [0, 2]]


async def test_one_bad_input_of_a_list_has_its_error_in_its_place(tmp_path: Path) -> None:
    async with serving(tmp_path, an_identity(tmp_path, "int8", ("n",), batch_axis="n")) as model:
        answers = await model.ask([{"x": [1]}, {"x": [300]}, {"x": [2]}])

    assert answers[1]["error"]["code"] == "invalid_input"
    assert [answers[i]["outputs"]["y"]["data"] for i in (0, 2)] == [[1], [2]]


async def test_what_the_graph_itself_refuses_fails_typed_and_the_model_goes_on(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    make = helper.make_tensor_value_info
    inputs = [make("x", TensorProto.FLOAT, ["n"]), make("shape", TensorProto.INT64, ["rank"])]
    reshape = graph(nodes, inputs, [make("y", TensorProto.FLOAT, None)])

    async with serving(tmp_path, a_tensor_model(ArtifactStore(tmp_path), reshape)) as model:
        failure = await model.failure({"x": [1, 2], "shape": [3]})
        answer = await model.ask({"x": [1, 2], "shape": [1, 2]})

    assert failure == "model_failed: the model could not process this input"
    assert answer["outputs"]["y"]["shape"] == [1, 2]


async def test_an_output_that_no_result_can_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["y"])]
    make = helper.make_tensor_value_info
    zeros = graph(nodes, [make("shape", TensorProto.INT64, [2])], [make("y", TensorProto.FLOAT, ["n", "m"])])

    async with serving(tmp_path, a_tensor_model(ArtifactStore(tmp_path), zeros)) as model:
        failure = await model.failure({"shape": [3000, 3000]})
        answers = await model.ask([{"shape": [3000, 3000]}, {"shape": [1, 2]}])

    assert failure == "result_too_large: the result is larger than 16 MiB"
    assert answers[0]["error"]["code"] == "result_too_large"
    assert answers[1]["outputs"]["y"]["data"] == [0.0, 0.0]


async def test_a_replay_of_a_model_that_runs_alone_repeats_every_bit_and_of_another_four_digits(tmp_path: Path) -> None:
    """As far as the digest of the result tells."""
    store = ArtifactStore(tmp_path)
    alone = a_tensor_model(store, identity("float64", ("n",)), name="alone")
    joined = a_tensor_model(store, identity("float64", ("n",)), name="joined", batch_axis="n")
    inputs = [{"x": [1.0, "NaN"]}, {"x": [1.0 + 1e-12, "NaN"]}, {"x": [1.01, "NaN"]}]

    async with serving(tmp_path, alone, joined) as model:
        digests = {name: [(await model.outcome(each, name)).digest for each in inputs] for name in ("alone", "joined")}

    assert len(set(digests["alone"])) == 3
    assert digests["joined"][0] == digests["joined"][1] != digests["joined"][2]
