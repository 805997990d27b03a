"""The stock client of Triton, unchanged, drives the gateway: what it sends is answered as it expects."""

import asyncio
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
from gateway.surfaces.v2.datatypes import DATATYPE_OF
from numpy.typing import NDArray
from shared_schemas.models import Dtype
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from tests.support.gateways import Gateway
from tests.support.onnx_tensors import DTYPES, numpy_type

Array = NDArray[Any]


def tensor(name: str, array: Array, datatype: str, *, binary: bool = True) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def floats(values: Any, *, name: str = "x", binary: bool = True) -> InferInput:
    return tensor(name, np.array(values, dtype=np.float32), "FP32", binary=binary)


def some(dtype: Dtype, shape: tuple[int, ...], *, finite: bool = False) -> Array:
    size, rng = int(np.prod(shape)), np.random.default_rng(3)
    if dtype == "string":
        texts = ["", "é\0", "abc", "\U0001f600"]
        return np.array([texts[i % 4].encode() for i in range(size)], dtype=np.object_).reshape(shape)
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    array = np.frombuffer(rng.bytes(np.dtype(numpy_type(dtype)).itemsize * size), dtype=numpy_type(dtype))
    if "float" in dtype:
        bad = ~np.isfinite(array.astype(np.float64)) if finite else np.isnan(array.astype(np.float64))
        array = np.where(bad, np.ones_like(array), array)
    return array.reshape(shape)


def check_same(found: Array | None, sent: Array) -> None:
    assert found is not None
    assert (found.dtype, found.shape) == (sent.dtype, sent.shape)
    assert found.tolist() == sent.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5,), (), (2, 1, 3), (0, 3)])
def test_each_datatype_goes_there_and_back_in_binary(
    triton: InferenceServerClient, dtype: Dtype, shape: tuple[int, ...]
) -> None:
    array = some(dtype, shape)

    result = triton.infer(f"any-{dtype}", [tensor("x", array, DATATYPE_OF[dtype])])

    check_same(result.as_numpy("y"), array)
    assert result.get_output("y")["datatype"] == DATATYPE_OF[dtype]
    assert "data" not in result.get_output("y")


@pytest.mark.parametrize("dtype", [each for each in DTYPES if each not in ("float16", "bfloat16")])
@pytest.mark.parametrize("shape", [(5,), (), (2, 1, 3), (0, 3)])
@pytest.mark.parametrize("sends_binary", [False, True])
@pytest.mark.parametrize("takes_binary", [False, True])
def test_each_datatype_with_numbers_in_json_goes_there_and_back_in_json(
    triton: InferenceServerClient, dtype: Dtype, shape: tuple[int, ...], sends_binary: bool, takes_binary: bool
) -> None:
    array = some(dtype, shape, finite=True)
    given = tensor("x", array, DATATYPE_OF[dtype], binary=sends_binary)

    result = triton.infer(f"any-{dtype}", [given], outputs=[InferRequestedOutput("y", binary_data=takes_binary)])

    found = result.as_numpy("y")
    if dtype == "string" and not takes_binary:
        array = np.array([each.decode() for each in array.reshape(-1)], dtype=np.object_).reshape(shape)
    check_same(found, array)


@pytest.mark.parametrize("binary", [False, True])
def test_what_is_not_finite_goes_there_and_back_though_json_has_no_form_for_it(
    triton: InferenceServerClient, binary: bool
) -> None:
    """The client writes NaN and Infinity into JSON as they are."""
    array = np.array([1, np.nan, np.inf, -np.inf], dtype=np.float32)
    outputs = [InferRequestedOutput("y", binary_data=binary)]

    result = triton.infer("any-float32", [tensor("x", array, "FP32", binary=binary)], outputs=outputs)

    np.testing.assert_array_equal(result.as_numpy("y"), array)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_a_datatype_without_numbers_in_json_is_refused_there(triton: InferenceServerClient, datatype: str) -> None:
    dtype: Dtype = "float16" if datatype == "FP16" else "bfloat16"
    array = np.ones(2, dtype=np.float16 if datatype == "FP16" else ml_dtypes.bfloat16)

    with pytest.raises(InferenceServerException, match=f"{datatype}, which has no form in JSON") as refused:
        triton.infer(
            f"any-{dtype}", [tensor("x", array, datatype)], outputs=[InferRequestedOutput("y", binary_data=False)]
        )
    assert refused.value.status() == "400"
    with pytest.raises(InferenceServerException, match="binary"):
        triton.infer(f"any-{dtype}", [tensor("x", array, datatype, binary=False)])


