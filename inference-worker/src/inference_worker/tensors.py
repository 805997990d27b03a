"""Pads rows, stacks them into batches and splits batches into rows. It knows shapes, not models, texts or jobs.

numpy has no bfloat16: such a tensor is a float32 array here, which holds each of its values. A tensor of strings is an
array of Python objects.

The padded length of a text depends on its own length only. So rows of one bucket stack without further padding, and the
padding of a row does not depend on the other rows of its batch.
"""

import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import accumulate
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
    """One row of a batch. inputs: by name, without the batch dimension. take: which position to keep of each output,
    in its first dimension after the batch; None keeps all of them."""

    inputs: Arrays
    take: int | None = None

    @property
    def shape(self) -> Hashable:
        return tuple((name, array.shape, array.dtype.char) for name, array in self.inputs.items())

    @property
    def n_elements(self) -> int:
        return max(array.size for array in self.inputs.values())

    @property
    def n_rows(self) -> int:
        return 1

    def rows(self, first: int, end: int) -> Arrays:
        return {name: array[np.newaxis] for name, array in self.inputs.items()}

    def answer(self, outputs: Arrays) -> Arrays:
        return {
            name: np.array(array[0] if self.take is None else array[0, self.take]) for name, array in outputs.items()
        }


class Rows(msgspec.Struct, frozen=True, eq=False):
    """Several rows, which may run apart and beside others of their shape. inputs: by name, each [rows, ...], with at
    least one row."""

    inputs: Arrays

    @property
    def shape(self) -> Hashable:
        return tuple((name, array.shape[1:], array.dtype.char) for name, array in self.inputs.items())

    @property
    def n_elements(self) -> int:
        return max(array.size // len(array) for array in self.inputs.values())

    @property
    def n_rows(self) -> int:
        return len(next(iter(self.inputs.values())))

    def rows(self, first: int, end: int) -> Arrays:
        return {name: array[first:end] for name, array in self.inputs.items()}

    def answer(self, outputs: Arrays) -> Arrays:
        return {name: np.array(array) for name, array in outputs.items()}


class WholeTensors(msgspec.Struct, frozen=True, eq=False):
    """The inputs of a model that is given whole tensors, as its graph declares them. They run alone, as one row."""

    inputs: Arrays

    @property
    def shape(self) -> Hashable:
        return None

    @property
    def n_elements(self) -> int:
        """An item that runs alone fills every batch, so it waits for no others."""
        return sys.maxsize

    @property
    def n_rows(self) -> int:
        return 1

    def rows(self, first: int, end: int) -> Arrays:
        return self.inputs

    def answer(self, outputs: Arrays) -> Arrays:
        return outputs


# n_elements: of one row. rows: [end - first, ...] of each input. answer: of the outputs of all rows, each
# [n_rows, ...]. An answer is a copy, so that it does not keep the batch in memory.
Item: TypeAlias = Row | Rows | WholeTensors


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


def text_rows(rows: Sequence[Sequence[int]], *, longest: int, pad: int = 0, has_token_types: bool = False) -> Rows:
    """As text_row, for texts of one padded length."""
    shape = len(rows), padded_length(len(rows[0]), longest=longest)
    input_ids = np.full(shape, pad, dtype=np.int64)
    attention_mask = np.zeros(shape, dtype=np.int64)
    for place, ids in enumerate(rows):
        input_ids[place, : len(ids)] = ids
        attention_mask[place, : len(ids)] = 1
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    if has_token_types:
        inputs["token_type_ids"] = np.zeros(shape, dtype=np.int64)
    return Rows(inputs)


def example_row(
    inputs: Iterable[TensorSpec], *, longest: int | None = None, shape: tuple[int, ...] | None = None
) -> Row:
    """A row of ones for the warm-up. shape: of each input without the batch, if the manifest has it. If not, each
    dimension that varies is 16, or `longest` if that is less."""
    varying = _SHORTEST if longest is None else min(_SHORTEST, longest)
    return Row(
        {
            spec.name: np.ones(
                shape or [d if isinstance(d, int) else varying for d in (spec.shape or ())[1:]],
                numpy_dtype(spec.dtype),
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


def stack(parts: Sequence[Arrays]) -> Arrays:
    """Arrays of one shape but for their first dimension -> one array of each name, with the rows of all."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split(outputs: Mapping[str, Array], n_rows: Sequence[int]) -> list[Arrays]:
    """The reverse of stack, as views. n_rows: of each part. ValueError if an output has another number of rows."""
    total = sum(n_rows)
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != total:
            raise ValueError(f"output {name} has shape {array.shape}, expected {total} rows")
    ends = accumulate(n_rows)
    return [
        {name: array[end - n : end] for name, array in outputs.items()} for n, end in zip(n_rows, ends, strict=True)
    ]


def softmax(logits: Array) -> NDArray[np.float64]:
    """float [..., n] -> float64 [..., n] that sums to 1. It is not finite if the logits have a NaN or +inf, or are all
    -inf."""
    with np.errstate(invalid="ignore"):
        shifted = np.exp(logits.astype(np.float64) - np.max(logits, axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
