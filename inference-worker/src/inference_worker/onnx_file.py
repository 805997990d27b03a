"""Checks, before anything runs an ONNX file, that all of its tensors are inside the file. It imports no ONNX library.

A tensor may name another file by path, and ONNX Runtime would open it: `../../etc/passwd`, or a hard link to it. A
stored model is one file, so a model with such a tensor is refused here. The walk follows the field numbers of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and skips the contents of tensors. It accepts and refuses the
same encodings as the protobuf of ONNX Runtime, https://protobuf.dev/programming-guides/encoding/. In one way it is
stricter: a reference counts even if a later field replaces it.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from shared_schemas.errors import AttemptFailed

from inference_worker.file_kinds import HEAD_BYTES, kind_of

VARINT, _FIXED64, LENGTH, _START_GROUP, _END_GROUP, _FIXED32 = range(6)
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
# The longest tag or length, and the longest value, in bytes; the deepest nesting of groups. All are protobuf's limits.
_LONGEST_TAG, _LONGEST_VARINT, _DEEPEST = 5, 10, 100
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
# The largest message that protobuf reads.
_MOST_BYTES = (1 << 31) - 1
# Message -> field number -> message of that field.
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


def check_size(n_bytes: int) -> None:
    """Of the file. AttemptFailed model_corrupt."""
    if n_bytes == 0:
        raise AttemptFailed("model_corrupt", "the model file is empty")
    if n_bytes > _MOST_BYTES:
        raise AttemptFailed("model_corrupt", "the model file is larger than 2 GiB, and ONNX reads no such file")


def check_is_one_file(path: Path) -> None:
    """AttemptFailed: model_unsupported if a tensor is outside the file, model_corrupt if the file is not protobuf."""
    check_size(path.stat().st_size)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            refers_outside = _refers_outside(data)
        except AttemptFailed as error:
            raise not_onnx(path) from error
    if refers_outside:
        raise AttemptFailed("model_unsupported", "the model keeps tensors outside its file, which is refused")


def not_onnx(path: Path) -> AttemptFailed:
    """The error for a file that is not valid ONNX. It says what the file is, if its beginning shows that."""
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES))
    what = "" if kind is None else f"; it is {kind}"
    return AttemptFailed("model_corrupt", f"the model file is not valid ONNX{what}")


def _refers_outside(data: mmap.mmap) -> bool:
    # A message may be split into parts, of which a later one overrides an earlier one. All of them are checked.
    left = [("Model", 0, len(data))]
    while left:
        message, start, end = left.pop()
        for number, wire_type, value, after in fields(data, start, end):
            if message == "Tensor" and number == _DATA_LOCATION and wire_type == VARINT and value != 0:
                return True
            if message == "Tensor" and number == _EXTERNAL_DATA and wire_type == LENGTH:
                return True
            if wire_type == LENGTH and number in _CHILDREN[message]:
                left.append((_CHILDREN[message][number], value, after))
    return False


def fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of one message. -> (field number, wire type, the value of a VARINT or else where the
    contents begin, where they end). AttemptFailed model_corrupt."""
    position = start
    while position < end:
        number, wire_type, begin = _tag(data, position, end)
        if wire_type == VARINT:
            value, position = _varint(data, begin, end, most_bytes=_LONGEST_VARINT)
        elif wire_type == LENGTH:
            length, value = _length_at(data, begin, end)
            position = value + length
        elif wire_type == _START_GROUP:
            # ONNX has no group fields, so this one is unknown, and so is everything in it.
            value, position = begin, _after_group(data, begin, end, number)
        else:
            value, position = begin, _after_fixed(begin, end, wire_type)
        yield number, wire_type, value, position


def _tag(data: mmap.mmap, position: int, end: int) -> tuple[int, int, int]:
    """-> (field number, wire type, position after it)."""
    key, position = _varint(data, position, end, most_bytes=_LONGEST_TAG)
    # The protobuf of ONNX Runtime ignores bits above 32; that of Python refuses such a file.
    number, wire_type = (key & 0xFFFFFFFF) >> 3, key & 7
    if number == 0:
        raise _corrupt()
    return number, wire_type, position


def _length_at(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """-> (length of what follows, position after the length)."""
    length, position = _varint(data, position, end, most_bytes=_LONGEST_TAG)
    if length > end - position:
        raise _corrupt()
    return length, position


def _after_fixed(position: int, end: int, wire_type: int) -> int:
    if wire_type not in _FIXED_BYTES or position + _FIXED_BYTES[wire_type] > end:
        raise _corrupt()
    return position + _FIXED_BYTES[wire_type]


def _after_group(data: mmap.mmap, position: int, end: int, number: int) -> int:
    open_groups = [number]
    while open_groups:
        number, wire_type, position = _tag(data, position, end)
        if wire_type == _START_GROUP and len(open_groups) < _DEEPEST:
            open_groups.append(number)
        elif wire_type == _END_GROUP and number == open_groups[-1]:
            open_groups.pop()
        elif wire_type == VARINT:
            _, position = _varint(data, position, end, most_bytes=_LONGEST_VARINT)
        elif wire_type == LENGTH:
            length, position = _length_at(data, position, end)
            position += length
        else:
            position = _after_fixed(position, end, wire_type)
    return position


def _varint(data: mmap.mmap, position: int, end: int, *, most_bytes: int) -> tuple[int, int]:
    """-> (value, position after it). A value may be padded to most_bytes."""
    value = shift = 0
    end = min(end, position + most_bytes)
    while position < end:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _corrupt()


def _corrupt() -> AttemptFailed:
    return AttemptFailed("model_corrupt", "the model file is not valid ONNX")
