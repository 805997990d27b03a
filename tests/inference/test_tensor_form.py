"""How a tensor is written in JSON, and what is refused: with a pointer to the value at fault, and without its text."""

import math
import sys
from types import FrameType
from typing import Any, get_args

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from shared_schemas.errors import InvalidInput
from shared_schemas.inputs import check_input
from shared_schemas.inputs.form import Signature
from shared_schemas.inputs.tensors import LARGEST_FLOAT, tensors_of
from shared_schemas.models import Dtype, TensorSpec, batch_axis_of

from tests.support.onnx_tensors import written

CANARY = "0xDEADBEEF-secret"
INTEGERS = [dtype for dtype in get_args(Dtype) if "int" in dtype]
FLOATS = [dtype for dtype in get_args(Dtype) if "float" in dtype]


def spec(dtype: Dtype = "float32", shape: tuple[int | str, ...] | None = ("n",), name: str = "x") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def refusal(item: Any, *specs: TensorSpec) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        tensors_of(item, specs)
    return refused.value


@pytest.mark.parametrize(("dtype", "good", "bad"), [("int8", 7, 128), ("float32", "NaN", True), ("string", "a", 1)])
@pytest.mark.parametrize("place", [0, 1, 49_999, 99_998, 99_999])
def test_a_bad_value_among_many_is_found_in_a_few_looks(dtype: Dtype, good: Any, bad: Any, place: int) -> None:
    """A look at each would stop the gateway's event loop."""
    values = [good] * 100_000
    values[place] = bad
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        with pytest.raises(InvalidInput) as refused:
            tensors_of({"x": values}, [spec(dtype)])
    finally:
        sys.setprofile(None)

    assert refused.value.pointer == f"/x/{place}"
    assert calls < 200


@given(st.lists(st.integers(0, 3), max_size=4).map(tuple), st.data())
def test_both_ways_of_writing_a_tensor_say_the_same(shape: tuple[int, ...], data: st.DataObject) -> None:
    size = math.prod(shape)
    array = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=size, max_size=size)), dtype=int).reshape(shape)
    # Lists cannot say what stands behind a dimension of 0.
    known = shape[: shape.index(0) + 1] if 0 in shape else shape

    for nested in (True, False):
        found = tensors_of({"x": written(array, nested=nested)}, [spec("int64", None)])["x"]
        assert found.values == array.ravel().tolist()
        assert found.shape == (known if nested else shape)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_an_integer_is_taken_to_the_ends_of_its_range_and_not_beyond(dtype: Dtype) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max

    assert tensors_of({"x": [low, high]}, [spec(dtype)])["x"].values == [low, high]
    for beyond in (low - 1, high + 1, 10**400):
        assert refusal({"x": [0, beyond]}, spec(dtype)).pointer == "/x/1"


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_float_is_taken_to_the_largest_of_its_dtype_and_not_beyond(dtype: Dtype) -> None:
    finfo: Any = ml_dtypes.finfo("bfloat16") if dtype == "bfloat16" else np.finfo(dtype)
    largest = float(finfo.max)

    assert LARGEST_FLOAT[dtype] == largest
    assert tensors_of({"x": [largest, -largest, 1]}, [spec(dtype)])["x"].values == [largest, -largest, 1]
    for beyond in (-largest * 1.01 if dtype != "float64" else -(10**400), 10**400):
        assert refusal({"x": [0, beyond]}, spec(dtype)).pointer == "/x/1"


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_is_written_as_a_text(dtype: Dtype) -> None:
    values = tensors_of({"x": ["NaN", 1, "Infinity", "-Infinity"]}, [spec(dtype)])["x"].values

    assert math.isnan(values[0])
    assert values[1:] == [1, math.inf, -math.inf]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *((dtype, value) for dtype in INTEGERS for value in (1.0, 1.5, True, "1", "NaN", None, {})),
        *((dtype, value) for dtype in FLOATS for value in (True, "1", "nan", "inf", CANARY, None, {})),
        *(("bool", value) for value in (0, 1, 1.0, "true", None)),
        *(("string", value) for value in (0, 1.5, True, None, {})),
    ],
)
def test_no_value_is_cast_into_another(dtype: Dtype, value: Any) -> None:
    good = {"bool": False, "string": ""}.get(dtype, 0)

    for item, pointer in (([good, value], "/x/1"), ({"shape": [2], "data": [good, value]}, "/x/data/1")):
        error = refusal({"x": item}, spec(dtype))
        assert error.pointer == pointer
        assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("value", "shape", "pointer"),
    [
        (1, ("n",), "/x"),
        ([1], (), "/x"),
        ([1, 2], (3,), "/x"),
        ([[1, 2]], ("n",), "/x"),
        ([[1, 2], [3]], ("n", "m"), "/x/1"),
        ([[1, 2], 3], ("n", "m"), "/x/1"),
        ([3, [1, 2]], ("n", "m"), "/x/0"),
        ([[[1, 2], [3, 4]], [[5, 6], [7, "8"]]], None, "/x/1/1/1"),
        ({"data": [1]}, ("n",), "/x"),
        ({"shape": [1]}, ("n",), "/x"),
        ({"shape": [1], "data": [1], "more": 1}, ("n",), "/x"),
        ({"shape": [1], "data": 1}, ("n",), "/x"),
        ({"shape": [2], "data": [1]}, ("n",), "/x/data"),
        ({"shape": [-1], "data": [1]}, ("n",), "/x/shape"),
        ({"shape": [1.0], "data": [1]}, ("n",), "/x/shape"),
        ({"shape": [True], "data": [1]}, ("n",), "/x/shape"),
        ({"shape": [1] * 33, "data": [1]}, None, "/x/shape"),
        ({"shape": [1], "data": [[1]]}, ("n",), "/x/data/0"),
        ({"shape": [1], "data": [1], "dtype": "int64"}, ("n",), "/x/dtype"),
        ({"shape": [10**12, 0], "data": []}, ("n", "m"), "/x/shape"),
    ],
)
def test_what_is_no_tensor_of_the_model_is_refused_where_it_is_wrong(
    value: Any, shape: tuple[int | str, ...] | None, pointer: str
) -> None:
    assert refusal({"x": value}, spec("float32", shape)).pointer == pointer


