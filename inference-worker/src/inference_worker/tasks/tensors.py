"""The task tensors: whole tensors in, whole tensors out, as the model's graph declares them.

It is the task of any ONNX model that has no other. Each input of a job is one run, unless the manifest names a batch
axis: then the first dimension counts rows, and rows of one shape share runs, whatever inputs they belong to. How a
tensor is written in JSON, and which inputs are accepted at all, is in `shared_schemas.inputs.tensors`, which a gateway
uses too. With the parameter `tensor_format`, answers have the bytes of tensors instead of their numbers.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs.tensor_bytes import bytes_of_strings
from shared_schemas.inputs.tensors import LARGEST_FLOAT, TensorBytes, TensorValues, tensors_of
from shared_schemas.models import Dtype, ModelManifest, TensorSpec, batch_axis_of

from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import Graph
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import (
    Array,
    Arrays,
    Rows,
    WholeTensors,
    array_of_bytes,
    bytes_of_array,
    numpy_dtype,
    rounded_to_digits,
)

_DIGITS = 4


class TensorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """data: in row-major order. JSON has no NaN: a float that is not finite is "NaN", "Infinity" or "-Infinity"."""

    dtype: Dtype
    shape: tuple[int, ...]
    data: list[Any]


class TensorBytesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """base64: see `shared_schemas.inputs.tensor_bytes`. JSON has it as a text."""

    dtype: Dtype
    shape: tuple[int, ...]
    base64: bytes


class TensorAnswers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """outputs: by name, in the order of the graph. nonfinite_count: of their numbers."""

    outputs: dict[str, TensorAnswer | TensorBytesAnswer]
    nonfinite_count: int = 0


class Tensors:
    takes_many_runs: ClassVar[bool] = False
    # A graph may refuse ones, as a Reshape does that is told the shape.
    takes_ones: ClassVar[bool] = False

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        _check_described(manifest.inputs, graph.inputs)
        if _dtypes(manifest.outputs) != _dtypes(graph.outputs):
            raise AttemptFailed("model_unsupported", "the manifest does not describe the outputs of the model")
        if manifest.batch_axis is not None and manifest.batch_axis != batch_axis_of(manifest.inputs, manifest.outputs):
            raise AttemptFailed(
                "model_unsupported", "the manifest's batch axis is not the first dimension of each input and output"
            )
        self._inputs, self._is_batched = manifest.inputs, manifest.batch_axis is not None
        self._dtypes = _dtypes(graph.outputs)
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        """Any outputs can be answers."""

    async def answer(self, item: Any, index: int, request: Request) -> TensorAnswers:
        tensors = tensors_of(item, self._inputs)
        arrays = {spec.name: array_of(tensors[spec.name], spec.dtype) for spec in self._inputs}
        # Without rows, there is nothing to join.
        is_rows = self._is_batched and all(len(array) for array in arrays.values())
        outputs = await self._engine.infer(Rows(arrays) if is_rows else WholeTensors(arrays), alone=request.alone)
        # A small input may have outputs that fit into no memory as JSON.
        if request.parameters.tensor_format == "base64":
            request.reserve(sum(array.nbytes for array in outputs.values() if array.dtype != np.object_))
            return bytes_answers_of(outputs, self._dtypes)
        # A value and its comma take two bytes.
        request.reserve(2 * sum(array.size for array in outputs.values()))
        return answers_of(outputs, self._dtypes)

    def reproducible(self, answer: TensorAnswers) -> TensorAnswers:
        """All of it if the model runs alone. If not, floats with 4 digits: the last bits of a number depend on the
        other rows of its batch."""
        if not self._is_batched:
            return answer
        rounded = {name: _rounded(tensor) for name, tensor in answer.outputs.items()}
        return msgspec.structs.replace(answer, outputs=rounded)


def answers_of(outputs: Arrays, dtypes: dict[str, Dtype]) -> TensorAnswers:
    n_bad = 0
    answers: dict[str, TensorAnswer | TensorBytesAnswer] = {}
    for name, array in outputs.items():
        data = array.ravel().tolist()
        if dtypes[name] in LARGEST_FLOAT:
            bad = np.flatnonzero(~np.isfinite(array))
            n_bad += len(bad)
            for place in bad.tolist():
                data[place] = _written(data[place])
        answers[name] = TensorAnswer(dtype=dtypes[name], shape=array.shape, data=data)
    return TensorAnswers(outputs=answers, nonfinite_count=n_bad)


def bytes_answers_of(outputs: Arrays, dtypes: dict[str, Dtype]) -> TensorAnswers:
    n_bad = 0
    answers: dict[str, TensorAnswer | TensorBytesAnswer] = {}
    for name, array in outputs.items():
        dtype = dtypes[name]
        if dtype in LARGEST_FLOAT:
            n_bad += array.size - int(np.count_nonzero(np.isfinite(array)))
        data = bytes_of_strings(array.ravel().tolist()) if dtype == "string" else bytes_of_array(array, dtype)
        answers[name] = TensorBytesAnswer(dtype=dtype, shape=array.shape, base64=data)
    return TensorAnswers(outputs=answers, nonfinite_count=n_bad)


def array_of(tensor: TensorValues | TensorBytes, dtype: Dtype) -> Array:
    """The dtype holds each of the values."""
    if isinstance(tensor, TensorBytes):
        return array_of_bytes(tensor.data, dtype).reshape(tensor.shape)
    return np.array(tensor.values, dtype=numpy_dtype(dtype)).reshape(tensor.shape)


def _written(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _rounded(tensor: TensorAnswer | TensorBytesAnswer) -> TensorAnswer | TensorBytesAnswer:
    if tensor.dtype not in LARGEST_FLOAT:
        return tensor
    if isinstance(tensor, TensorBytesAnswer):
        array = rounded_to_digits(array_of_bytes(tensor.base64, tensor.dtype), _DIGITS)
        return msgspec.structs.replace(tensor, base64=bytes_of_array(array, "float64"))
    data = [each if isinstance(each, str) else float(f"{each:.{_DIGITS}g}") for each in tensor.data]
    return msgspec.structs.replace(tensor, data=data)


def _dtypes(specs: Sequence[TensorSpec]) -> dict[str, Dtype]:
    return {spec.name: spec.dtype for spec in specs}


def _check_described(described: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> None:
    """AttemptFailed model_unsupported if a graph with the inputs `found` does not take what the manifest describes."""
    shapes = {spec.name: spec.shape for spec in described}
    fits = all(_is_of_shape(shapes.get(spec.name), spec.shape or ()) for spec in found)
    if _dtypes(described) != _dtypes(found) or not fits:
        raise AttemptFailed("model_unsupported", "the manifest does not describe the inputs of the model")


def _is_of_shape(described: tuple[int | str, ...] | None, found: tuple[int | str, ...]) -> bool:
    """found: as the session shows it: [] for a tensor of any rank too, and with names that an export may have made."""
    if not found or described is None:
        return not found
    return len(described) == len(found) and all(
        isinstance(size, str) or size == want for want, size in zip(described, found, strict=True)
    )