def test_several_inputs_and_outputs_keep_their_names_and_the_order_that_is_asked_for(
    triton: InferenceServerClient,
) -> None:
    image, scale = np.array([[1, 2], [-3, 4]], dtype=np.float32), np.array(2, dtype=np.float32)
    inputs = [tensor("scale", scale, "FP32"), tensor("image", image, "FP32", binary=False)]

    every = triton.infer("several", inputs)
    one = triton.infer("several", inputs, outputs=[InferRequestedOutput("is_large")])
    outputs = [InferRequestedOutput("is_large", binary_data=False), InferRequestedOutput("scaled")]
    mixed = triton.infer("several", inputs, outputs=outputs)

    assert [each["name"] for each in every.get_response()["outputs"]] == ["scaled", "is_large"]
    check_same(every.as_numpy("scaled"), 2 * image)
    assert [each["name"] for each in one.get_response()["outputs"]] == ["is_large"]
    assert [each["name"] for each in mixed.get_response()["outputs"]] == ["is_large", "scaled"]
    for result in (every, one, mixed):
        check_same(result.as_numpy("is_large"), 2 * image > 2)
    check_same(mixed.as_numpy("scaled"), 2 * image)


@pytest.mark.parametrize("sent", ["gzip", "deflate", None])
@pytest.mark.parametrize("asked", ["gzip", "deflate", None])
@pytest.mark.parametrize("binary", [False, True])
def test_bodies_may_be_compressed_in_either_direction(
    triton: InferenceServerClient, sent: str | None, asked: str | None, binary: bool
) -> None:
    array = np.arange(2000, dtype=np.float32)

    result = triton.infer(
        "any-float32",
        [tensor("x", array, "FP32", binary=binary)],
        outputs=[InferRequestedOutput("y", binary_data=binary)],
        request_compression_algorithm=sent,
        response_compression_algorithm=asked,
    )

    check_same(result.as_numpy("y"), array)


def test_a_version_is_named_by_its_path_or_within_the_name(triton: InferenceServerClient) -> None:
    def asked(name: str, version: str = "") -> tuple[str, str, list[float]]:
        result = triton.infer(name, [floats([[1, 0]], name="features")], model_version=version)
        answer = result.get_response()
        return answer["model_name"], answer["model_version"], result.as_numpy("scores")[0].tolist()

    old, new = asked("wine", "1"), asked("wine", "2")

    assert old[:2] == ("wine", "1")
    assert new[:2] == ("wine", "2")
    assert old[2] != new[2]
    assert asked("wine@1") == asked("wine@1", "1") == old
    assert asked("wine") == asked("wine@2") == asked("wine@latest") == asked("wine", "latest") == new
    for name, version in (("wine", "3"), ("wine@3", ""), ("wine@1", "2"), ("wine@nobody", ""), ("@", ""), ("é", "")):
        with pytest.raises(InferenceServerException) as refused:
            asked(name, version)
        assert refused.value.status() == "404", name


