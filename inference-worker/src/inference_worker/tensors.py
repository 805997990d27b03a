"""Pads rows, stacks them into batches and splits batches into rows. It knows shapes, not models, texts or jobs.

numpy has no bfloat16: such a tensor is a float32 array here, which holds each of its values. A tensor of strings is an
array of Python objects.

The padded length of a text depends on its own length only. So rows of one bucket stack without further padding, and the
padding of a row does not depend on the other rows of its batch.
"""

import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray
from shared_schemas.models import Dtype, TensorSpec

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = dict[str, Array]

_SHORTEST = 16
_KEPT_AS: dict[Dtype, DTypeLike] = {"bfloat16": np.float32, "string": np.object_}


class Row(msgspec.Struct, frozen=True, eq=False):
    """One item of a batch. inputs: by name, without the batch dimension. take: which position to keep of each output,
    in its first dimension after the batch; None keeps all of them."""

    inputs: Arrays
    take: int | None = None

    @property
    def shape(self) -> Hashable:
        return tuple((name, array.shape, array.dtype.char) for name, array in self.inputs.items())

    @property
    def n_elements(self) -> int:
        return max(array.size for array in self.inputs.values())


class WholeTensors(msgspec.Struct, frozen=True, eq=False):
    """One item of a model that is given whole tensors, as its graph declares them. is_batched: the first dimension of
    each counts rows, so it may run together with others of its shape. If not, it runs alone."""

    inputs: Arrays
    is_batched: bool

    @property
    def shape(self) -> Hashable:
        if not self.is_batched:
            return None
        return tuple((name, array.shape, array.dtype.char) for name, array in self.inputs.items())

    @property
    def n_elements(self) -> int:
        """An item that runs alone fills every batch, so it waits for no others."""
        return max(array.size for array in self.inputs.values()) if self.is_batched else sys.maxsize


Item: TypeAlias = Row | WholeTensors


def padded_length(length: int, *, longest: int) -> int:
    """The next of 16, 24, 32, 48, 64, 96, 128, …, but at most `longest`. Above 16, at most a third of a row is padding.
    There are few different lengths, so buckets fill up."""
    step = _SHORTEST
    while step < length:
        if step * 3 // 2 >= length:
            step = step * 3 // 2
            break
        step *= 2
    return min(step, longest)


def text_row(
    ids: Sequence[int],
    *,
    longest: int,
    pad: int = 0,
    take: int | None = None,
    has_token_types: bool = False,
    token_types: Sequence[int] = (),
) -> Row:
    """ids: 1 to `longest` token ids -> input_ids, attention_mask and, if the model takes them, token_type_ids: int64
    [padded_length], padded at the end. token_types: one for each id, or none for zeros."""
    length = padded_length(len(ids), longest=longest)
    input_ids = np.full(length, pad, dtype=np.int64)
    input_ids[: len(ids)] = ids
    attention_mask = np.zeros(length, dtype=np.int64)
    attention_mask[: len(ids)] = 1
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    if has_token_types:
        inputs["token_type_ids"] = np.zeros(length, dtype=np.int64)
        inputs["token_type_ids"][: len(token_types)] = token_types
    return Row(inputs, take)


def example_row(inputs: Iterable[TensorSpec], *, longest: int | None = None) -> Row:
    """A row of ones for the warm-up. Each dimension that varies is 16, or `longest` if that is less."""
    varying = _SHORTEST if longest is None else min(_SHORTEST, longest)
    return Row(
        {
            spec.name: np.ones(
                [d if isinstance(d, int) else varying for d in (spec.shape or ())[1:]], numpy_dtype(spec.dtype)
            )
            for spec in inputs
        }
    )


def numpy_dtype(dtype: Dtype) -> DTypeLike:
    """How the values of a tensor are kept in memory."""
    return _KEPT_AS.get(dtype, dtype)


def array_of_bytes(data: bytes, dtype: Dtype) -> Array:
    """data: as `shared_schemas.inputs.tensor_bytes` says, no strings -> [n]. It shares the memory of the data, and must
    not be written to."""
    if dtype == "bfloat16":
        return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<"))


def bytes_of_array(array: Array, dtype: Dtype) -> bytes:
    """The reverse, of an array of any shape."""
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32) >> 16
        return bits.astype("<u2").tobytes()
    return array.astype(np.dtype(dtype).newbyteorder("<"), copy=False).tobytes()


def rounded_to_digits(array: Array, digits: int) -> NDArray[np.float64]:
    """Each number to so many significant digits. What is not finite stays as it is."""
    numbers = array.astype(np.float64)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.abs(numbers))))
        scaled = np.rint(numbers * scale) / scale
    return np.where(np.isfinite(scaled), scaled, numbers)


def stack(items: Sequence[Item]) -> Arrays:
    """n items of one shape -> what the model is given: of rows [...], arrays [n, ...]; of tensors [rows, ...], arrays
    [n * rows, ...]."""
    first = items[0]
    if isinstance(first, Row):
        return {name: np.stack([item.inputs[name] for item in items]) for name in first.inputs}
    if len(items) == 1:
        return first.inputs
    return {name: np.concatenate([item.inputs[name] for item in items]) for name in first.inputs}


def split(outputs: Mapping[str, Array], items: Sequence[Item]) -> list[Arrays]:
    """The reverse of stack, each part a copy, so that an item does not keep its batch in memory. ValueError if an
    output has another first dimension than the items together."""
    first = items[0]
    if isinstance(first, WholeTensors) and len(items) == 1:
        return [dict(outputs)]
    n_rows = 1 if isinstance(first, Row) else next(iter(first.inputs.values())).shape[0]
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != len(items) * n_rows:
            raise ValueError(f"output {name} has shape {array.shape}, expected {len(items) * n_rows} rows")
    if isinstance(first, WholeTensors):
        return [
            {name: np.array(array[i * n_rows : (i + 1) * n_rows]) for name, array in outputs.items()}
            for i in range(len(items))
        ]
    return [
        {name: np.array(array[i] if row.take is None else array[i, row.take]) for name, array in outputs.items()}
        for i, row in enumerate(items)
        if isinstance(row, Row)
    ]


def softmax(logits: Array) -> NDArray[np.float64]:
    """float [n] -> float64 [n] that sums to 1. It is not finite if the logits have a NaN or +inf, or are all -inf."""
    with np.errstate(invalid="ignore"):
        shifted = np.exp(logits.astype(np.float64) - np.max(logits))
        return np.asarray(shifted / shifted.sum())
