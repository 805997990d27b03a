"""Reads the outline of an ONNX file before anything runs it: is every tensor inside the file itself?

A tensor may name another file by path, which ONNX Runtime would open: `../../etc/passwd`, or a hard link to it.
Stored models are one file, so any such tensor is refused here. The walk follows the field numbers of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and skips the bytes of tensors unread.
"""

import mmap
from pathlib import Path

from shared_schemas.errors import AttemptFailed

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
# message -> field number -> message of that field
_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}


def check_is_one_file(path: Path) -> None:
    """AttemptFailed: model_unsupported if a tensor lies outside the file, model_corrupt if it is not protobuf."""
    if path.stat().st_size == 0:
        raise _corrupt()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if _refers_outside(data):
            raise AttemptFailed("model_unsupported", "the model keeps tensors outside its file, which is refused")


def _refers_outside(data: mmap.mmap) -> bool:
    left = [("Model", 0, len(data))]
    while left:
        message, start, end = left.pop()
        position = start
        while position < end:
            key, position = _varint(data, position, end)
            number, wire_type = key >> 3, key & 7
            if wire_type == _VARINT:
                value, position = _varint(data, position, end)
                if message == "Tensor" and number == _DATA_LOCATION and value != 0:
                    return True
            elif wire_type == _LENGTH:
                length, position = _varint(data, position, end)
                if message == "Tensor" and number == _EXTERNAL_DATA:
                    return True
                if number in _CHILDREN[message]:
                    left.append((_CHILDREN[message][number], position, position + length))
                position += length
            elif wire_type in (_FIXED64, _FIXED32):
                position += 8 if wire_type == _FIXED64 else 4
            else:
                raise _corrupt()
        if position != end:
            raise _corrupt()
    return False


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """-> (value, position after it)."""
    value = shift = 0
    while position < end and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _corrupt()


def _corrupt() -> AttemptFailed:
    return AttemptFailed("model_corrupt", "the model file is not valid ONNX")
