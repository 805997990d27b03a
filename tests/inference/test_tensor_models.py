"""Which models of the task tensors a worker accepts: what the graph declares, and what the manifest says of it."""

from pathlib import Path

import pytest
from onnx import TensorProto, helper
from shared_schemas.errors import InvalidInput
from shared_schemas.models import TensorSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_tensors import a_tensor_model, graph, identity
from tests.support.tensor_serving import an_identity, serving


def sequence_out() -> bytes:
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    return graph([helper.make_node("SequenceConstruct", ["x"], ["y"])], [x], [helper.make_value_info("y", sequence)])


def optional_in() -> bytes:
    optional = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"]))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    return graph([helper.make_node("OptionalGetElement", ["x"], ["y"])], [helper.make_value_info("x", optional)], [y])


def float8() -> bytes:
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT8E4M3FN, ["n"]) for name in "xy"]
    return graph([helper.make_node("Identity", ["x"], ["y"])], infos[:1], infos[1:])


def bfloat16_of_strings() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.STRING, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.BFLOAT16, ["n"])
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["f"], ["y"], to=TensorProto.BFLOAT16),
    ]
    return graph(nodes, [x], [y])


@pytest.mark.parametrize(
    ("model_file", "message"),
    [
        (sequence_out(), "the output 'y' is a seq(tensor(float)), which jobs cannot carry"),
        (optional_in(), "the input 'x' is a optional(tensor(float)), which jobs cannot carry"),
        (float8(), "the input 'x' is a tensor(float8e4m3fn), which jobs cannot carry"),
        (bfloat16_of_strings(), "ONNX Runtime for Python cannot run a model from strings to bfloat16"),
    ],
)
async def test_what_no_job_can_carry_is_refused_by_name(tmp_path: Path, model_file: bytes, message: str) -> None:
    specs = (TensorSpec(name="x", dtype="float32", shape=("n",)),)
    refused = a_tensor_model(ArtifactStore(tmp_path), model_file, inputs=specs, outputs=specs)

    async with serving(tmp_path, refused) as model:
        assert await model.failure() == f"model_unsupported: {message}"


@pytest.mark.parametrize(
    "specs",
    [
        (),
        (TensorSpec(name="z", dtype="float32", shape=("n", 2)),),
        (TensorSpec(name="x", dtype="float64", shape=("n", 2)),),
        (TensorSpec(name="x", dtype="float32", shape=("n", 3)),),
        (TensorSpec(name="x", dtype="float32", shape=("n",)),),
        (TensorSpec(name="x", dtype="float32", shape=None),),
        (TensorSpec(name="x", dtype="float32", shape=("n", 2)), TensorSpec(name="z", dtype="bool", shape=())),
    ],
)
async def test_a_manifest_that_describes_another_model_is_refused(
    tmp_path: Path, specs: tuple[TensorSpec, ...]
) -> None:
    outputs = (TensorSpec(name="y", dtype="float32", shape=("n", 2)),)
    described = a_tensor_model(ArtifactStore(tmp_path), identity("float32", ("n", 2)), inputs=specs, outputs=outputs)

    async with serving(tmp_path, described) as model:
        failure = await model.failure({"x": [[1, 2]]})

    assert failure == "model_unsupported: the manifest does not describe the inputs of the model"


@pytest.mark.parametrize(
    "specs",
    [(), (TensorSpec(name="z", dtype="float32", shape=("n", 2)),), (TensorSpec(name="y", dtype="bool", shape=("n",)),)],
)
async def test_a_manifest_that_names_other_outputs_is_refused(tmp_path: Path, specs: tuple[TensorSpec, ...]) -> None:
    inputs = (TensorSpec(name="x", dtype="float32", shape=("n", 2)),)
    described = a_tensor_model(ArtifactStore(tmp_path), identity("float32", ("n", 2)), inputs=inputs, outputs=specs)

    async with serving(tmp_path, described) as model:
        failure = await model.failure({"x": [[1, 2]]})

    assert failure == "model_unsupported: the manifest does not describe the outputs of the model"


async def test_a_manifest_may_have_other_names_of_dimensions_and_smaller_ranges(tmp_path: Path) -> None:
    """An export may name them anew, and leave open what is fixed."""
    inputs = (TensorSpec(name="x", dtype="float32", shape=("rows", 2)),)
    outputs = (TensorSpec(name="y", dtype="float32", shape=("rows", 2)),)
    described = a_tensor_model(
        ArtifactStore(tmp_path), identity("float32", ("s0", "s1")), batch_axis="rows", inputs=inputs, outputs=outputs
    )

    async with serving(tmp_path, described) as model:
        answer = await model.ask({"x": [[1, 2]]})
        with pytest.raises(InvalidInput):
            await model.ask({"x": [[1, 2, 3]]})

    assert answer["outputs"]["y"]["data"] == [1.0, 2.0]


@pytest.mark.parametrize(("shape", "axis"), [(("n", 2), "m"), ((2, "n"), "n"), (("n", "n"), "n")])
async def test_a_batch_axis_that_the_graph_does_not_have_is_refused(
    tmp_path: Path, shape: tuple[int | str, ...], axis: str
) -> None:
    async with serving(tmp_path, an_identity(tmp_path, "float32", shape, batch_axis=axis)) as model:
        assert "batch axis" in await model.failure({"x": [[1, 2], [3, 4]]})


async def test_a_nameless_dimension_has_any_size(tmp_path: Path) -> None:
    model_file = identity("float32", (None, None))
    described = a_tensor_model(ArtifactStore(tmp_path), model_file)

    async with serving(tmp_path, described) as model:
        answer = await model.ask({"x": [[1, 2, 3]]})

    assert described.manifest.inputs[0].shape == ("", "")
    assert answer["outputs"]["y"]["shape"] == [1, 3]


async def test_an_input_that_asks_for_more_memory_than_there_is_fails_alone(tmp_path: Path) -> None:
    size = helper.make_tensor_value_info("size", TensorProto.INT64, [1])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [n]) for name, n in (("x", 1), ("y", "n")))
    expand = graph([helper.make_node("Expand", ["x", "size"], ["y"])], [x, size], [y])
    described = a_tensor_model(ArtifactStore(tmp_path), expand)

    async with serving(tmp_path, described) as model:
        huge = await model.failure({"x": [1], "size": [10**13]})
        answers = await model.ask([{"x": [2], "size": [3]}, {"x": [1], "size": [10**13]}])

    assert huge == "model_failed: the model could not process this input"
    assert answers[0]["outputs"]["y"]["data"] == [2.0, 2.0, 2.0]
    assert answers[1]["error"]["code"] == "model_failed"
