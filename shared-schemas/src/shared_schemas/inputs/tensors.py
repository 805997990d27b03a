"""The form of input of the task tensors: an object with a tensor for each input of the model's graph. Pure.

A tensor is written in one of three ways:

- as nested lists, or as a bare value if it has no dimensions: `[[1, 2], [3, 4]]`, `0.5`;
- as an object, `{"shape": [2, 2], "data": [1, 2, 3, 4]}`: the values in row-major order. Only an object can say the
  shape of a tensor without values, such as [0, 3]. It may name its `dtype`, which must be the model's;
- as an object with the bytes of the values, `{"shape": [1], "base64": "AACAPw=="}`, which
  `shared_schemas.inputs.tensor_bytes` describes. The gateway may give the bytes themselves.

Values are never cast into others. An integer, a boolean or a string stands for itself, and must fit the dtype. Floats
are rounded to the nearest value of the dtype, but one beyond its range is refused. JSON has no NaN: it is written
"NaN", "Infinity" or "-Infinity", as in the JSON of Protocol Buffers.

What a worker does with it is in `inference_worker.tasks.tensors`.

Messages name inputs of the model but never repeat a value: they are shown in the API.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from shared_schemas.errors import InvalidInput
from shared_schemas.inputs.form import Signature
from shared_schemas.inputs.tensor_bytes import are_booleans, bytes_of_base64, is_of_size, strings_of
from shared_schemas.models import Dtype, TensorSpec

LARGEST_FLOAT: dict[str, float] = {
    "float16": 65504.0,
    "bfloat16": (2 - 2**-7) * 2.0**127,
    "float32": (2 - 2**-23) * 2.0**127,
    "float64": (2 - 2**-52) * 2.0**1023,
}
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
MOST_DIMENSIONS = 32
# Of a tensor without values, the product of its other dimensions: they cost the sender nothing, but the model may make
# a tensor of them.
LARGEST_EMPTY = 1 << 20

_INTEGERS: dict[str, tuple[int, int]] = {
    f"{u}int{bits}": (0, 2**bits - 1) if u else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for u in ("", "u")
    for bits in (8, 16, 32, 64)
}
_FLOATS = frozenset({int, float})
_FIELDS = frozenset({"dtype", "shape", "data", "base64"})


class TensorForm:
    """As InputForm."""

    def fits(self, signature: Signature, input_data: Any) -> bool:
        try:
            tensors_of(input_data, signature.tensors)
        except InvalidInput:
            return False
        return True

    def is_one_input(self, input_data: list[Any]) -> bool:
        return False

    def check(self, signature: Signature, item: Any) -> None:
        tensors_of(item, signature.tensors)


class TensorValues(NamedTuple):
    """values: in row-major order; floats that are not finite are floats here."""

    shape: tuple[int, ...]
    values: list[Any]


class TensorBytes(NamedTuple):
    """data: as many values of the dtype as the shape has. No strings: those are TensorValues."""

    shape: tuple[int, ...]
    data: bytes


def tensors_of(item: Any, specs: Sequence[TensorSpec]) -> dict[str, TensorValues | TensorBytes]:
    """The tensor of each input, by name. InvalidInput, with a pointer from the item to the tensor or value at fault."""
    if not isinstance(item, Mapping):
        raise InvalidInput("this model takes an object with a tensor for each of its inputs")
    for spec in specs:
        if spec.name not in item:
            raise InvalidInput(f"the input {spec.name!r} is missing", pointer=_pointer(spec))
    if len(item) > len(specs):
        raise InvalidInput("the model does not have all of these inputs")
    tensors = {spec.name: _tensor(item[spec.name], spec) for spec in specs}
    _check_sizes_agree(specs, tensors)
    return tensors


def _tensor(value: Any, spec: TensorSpec) -> TensorValues | TensorBytes:
    at = _pointer(spec)
    if isinstance(value, Mapping) and "base64" in value:
        return _from_bytes(value, spec)
    if isinstance(value, Mapping):
        shape, values = _written_out(value, spec)
    else:
        shape, values = _nested(value, spec)
    _check_shape(shape, spec)
    if not _fit(values, spec.dtype):
        wrong = _first_unfit(values, spec.dtype)
        place = f"/data/{wrong}" if isinstance(value, Mapping) else _place(wrong, shape)
        raise InvalidInput(f"the input {spec.name!r} has a value that is not {_meant(spec.dtype)}", pointer=at + place)
    if spec.dtype in LARGEST_FLOAT and str in set(map(type, values)):
        values = [NOT_FINITE[each] if isinstance(each, str) else each for each in values]
    return TensorValues(shape, values)


def _from_bytes(value: Mapping[str, Any], spec: TensorSpec) -> TensorValues | TensorBytes:
    given, at = value["base64"], f"{_pointer(spec)}/base64"
    if "data" in value or not isinstance(given, str | bytes):
        raise InvalidInput(f"the input {spec.name!r} has no text of base64 beside its shape", pointer=at)
    shape = _shape_of(value, spec)
    n_values = math.prod(shape)
    if not n_values:
        _check_empty(shape, spec)
    try:
        data = given if isinstance(given, bytes) else bytes_of_base64(given)
    except ValueError:
        raise InvalidInput(f"the input {spec.name!r} is not valid base64", pointer=at) from None
    _check_shape(shape, spec)
    if spec.dtype == "string":
        return TensorValues(shape, _strings(data, n_values, spec))
    if not is_of_size(data, spec.dtype, n_values):
        raise InvalidInput(f"the input {spec.name!r} has another number of bytes than its shape takes", pointer=at)
    if spec.dtype == "bool" and not are_booleans(data):
        raise InvalidInput(f"the input {spec.name!r} has a byte that is neither 0 nor 1", pointer=at)
    return TensorBytes(shape, data)


def _strings(data: bytes, n_values: int, spec: TensorSpec) -> list[str]:
    at = f"{_pointer(spec)}/base64"
    try:
        strings = strings_of(data)
    except UnicodeDecodeError:
        raise InvalidInput(f"the input {spec.name!r} has a string that is not UTF-8", pointer=at) from None
    except ValueError:
        raise InvalidInput(f"the input {spec.name!r} ends within a string", pointer=at) from None
    if len(strings) != n_values:
        raise InvalidInput(f"the input {spec.name!r} has another number of strings than its shape", pointer=at)
    return strings


def _nested(value: Any, spec: TensorSpec) -> tuple[tuple[int, ...], list[Any]]:
    """-> (shape, values)"""
    shape: list[int] = []
    level = [value]
    while list in (kinds := set(map(type, level))):
        size = len(level[0]) if isinstance(level[0], list) else -1
        if len(kinds) > 1 or any(len(each) != size for each in level):
            uneven = next(i for i, each in enumerate(level) if not isinstance(each, list) or len(each) != size)
            raise InvalidInput(
                f"the input {spec.name!r} has lists of different lengths side by side",
                pointer=_pointer(spec) + _place(uneven, shape),
            )
        shape.append(size)
        if len(shape) > MOST_DIMENSIONS:
            raise InvalidInput(f"the input {spec.name!r} has too many dimensions", pointer=_pointer(spec))
        level = list(chain.from_iterable(level))
    return tuple(shape), level


def _written_out(value: Mapping[str, Any], spec: TensorSpec) -> tuple[tuple[int, ...], list[Any]]:
    """-> (shape, values)"""
    at, data = _pointer(spec), value.get("data")
    if not isinstance(data, list):
        raise InvalidInput(f"the input {spec.name!r} is not a list or an object of shape and data", pointer=at)
    shape = _shape_of(value, spec)
    if not data:
        _check_empty(shape, spec)
    if math.prod(shape) != len(data):
        raise InvalidInput(f"the input {spec.name!r} has another number of values than its shape", pointer=f"{at}/data")
    return shape, data


def _shape_of(value: Mapping[str, Any], spec: TensorSpec) -> tuple[int, ...]:
    """Of a tensor that is an object. Checks its dtype too."""
    at, shape = _pointer(spec), value.get("shape")
    if not _FIELDS.issuperset(value) or not isinstance(shape, list | tuple):
        raise InvalidInput(f"the input {spec.name!r} is not a list or an object of shape and data", pointer=at)
    if value.get("dtype", spec.dtype) != spec.dtype:
        raise InvalidInput(f"the input {spec.name!r} has the dtype {spec.dtype}", pointer=f"{at}/dtype")
    if len(shape) > MOST_DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
        raise InvalidInput(f"the input {spec.name!r} has no valid shape", pointer=f"{at}/shape")
    return tuple(shape)


def _check_empty(shape: tuple[int, ...], spec: TensorSpec) -> None:
    if math.prod(size for size in shape if size) > LARGEST_EMPTY:
        raise InvalidInput(
            f"the input {spec.name!r} is too large for one without values", pointer=f"{_pointer(spec)}/shape"
        )


def _check_shape(shape: tuple[int, ...], spec: TensorSpec) -> None:
    if not _fits_shape(shape, spec.shape):
        raise InvalidInput(
            f"the input {spec.name!r} has the shape {_shown(shape)}, but the model takes {_shown(spec.shape or ())}",
            pointer=_pointer(spec),
        )


def _fits_shape(shape: tuple[int, ...], wanted: tuple[int | str, ...] | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        isinstance(want, str) or size == want for size, want in zip(shape, wanted, strict=True)
    )


def _check_sizes_agree(specs: Sequence[TensorSpec], tensors: Mapping[str, TensorValues | TensorBytes]) -> None:
    """InvalidInput if a dimension of one name has two sizes."""
    sizes: dict[str, tuple[int, str]] = {}
    for spec in specs:
        for dimension, size in zip(spec.shape or (), tensors[spec.name].shape, strict=False):
            if isinstance(dimension, str) and dimension:
                other, where = sizes.setdefault(dimension, (size, spec.name))
                if other != size:
                    raise InvalidInput(
                        f"the dimension {dimension!r} is {other} in {where!r} and {size} in {spec.name!r}",
                        pointer=_pointer(spec),
                    )


def _fit(values: list[Any], dtype: Dtype) -> bool:
    """Whether the dtype holds all of the values."""
    kinds = set(map(type, values))
    if not kinds:
        return True
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        return kinds == {int} and low <= min(values) and max(values) <= high
    if dtype in LARGEST_FLOAT:
        if str in kinds:
            texts = [each for each in values if type(each) is str]
            numbers = [each for each in values if type(each) is not str]
            return NOT_FINITE.keys() >= set(texts) and _fit(numbers, dtype)
        largest = LARGEST_FLOAT[dtype]
        return kinds <= _FLOATS and -largest <= min(values) and max(values) <= largest
    return kinds == ({bool} if dtype == "bool" else {str})


def _first_unfit(values: list[Any], dtype: Dtype) -> int:
    """The index of the first value that the dtype does not hold. There must be one."""
    low, high = 0, len(values)
    # A look at each value alone would stop the gateway's event loop for a second.
    while high - low > 1:
        middle = (low + high) // 2
        if _fit(values[low:middle], dtype):
            low = middle
        else:
            high = middle
    return low


def _meant(dtype: Dtype) -> str:
    """What a value of this dtype is."""
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        return f"an integer from {low} to {high}"
    if dtype in LARGEST_FLOAT:
        return f'a number of {dtype}, "NaN", "Infinity" or "-Infinity"'
    return "true or false" if dtype == "bool" else "a string"


def _pointer(spec: TensorSpec) -> str:
    """A JSON pointer (RFC 6901) from the item to a tensor."""
    return "/" + spec.name.replace("~", "~0").replace("/", "~1")


def _place(index: int, shape: Sequence[int]) -> str:
    """The same from a tensor of nested lists to a value. index: in row-major order."""
    places: list[int] = []
    for size in reversed(shape):
        index, place = divmod(index, size)
        places.append(place)
    return "".join(f"/{place}" for place in reversed(places))


def _shown(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(str(size) or '?' for size in shape)}]"
