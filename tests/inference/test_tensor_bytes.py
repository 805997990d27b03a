"""Tensors as bytes: what is sent comes back bit for bit, and what is refused."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from shared_schemas.errors import AttemptFailed, InvalidInput
from shared_schemas.inputs.tensors import tensors_of
from shared_schemas.models import Dtype, TensorSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_tensors import DTYPES, Array, a_tensor_model, graph, in_bytes, numpy_type, onnx_type, read
from tests.support.tensor_serving import an_identity, serving

CANARY = "0xDEADBEEF-secret"


def some(dtype: Dtype, shape: tuple[int, ...]) -> Array:
    """Values with every sort of bits."""
    size, rng = int(np.prod(shape)), np.random.default_rng(7)
    if dtype == "string":
        return np.array([("é\0", "", "abc", "\U0001f600")[i % 4] for i in range(size)], dtype=np.object_).reshape(shape)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    width = np.dtype(numpy_type(dtype)).itemsize
    array = np.frombuffer(rng.bytes(width * size), dtype=numpy_type(dtype)).reshape(shape)
    if "float" not in dtype:
        return array
    # A NaN is a NaN, whatever else is in it.
    return np.where(np.isnan(array.astype(np.float64)), np.ones_like(array), array)


def as_base64(array: Array, dtype: Dtype) -> dict[str, Any]:
    return {"shape": list(array.shape), "base64": b64encode(in_bytes(array, dtype)).decode()}


def refusal(given: Any, dtype: Dtype = "float32", shape: tuple[int | str, ...] | None = ("n",)) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        tensors_of({"x": given}, [TensorSpec(name="x", dtype=dtype, shape=shape)])
    assert CANARY not in str(refused.value)
    return refused.value


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (257,), (2, 1, 3), (0, 3)])
async def test_each_dtype_comes_back_bit_for_bit(tmp_path: Path, dtype: Dtype, shape: tuple[int, ...]) -> None:
    array = some(dtype, shape)
    sent = {"dtype": dtype, **as_base64(array, dtype)}

    async with serving(tmp_path, an_identity(tmp_path, dtype, shape)) as model:
        answer = await model.ask({"x": sent}, tensor_format="base64")
        in_numbers = await model.ask({"x": sent})
        again = await model.ask({"x": answer["outputs"]["y"]})

    assert answer["outputs"]["y"] == sent
    assert again == in_numbers
    assert in_numbers["outputs"]["y"].keys() == {"dtype", "shape", "data"}
    assert read(in_numbers["outputs"]["y"]).tolist() == array.tolist()


async def test_what_is_not_finite_is_counted_in_bytes_too(tmp_path: Path) -> None:
    array = np.array([1, np.nan, np.inf, -np.inf], dtype=np.float16)

    async with serving(tmp_path, an_identity(tmp_path, "float16")) as model:
        answer = await model.ask({"x": as_base64(array, "float16")}, tensor_format="base64")

    assert answer["nonfinite_count"] == 3
    np.testing.assert_array_equal(read(answer["outputs"]["y"]), array)


async def test_bytes_share_a_run_with_numbers(tmp_path: Path) -> None:
    """As rows of one shape do, whichever way they were written."""
    model = an_identity(tmp_path, "float32", ("batch", 2), batch_axis="batch")
    array = np.array([[1.5, -2]], dtype=np.float32)

    async with serving(tmp_path, model, max_wait_ms=1000.0) as served:
        answers = await served.ask([{"x": as_base64(array, "float32")}, {"x": array.tolist()}] * 4)
        n_runs = await served.count_runs()

    assert [answer["outputs"]["y"]["data"] for answer in answers] == [[1.5, -2]] * 8
    assert n_runs < 8


async def test_a_digest_of_bytes_ignores_the_last_bits_where_rows_share_a_run(tmp_path: Path) -> None:
    model = an_identity(tmp_path, "float32", ("batch",), batch_axis="batch")
    numbers = [np.array([value, np.nan], dtype=np.float32) for value in (1.2345, 1.2345001, 1.3)]

    async with serving(tmp_path, model) as served:
        digests = [
            (await served.outcome({"x": as_base64(each, "float32")}, tensor_format="base64")).digest for each in numbers
        ]

    assert digests[0] == digests[1] != digests[2]


async def test_an_answer_too_large_for_a_result_is_not_made(tmp_path: Path) -> None:
    """8 bytes in, 32 MB out."""
    node = helper.make_node("ConstantOfShape", ["x"], ["y"])
    infos = [
        helper.make_tensor_value_info("x", onnx_type("int64"), [1]),
        helper.make_tensor_value_info("y", onnx_type("float32"), ["n"]),
    ]
    model = a_tensor_model(ArtifactStore(tmp_path), graph([node], infos[:1], infos[1:]))

    async with serving(tmp_path, model) as served:
        with pytest.raises(AttemptFailed) as failed:
            await served.ask({"x": as_base64(np.array([8 << 20]), "int64")}, tensor_format="base64")

    assert failed.value.info().code == "result_too_large"


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"shape": [1], "base64": "AACAPw"}, "/x/base64"),  # no padding
        ({"shape": [1], "base64": "AACAPw==="}, "/x/base64"),
        ({"shape": [1], "base64": "AACA\nPw=="}, "/x/base64"),
        ({"shape": [1], "base64": "AACA Pw=="}, "/x/base64"),
        ({"shape": [1], "base64": "AACA-w=="}, "/x/base64"),  # the alphabet of URLs
        ({"shape": [1], "base64": "é" + CANARY}, "/x/base64"),
        ({"shape": [2], "base64": "AACAPw=="}, "/x/base64"),
        ({"shape": [1], "base64": "AACAPwAAgD8="}, "/x/base64"),
        ({"shape": [0], "base64": "AACAPw=="}, "/x/base64"),
        ({"shape": [1], "base64": ""}, "/x/base64"),
        ({"shape": [1], "base64": None}, "/x/base64"),
        ({"shape": [1], "base64": 7}, "/x/base64"),
        ({"shape": [1], "base64": ["AACAPw=="]}, "/x/base64"),
        ({"shape": [1], "base64": "AACAPw==", "data": [1]}, "/x/base64"),
        ({"shape": [1], "base64": "AACAPw==", "more": 1}, "/x"),
        ({"shape": [1], "base64": "AACAPw==", "dtype": "float64"}, "/x/dtype"),
        ({"base64": "AACAPw=="}, "/x"),
        ({"shape": 1, "base64": "AACAPw=="}, "/x"),
        ({"shape": [-1], "base64": "AACAPw=="}, "/x/shape"),
        ({"shape": [-1, -1], "base64": "AACAPw=="}, "/x/shape"),
        ({"shape": [1.0], "base64": "AACAPw=="}, "/x/shape"),
        ({"shape": [2**63], "base64": "AACAPw=="}, "/x/base64"),
        ({"shape": [2**63, 0], "base64": ""}, "/x/shape"),
        ({"shape": [1] * 33, "base64": "AACAPw=="}, "/x/shape"),
        ({"shape": [1, 1], "base64": "AACAPw=="}, "/x"),
    ],
)
def test_what_is_no_tensor_in_bytes_is_refused_where_it_is_wrong(given: Any, pointer: str) -> None:
    assert refusal(given).pointer == pointer


def test_a_shape_whose_product_overflows_is_refused() -> None:
    """2^32 * 2^32 is 0 in 64 bits."""
    assert refusal({"shape": [2**32, 2**32], "base64": ""}, shape=None).pointer == "/x/base64"
    assert refusal({"shape": [10**4000] * 32, "base64": ""}, shape=None).pointer == "/x/base64"


@pytest.mark.parametrize("byte", [2, 128, 255])
def test_a_boolean_is_one_of_two_bytes(byte: int) -> None:
    given = {"shape": [2], "base64": b64encode(bytes([1, byte])).decode()}

    assert "neither 0 nor 1" in str(refusal(given, "bool"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1\0\0", "ends within"),
        (b"\2\0\0\0a", "ends within"),
        (b"\xff\xff\xff\xffa", "ends within"),
        (b"\1\0\0\0\xff", "not UTF-8"),
        (b"\3\0\0\0\xed\xa0\x80", "not UTF-8"),  # half of a pair of surrogates
        (b"\1\0\0\0a\1\0\0\0b", "another number of strings"),
        (b"", "another number of strings"),
    ],
)
def test_strings_in_bytes_are_whole_and_in_utf_8(data: bytes, message: str) -> None:
    assert message in str(refusal({"shape": [1], "base64": b64encode(data).decode()}, "string"))
