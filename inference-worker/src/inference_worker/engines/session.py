"""Loads one model file and runs batches with it. Only this module imports onnxruntime.

It knows neither jobs nor tasks. It requests CUDA only if the driver finds a GPU, because a build
with CUDA lists the provider on every machine, and logs an error if it cannot load it.
`OrtSession.provider` is the one that is used. A device is named as in HEADRACE_DEVICE.
"""

import contextlib
import ctypes
import functools
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import structlog
from numpy.typing import DTypeLike, NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf  # type: ignore[import-untyped]
from shared_schemas.errors import AttemptFailed
from shared_schemas.models import Dtype, TensorSpec
from shared_schemas.service.gpus import Gpu, chosen, visible_gpus
from shared_schemas.service.settings import SettingsRejected

from inference_worker.onnx_file import not_onnx
from inference_worker.tensors import Array, Arrays

_CUDA = "CUDAExecutionProvider"
_DTYPES: dict[str, Dtype] = {
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}
# ONNX's number of the type, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, TensorProto.DataType.
_BFLOAT16 = 16
_FATAL_ONLY = 4
# x [1] -> y [1], the same: an ONNX file of opset 17.
_SMALLEST_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
_LONGEST_REASON = 300
# The kind of the error, what failed, and the function of its source.
_ABOUT_ITSELF = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*?failed:)?(/\S+\.(cc|h):\d+ .*?\)( const)? )?", re.DOTALL
)


class Stop:
    """Stops a run. `now` may be called from any thread, also before the run begins or after its end."""

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()
        self.options.log_severity_level = _FATAL_ONLY

    def now(self) -> None:
        """Make the run fail soon: before its next operator."""
        self.options.terminate = True


class OrtSession:
    """A loaded model."""

    def __init__(self, path: Path, *, device: str = "auto", intra_op_threads: int = 0) -> None:
        """intra_op_threads: 0 lets ONNX Runtime use one for each core. AttemptFailed: model_corrupt if the file is
        not ONNX, model_unsupported if this runtime cannot run it. SettingsRejected as gpu_of."""
        self.threads = intra_op_threads or os.cpu_count() or 1
        gpu = gpu_of(device)
        self._gpu = "" if gpu is None else gpu.name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.log_severity_level = _FATAL_ONLY
        # Threads that spin between runs take the cores away from the event loop and from other models.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=_providers(gpu))
        except InvalidProtobuf as error:
            raise not_onnx(path) from error
        except Exception as error:  # onnxruntime raises many unrelated classes for the same fault
            raise AttemptFailed("model_unsupported", _cannot_load(error, path)) from error
        try:
            self.inputs = tuple(_spec(node, "input") for node in self._session.get_inputs())
            self.outputs = tuple(_spec(node, "output") for node in self._session.get_outputs())
        except UnicodeDecodeError as error:  # ONNX Runtime loads a model whose names are no text
            raise AttemptFailed("model_unsupported", "a name of an input or output is not UTF-8") from error
        self._output_names = [spec.name for spec in self.outputs]
        self._bfloat16_inputs = {spec.name for spec in self.inputs if spec.dtype == "bfloat16"}
        self._has_bfloat16_outputs = any(spec.dtype == "bfloat16" for spec in self.outputs)
        if self._has_bfloat16_outputs and any(spec.dtype == "string" for spec in self.inputs):
            raise AttemptFailed(
                "model_unsupported", "ONNX Runtime for Python cannot run a model from strings to bfloat16"
            )

    @property
    def provider(self) -> str:
        return str(self._session.get_providers()[0])

    @property
    def is_on_gpu(self) -> bool:
        return self.provider == _CUDA

    @property
    def facts(self) -> dict[str, str]:
        """As runtime_facts, of this session."""
        return {"device": f"cuda {self._gpu}" if self.is_on_gpu else "cpu", "threads": str(self.threads)}

    def run(self, feed: Mapping[str, Array], stop: Stop) -> Arrays:
        """feed: an array for each input. AttemptFailed model_failed if the model cannot process it, or was stopped."""
        options = stop.options
        try:
            if self._has_bfloat16_outputs:
                return self._run_with_values(feed, options)
            given = {
                name: self._value(name, array) if name in self._bfloat16_inputs else array
                for name, array in feed.items()
            }
            outputs = self._session.run(self._output_names, given, options)
        except Exception as error:  # see above
            raise AttemptFailed("model_failed", "the model could not process this input") from error
        return {name: np.asarray(output) for name, output in zip(self._output_names, outputs, strict=True)}

    def bound_run(self) -> "BoundRun":
        """A run whose inputs and outputs have a place in memory. Only on the CPU."""
        return BoundRun(self._session)

    def _run_with_values(self, feed: Mapping[str, Array], options: Any) -> Arrays:
        """The way to outputs that have no numpy dtype. It takes no strings."""
        given = {name: self._value(name, array) for name, array in feed.items()}
        outputs = self._session.run_with_ort_values(self._output_names, given, options)
        return {
            name: _bfloat16_array(output) if output.data_type() == "tensor(bfloat16)" else np.asarray(output.numpy())
            for name, output in zip(self._output_names, outputs, strict=True)
        }

    def _value(self, name: str, array: Array) -> Any:
        if name in self._bfloat16_inputs:
            return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bfloat16_bits(array), _BFLOAT16)
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))