def test_a_list_that_is_nested_too_deeply_is_refused() -> None:
    value: Any = 1
    for _ in range(33):
        value = [value]

    assert refusal({"x": value}, spec("float32", None)).pointer == "/x"


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (5, ()),
        ([], (0,)),
        ([[], []], (2, 0)),
        ({"shape": [0, 3], "data": []}, (0, 3)),
        ({"shape": [], "data": [5]}, ()),
    ],
)
def test_scalars_and_tensors_without_values_are_tensors(value: Any, shape: tuple[int, ...]) -> None:
    found = tensors_of({"x": value}, [spec("float32", tuple("abc"[: len(shape)]))])["x"]

    assert found.shape == shape
    assert len(found.values) == math.prod(shape)


def test_a_dimension_of_one_name_has_one_size_and_a_nameless_one_any() -> None:
    x, y = spec("float32", ("n", ""), "x"), spec("float32", ("n", ""), "y/z")

    tensors_of({"x": [[1, 2]], "y/z": [[1]]}, [x, y])
    error = refusal({"x": [[1, 2]], "y/z": [[1], [2]]}, x, y)

    assert error.pointer == "/y~1z"
    assert "'n'" in str(error)


@pytest.mark.parametrize(
    ("item", "pointer"), [([1], None), (7, None), ({}, "/x"), ({"y": [1]}, "/x"), ({"x": [1], CANARY: [1]}, None)]
)
def test_an_input_names_each_tensor_of_the_model_and_no_other(item: Any, pointer: str | None) -> None:
    error = refusal(item, spec())

    assert error.pointer == pointer
    assert CANARY not in str(error)


def test_a_list_of_inputs_is_refused_only_if_none_of_them_can_be_used() -> None:
    signature = Signature(task="tensors", tensors=(spec("int8"),))

    check_input(signature, [{"x": [300]}, {"x": [3]}])
    with pytest.raises(InvalidInput) as refused:
        check_input(signature, [{"x": [3, 300]}, 5])
    assert refused.value.pointer == "/input_data/0/x/1"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NAMES = st.sampled_from(["x", "a/b ~c", "shape", "data", "dtype", "y"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
TENSORS = st.lists(
    st.integers(-300, 300) | st.lists(st.integers(-300, 300), max_size=2), max_size=3
) | st.fixed_dictionaries({"shape": st.lists(st.integers(-1, 3), max_size=3), "data": st.lists(SCALARS, max_size=4)})


def at(pointer: str, item: Any) -> Any:
    for part in pointer.split("/")[1:]:
        item = item[int(part)] if isinstance(item, list) else item[part.replace("~1", "/").replace("~0", "~")]
    return item


@given(
    JSON | st.fixed_dictionaries({"x": TENSORS | JSON, "a/b ~c": TENSORS | JSON}),
    st.sampled_from(get_args(Dtype)),
    st.sampled_from([None, (), ("n",), ("n", 2)]),
)
def test_any_json_is_either_tensors_or_refused_where_it_is_wrong(item: Any, dtype: Dtype, shape: Any) -> None:
    specs = [spec(dtype, shape), spec("int8", ("n",), "a/b ~c")]
    try:
        found = tensors_of(item, specs)
    except InvalidInput as error:
        if "is missing" not in str(error):
            at(error.pointer or "", item)
        return
    assert all(math.prod(tensor.shape) == len(tensor.values) for tensor in found.values())


@pytest.mark.parametrize(
    ("inputs", "outputs", "name"),
    [
        ([("n", 2)], [("n",)], "n"),
        ([("n", 2), ("n",)], [("n", "m")], "n"),
        ([("n", 2), ("m",)], [("n",)], None),
        ([("n", 2)], [()], None),
        ([("n", 2)], [None], None),
        ([(2, "n")], [(2, "n")], None),
        ([("n", "n")], [("n",)], None),
        ([("", 2)], [("", 2)], None),
        ([()], [()], None),
        ([], [("n",)], None),
    ],
)
def test_a_batch_axis_is_the_first_dimension_of_all_and_no_other(inputs: Any, outputs: Any, name: str | None) -> None:
    def specs(shapes: Any) -> list[TensorSpec]:
        return [spec("float32", shape) for shape in shapes]

    assert batch_axis_of(specs(inputs), specs(outputs)) == name