def test_metadata_tell_which_tensors_a_model_takes_and_gives(triton: InferenceServerClient) -> None:
    several, wine = triton.get_model_metadata("several"), triton.get_model_metadata("wine")
    first = triton.get_model_metadata("wine", "1")
    config = triton.get_model_config("several")

    assert several == {
        "name": "several",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "image", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "scale", "datatype": "FP32", "shape": []},
        ],
        "outputs": [
            {"name": "scaled", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "is_large", "datatype": "BOOL", "shape": [-1, 2]},
        ],
    }
    assert wine["versions"] == ["1", "2"]
    assert first == triton.get_model_metadata("wine@1") == {**wine, "versions": ["1"]}
    assert [each["data_type"] for each in config["output"]] == ["TYPE_FP32", "TYPE_BOOL"]
    assert [each["dims"] for each in config["input"]] == [[-1, 2], []]
    assert triton.get_server_metadata()["name"] == "headrace"


def test_a_model_is_ready_if_it_is_published(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    ready = [triton.is_model_ready(name) for name in ("wine", "wine@1", "wine@latest", "wine@9", "nothing")]
    assert ready == [True, True, True, False, False]
    assert [triton.is_model_ready("wine", version) for version in ("1", "2", "3")] == [True, True, False]


def test_the_repository_lists_each_version_and_loading_one_needs_nothing(triton: InferenceServerClient) -> None:
    index = triton.get_model_repository_index()

    assert {(each["name"], each["version"]) for each in index} >= {("wine", "1"), ("wine", "2"), ("several", "1")}
    assert {each["state"] for each in index} == {"READY"}
    triton.load_model("wine")
    for refused, message in (
        (lambda: triton.load_model("nothing"), "no such model"),
        (lambda: triton.load_model("wine", config="{}"), "leave out config"),
        (lambda: triton.unload_model("wine"), "workers unload"),
        (lambda: triton.unload_model("nothing"), "no such model"),
    ):
        with pytest.raises(InferenceServerException, match=message):
            refused()
    assert triton.is_model_ready("wine")


def test_statistics_count_what_this_gateway_answered(triton: InferenceServerClient) -> None:
    def counted() -> dict[str, Any]:
        [found] = triton.get_inference_statistics("pairs")["model_stats"]
        return dict(found)

    before = counted()
    triton.infer("pairs", [floats([1, 2, 3, 4])])
    with pytest.raises(InferenceServerException, match="could not process"):
        triton.infer("pairs", [floats([1, 2, 3])])
    after = counted()

    old, new = before["inference_stats"], after["inference_stats"]
    assert [new[name]["count"] - old[name]["count"] for name in ("success", "fail", "queue", "compute_infer")] == [
        1, 1, 1, 1,
    ]  # fmt: skip
    assert after["inference_count"] - before["inference_count"] == 1
    assert new["success"]["ns"] > old["success"]["ns"]
    assert after["last_inference"] > 0
    every = triton.get_inference_statistics()["model_stats"]
    assert [each for each in every if each["name"] == "pairs"] == [after]


def test_rows_of_a_batch_count_as_inferences(triton: InferenceServerClient) -> None:
    [before] = triton.get_inference_statistics("rows", "1")["model_stats"]
    triton.infer("rows", [floats([[1, 2], [3, 4], [5, 6]])])
    [after] = triton.get_inference_statistics("rows", "1")["model_stats"]

    assert after["inference_count"] - before["inference_count"] == 3


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ([], {}, "the input 'x' is missing"),
        ([floats([[1, 2, 3]])], {}, r"has the shape \[1, 3\], but the model takes \[batch, 2\]"),
        ([floats([1, 2])], {}, r"has the shape \[2\]"),
        ([tensor("x", np.ones((1, 2)), "FP64")], {}, "'x' is sent as FP64, but the model takes FP32"),
        ([floats([[1, 2]]), floats([[1, 2]], name="more")], {}, "does not have all of these inputs"),
        ([floats([[1, 2]]), floats([[1, 2]])], {}, "two inputs have the same name"),
        ([floats([[1, 2]])], {"outputs": [InferRequestedOutput("nothing")]}, "no output of this name"),
        ([floats([[1, 2]])], {"sequence_id": 7}, "sequence_id"),
        ([floats([[1, 2]])], {"sequence_id": "a", "sequence_start": True}, "sequence_id"),
        ([floats([[1, 2]])], {"priority": -1}, "not a whole number"),
        ([floats([[1, 2]])], {"timeout": -1}, "not a whole number"),
        ([floats([[1, 2]])], {"request_id": "x" * 513}, "512"),
    ],
)
def test_what_is_wrong_is_said_as_the_client_shows_it(
    triton: InferenceServerClient, inputs: list[InferInput], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message) as refused:
        triton.infer("rows", inputs, **options)

    assert refused.value.status() == "400"
    assert "decoding" not in str(refused.value)


