"""Tensors as bytes: the sizes of their values, and strings with their lengths. Pure, without numpy.

A tensor is little-endian and in row-major order. A boolean is a byte, 0 or 1. A string is its length in UTF-8, as an
unsigned integer of 4 bytes, and then its UTF-8. The binary extension of the Open Inference Protocol has the same form.
"""

import binascii
import struct
from collections.abc import Iterable

from shared_schemas.models import Dtype

# Bytes of a value. A string has none: its size differs.
SIZES: dict[Dtype, int] = {
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "bool": 1,
}
_LENGTH = struct.Struct("<I")


def bytes_of_base64(text: str) -> bytes:
    """ValueError unless it is base64 of the standard alphabet, with its padding."""
    return binascii.a2b_base64(text, strict_mode=True)


def is_of_size(data: bytes, dtype: Dtype, n_values: int) -> bool:
    """Whether the data has so many values. dtype: not string."""
    return len(data) == n_values * SIZES[dtype]


def are_booleans(data: bytes) -> bool:
    return not data.translate(None, b"\0\1")


def strings_of(data: bytes) -> list[str]:
    """ValueError if the data ends within a string, or a string is not UTF-8."""
    return [part.decode() for part in parts_of(data)]


def parts_of(data: bytes) -> list[bytes]:
    """What follows each length. ValueError if the data ends within a part."""
    parts, at, end = list[bytes](), 0, len(data)
    while at < end:
        if end - at < _LENGTH.size:
            raise ValueError("the data ends within a length")
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > end:
            raise ValueError("the data ends within a part")
        parts.append(data[start:at])
    return parts


def bytes_of_strings(strings: Iterable[str]) -> bytes:
    parts = list[bytes]()
    for each in strings:
        encoded = each.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)
