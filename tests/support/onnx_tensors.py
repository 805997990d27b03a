"""Models of the task tensors: their signature as a publisher reads it from the file, and their tensors in JSON, written
here without the code that is tested."""

from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from shared_schemas.models import Dtype, Model, ModelManifest, TensorSpec
from shared_schemas.store.files import ArtifactStore

Array = NDArray[Any]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
_ONNX_NAMES = {"float32": "FLOAT", "float64": "DOUBLE"}
ONNX_TYPES = {getattr(TensorProto, _ONNX_NAMES.get(dtype, dtype.upper())): dtype for dtype in DTYPES}


def onnx_type(dtype: Dtype) -> int:
    return next(number for number, name in ONNX_TYPES.items() if name == dtype)


def numpy_type(dtype: Dtype) -> Any:
    return {"bfloat16": ml_dtypes.bfloat16, "string": np.object_}.get(dtype, dtype)


def identity(dtype: Dtype, shape: Sequence[int | str | None] | None = ("n",)) -> bytes:
    """x -> y, the same."""
    node = helper.make_node("Identity", ["x"], ["y"])
    infos = [helper.make_tensor_value_info(name, onnx_type(dtype), shape) for name in "xy"]
    return graph([node], infos[:1], infos[1:])


def graph(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
) -> bytes:
    made = helper.make_graph(nodes, "graph", inputs, outputs)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def signature(model: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """-> (inputs, outputs). KeyError for what is no tensor of a dtype that jobs carry."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in constants]
    return tuple(map(_spec, inputs)), tuple(map(_spec, model.graph.output))


def _spec(info: onnx.ValueInfoProto) -> TensorSpec:
    if not info.type.HasField("tensor_type"):
        raise KeyError(info.name)
    tensor = info.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim]
    shape = tuple(sizes) if tensor.HasField("shape") else None
    return TensorSpec(name=info.name, dtype=ONNX_TYPES[tensor.elem_type], shape=shape)


def a_tensor_model(
    store: ArtifactStore,
    onnx_file: bytes,
    *,
    name: str = "model",
    batch_axis: str | None = None,
    inputs: tuple[TensorSpec, ...] | None = None,
    outputs: tuple[TensorSpec, ...] | None = None,
) -> Model:
    """As the registry would describe it. inputs, outputs: those of the file if not given."""
    if inputs is None or outputs is None:
        inputs, outputs = signature(onnx.load_from_string(onnx_file))
    manifest = ModelManifest(
        task="tensors",
        model_type="test",
        onnx=store.put_bytes(onnx_file),
        inputs=inputs,
        outputs=outputs,
        batch_axis=batch_axis,
    )
    made_by = "training-01arz3ndektsv4rrffq69g5fav"
    return Model(name=name, version=1, job_id=made_by, created_at=datetime.now(UTC), aliases=(), manifest=manifest)


def written(array: Array, *, nested: bool) -> Any:
    """A tensor in JSON, in either form."""
    values = [_value(each) for each in array.reshape(-1).tolist()]
    if not nested:
        return {"shape": list(array.shape), "data": values}
    boxed = np.empty(array.size, dtype=np.object_)
    boxed[:] = values
    return boxed.reshape(array.shape).tolist()


def in_bytes(array: Array, dtype: Dtype) -> bytes:
    """The bytes of a tensor, little-endian and in row-major order."""
    if dtype != "string":
        return np.ascontiguousarray(array.astype(numpy_type(dtype))).tobytes()
    texts = [str(each).encode() for each in array.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def read(tensor: Any) -> Array:
    """An output of an answer."""
    dtype = tensor["dtype"]
    if "base64" in tensor:
        return _from_bytes(b64decode(tensor["base64"]), dtype).reshape(tensor["shape"])
    values = [float(each) if isinstance(each, str) and dtype != "string" else each for each in tensor["data"]]
    array = np.empty(len(values), dtype=numpy_type(dtype))
    array[:] = values
    return array.reshape(tensor["shape"])


def _from_bytes(data: bytes, dtype: Dtype) -> Array:
    if dtype != "string":
        return np.frombuffer(data, dtype=numpy_type(dtype))
    texts = list[str]()
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        texts.append(data[4:end].decode())
        data = data[end:]
    return np.array(texts, dtype=np.object_)


def _value(value: Any) -> Any:
    """As one number of JSON. Those of ml_dtypes come as themselves."""
    if isinstance(value, bool | int | str):
        return value
    number = float(value)
    if np.isfinite(number):
        return number
    return "NaN" if np.isnan(number) else "Infinity" if number > 0 else "-Infinity"