class BoundRun:
    """Runs a session with inputs and outputs that stay where they are, so that nothing is copied between runs. The
    memory belongs to the caller, and must be there during a run."""

    def __init__(self, session: Any) -> None:
        self._session, self._binding = session, session.io_binding()

    def read(self, name: str, address: int, dtype: DTypeLike, shape: Sequence[int]) -> None:
        """The input is at this address."""
        self._binding.bind_input(name, "cpu", 0, np.dtype(dtype), list(shape), address)

    def write(self, name: str, address: int, dtype: DTypeLike, shape: Sequence[int]) -> None:
        """The output goes to this address."""
        self._binding.bind_output(name, "cpu", 0, np.dtype(dtype), list(shape), address)

    def run(self, stop: Stop) -> None:
        """AttemptFailed model_failed, also if it was stopped."""
        try:
            self._session.run_with_iobinding(self._binding, stop.options)
        except Exception as error:  # as in OrtSession
            raise AttemptFailed("model_failed", "the model could not process this input") from error


def _cannot_load(error: Exception, path: Path) -> str:
    """What ONNX Runtime says about the model, without the places in its source and on this machine."""
    said = _ABOUT_ITSELF.sub("", str(error).replace(str(path), "").strip())
    reason = "".join(char if char.isprintable() else " " for char in said[:_LONGEST_REASON]).strip()
    return f"ONNX Runtime cannot load this model: {reason}" if reason else "ONNX Runtime cannot load this model"


def gpu_of(device: str) -> Gpu | None:
    """None for the CPU. `auto` is the CPU where ONNX Runtime cannot use the GPU. SettingsRejected if
    the device is not there, or cannot be used."""
    gpu = chosen(device, visible_gpus())
    fault = None if gpu is None else _fault_of_cuda(gpu)
    if fault is None:
        return gpu
    if device == "auto":
        return None
    raise SettingsRejected(f"HEADRACE_DEVICE: {fault}")


def why_not_on_gpu(device: str) -> str | None:
    """Why `auto` is the CPU although there is a GPU. None if there is none, or if it is used or not wanted."""
    gpu = chosen(device, visible_gpus()) if device == "auto" else None
    return None if gpu is None else _fault_of_cuda(gpu)


def device_of(wanted: str) -> str:
    """wanted: as HEADRACE_DEVICE. -> cpu or cuda:N. SettingsRejected as gpu_of."""
    gpu = gpu_of(wanted)
    return "cpu" if gpu is None else gpu.device


def runtime_facts(device: str) -> dict[str, str]:
    """What the answers of all models depend on. Which GPU of several equal ones does not matter."""
    gpu = gpu_of(device)
    return {"onnxruntime": str(onnxruntime.__version__), "device": "cpu" if gpu is None else f"cuda {gpu.name}"}


def _providers(gpu: Gpu | None) -> list[Any]:
    on_gpu = [] if gpu is None else [(_CUDA, {"device_id": gpu.index})]
    return [*on_gpu, "CPUExecutionProvider"]


@functools.cache
def _fault_of_cuda(gpu: Gpu) -> str | None:
    """Why this ONNX Runtime cannot use a GPU. None if a model was loaded on it."""
    hint = "install headrace-inference-worker[cuda]"
    if _CUDA not in onnxruntime.get_available_providers():
        return f"this ONNX Runtime has no CUDA; {hint}"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):  # it prints what is missing instead of raising
        onnxruntime.preload_dlls()
    missing = [line for line in printed.getvalue().splitlines() if "Failed to load" in line]
    if not missing:
        return None if _opens_on(gpu) else f"ONNX Runtime cannot use {gpu.device} ({gpu.name}): its log says why"
    structlog.get_logger().warning("cuda_libraries_missing", missing=missing, hint=hint)
    return f"libraries of CUDA are missing; {hint}"


def _opens_on(gpu: Gpu) -> bool:
    """ONNX Runtime logs what it cannot use, and loads the model on the CPU."""
    session = onnxruntime.InferenceSession(_SMALLEST_MODEL, providers=_providers(gpu))
    return str(session.get_providers()[0]) == _CUDA


def bfloat16_bits(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rounded to the nearest bfloat16, ties to even. Contiguous: ONNX Runtime would not follow strides."""
    bits = np.asarray(array, dtype=np.float32, order="C").view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    return np.asarray(np.where(np.isnan(array), 0x7FC0, rounded), dtype=np.uint16)


def _bfloat16_array(value: Any) -> NDArray[np.float32]:
    """value: an OrtValue on the CPU, as those are that a run gives back."""
    if value.device_name() != "cpu":
        raise ValueError("the output is not in the memory of this process")
    bits = np.frombuffer(ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes()), dtype=np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(value.shape())


def _spec(node: Any, place: str) -> TensorSpec:
    """place: input or output, for the message. ONNX Runtime shows a shape of [] both for a scalar and for a tensor of
    unknown rank."""
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise AttemptFailed(
            "model_unsupported", f"the {place} {node.name[:64]!r} is a {node.type}, which jobs cannot carry"
        )
    shape = tuple(d if isinstance(d, int) else d or "" for d in cast("list[int | str | None]", node.shape))
    return TensorSpec(name=node.name, dtype=dtype, shape=shape)