def test_a_run_that_fails_says_why_and_names_its_job(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException) as failed:
        triton.infer("pairs", [floats([1, 2, 3])])

    assert failed.value.status() == "500"
    assert "job inference-" in failed.value.message()
    assert "the model could not process this input" in failed.value.message()


def test_shared_memory_is_refused_clearly(triton: InferenceServerClient) -> None:
    given = InferInput("x", [1, 2], "FP32")
    given.set_shared_memory("region", 8)
    taken = InferRequestedOutput("y")
    taken.set_shared_memory("region", 8)

    for inputs, outputs in (([given], None), ([floats([[1, 2]])], [taken])):
        with pytest.raises(InferenceServerException, match="no shared memory") as refused:
            triton.infer("rows", inputs, outputs=outputs)
        assert refused.value.status() == "400"
    with pytest.raises(InferenceServerException, match="no shared memory"):
        triton.register_system_shared_memory("region", "/key", 8)


def test_requests_run_beside_each_other(triton: InferenceServerClient) -> None:
    waiting = [triton.async_infer("rows", [floats([[i, -i]])], request_id=f"beside-{i}") for i in range(20)]

    results: list[InferResult] = [each.get_result() for each in waiting]

    assert [result.get_response()["id"] for result in results] == [f"beside-{i}" for i in range(20)]
    assert [result.as_numpy("y").tolist() for result in results] == [[[i, -i]] for i in range(20)]


def test_a_priority_and_a_timeout_that_is_long_enough_change_no_answer(triton: InferenceServerClient) -> None:
    for priority in (0, 1, 2, 3, 2**64 - 1):
        result = triton.infer("rows", [floats([[1, 2]])], priority=priority, timeout=30_000_000)
        assert result.as_numpy("y").tolist() == [[1, 2]]
    assert triton.infer("rows", [floats([[1, 2]])], timeout=0).as_numpy("y").tolist() == [[1, 2]]
    assert triton.infer("rows", [floats([[1, 2]])], parameters={"own": "x", "n": 1}).as_numpy("y").shape == (1, 2)


async def test_the_async_client_does_the_same(served: Gateway) -> None:
    array = np.arange(4000, dtype=np.float32)
    async with tritonclient.http.aio.InferenceServerClient(served.url.removeprefix("http://")) as client:
        assert await client.is_server_ready()
        assert (await client.get_model_metadata("wine@1"))["versions"] == ["1"]
        results = await asyncio.gather(
            *(
                client.infer(
                    "any-float32",
                    [tensor("x", array + i, "FP32")],
                    request_compression_algorithm=coding,
                    response_compression_algorithm=coding,
                )
                for i, coding in enumerate(("gzip", "deflate", None))
            )
        )
        with pytest.raises(InferenceServerException, match="no such model"):
            await client.infer("nothing", [floats([1])])

    for i, result in enumerate(results):
        check_same(result.as_numpy("y"), array + i)


def test_bodies_that_the_client_makes_and_reads_alone_fit(served: Gateway, triton: InferenceServerClient) -> None:
    """As a tool does that sends them itself."""
    body, length = triton.generate_request_body([floats([[1, 2]])], request_id="own")
    response = triton._post("v2/models/rows/infer", body, {"Inference-Header-Content-Length": length}, None)

    result = triton.parse_response_body(
        response.read(), header_length=int(response.get("Inference-Header-Content-Length"))
    )

    assert result.as_numpy("y").tolist() == [[1, 2]]
    assert response.get("Headrace-Job-Id").startswith("inference-")
