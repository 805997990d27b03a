"""The datatypes of the protocol, and values as bytes. Pure, without numpy."""

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from shared_schemas.inputs.tensor_bytes import SIZES, bytes_of_strings, strings_of
from shared_schemas.inputs.tensors import LARGEST_FLOAT, NOT_FINITE
from shared_schemas.models import Dtype

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BF16",
    "BYTES",
]  # fmt: skip

_OTHERWISE: dict[str, Dtype] = {
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
    "BYTES": "string",
}
_LOWER: dict[str, Dtype] = {dtype: dtype for dtype in get_args(Dtype)}
DTYPE_OF: dict[Datatype, Dtype] = {
    name: _OTHERWISE[name] if name in _OTHERWISE else _LOWER[name.lower()] for name in get_args(Datatype)
}
DATATYPE_OF: dict[Dtype, Datatype] = {dtype: name for name, dtype in DTYPE_OF.items()}
# The protocol has no numbers in JSON for these.
ONLY_BINARY: frozenset[Datatype] = frozenset({"FP16", "BF16"})
_FORMATS: dict[Dtype, str] = {
    "bool": "?",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
}


def values_of_bytes(data: bytes, dtype: Dtype) -> list[Any]:
    """data: whole values. ValueError for strings that are not whole."""
    if dtype == "string":
        return list(strings_of(data))
    if dtype == "bfloat16":
        # The upper half of a float32.
        halves = struct.unpack(f"<{len(data) // 2}H", data)
        return list(
            struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves)))
        )
    return list(struct.unpack(f"<{len(data) // SIZES[dtype]}{_FORMATS[dtype]}", data))


def bytes_of_values(values: Sequence[Any], dtype: Dtype) -> bytes:
    """The reverse, of a dtype other than bfloat16. A float that is not finite may be a text. Of numbers beyond float32,
    the float32 is infinite."""
    if dtype == "string":
        return bytes_of_strings(values)
    if dtype in LARGEST_FLOAT:
        values = [NOT_FINITE[each] if isinstance(each, str) else each for each in values]
    if dtype == "float32":
        largest = LARGEST_FLOAT[dtype]
        values = [each if not abs(each) > largest else math.copysign(math.inf, each) for each in values]
    return struct.pack(f"<{len(values)}{_FORMATS[dtype]}", *values)


def in_json(values: Iterable[Any]) -> list[Any]:
    """JSON has no NaN and no infinity: they are texts."""
    return [_written(each) if isinstance(each, float) and not math.isfinite(each) else each for each in values]


def _written(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
