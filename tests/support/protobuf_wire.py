"""Other encodings of the same protobuf message: longer varints, unknown fields and groups, messages
in parts."""

import random

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_VARINT, _LENGTH, _START_GROUP, _END_GROUP = 0, 2, 3, 4
_LONGEST_TAG, _LONGEST_VARINT = 5, 10


def varint(value: int, *, n_bytes: int = 1) -> bytes:
    """The varint in n_bytes, or in more if it needs more."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    groups += [0] * (n_bytes - len(groups))
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def tag(number: int, wire_type: int, *, n_bytes: int = 1) -> bytes:
    return varint(number << 3 | wire_type, n_bytes=n_bytes)


def other_encoding(message: Message, rng: random.Random) -> bytes:
    """Bytes that every parser decodes to the same message, except for unknown fields."""
    written = b""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        written += b"".join(_field(field, each, rng) for each in values)
        written += _unknown(rng)
    return written


def _field(field: FieldDescriptor, value: object, rng: random.Random) -> bytes:
    if not isinstance(value, Message):
        return _scalar(field, value, rng)
    body = [other_encoding(value, rng)]
    if not field.is_repeated and rng.random() < 0.5:
        # Parsers merge the parts. The second has the fields that are missing in the first.
        first, second = type(value)(), type(value)()
        for part, _ in value.ListFields():
            rng.choice((first, second)).MergeFrom(_only(value, part))
        body = [other_encoding(first, rng), other_encoding(second, rng)]
    return b"".join(_delimited(field.number, part, rng) for part in body)


def _only(message: Message, field: FieldDescriptor) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    for other, _ in message.ListFields():
        if other.number != field.number:
            copy.ClearField(other.name)
    return copy


def _scalar(field: FieldDescriptor, value: object, rng: random.Random) -> bytes:
    if isinstance(value, str):
        return _delimited(field.number, value.encode(), rng)
    if isinstance(value, bytes):
        return _delimited(field.number, value, rng)
    if isinstance(value, int) and field.cpp_type != FieldDescriptor.CPPTYPE_FLOAT:
        n_bytes = rng.randint(1, _LONGEST_VARINT)
        return _tag(field.number, _VARINT, rng) + varint(value & (1 << 64) - 1, n_bytes=n_bytes)
    raise TypeError(f"{field.full_name}: a kind that the models of these tests have not")


def _unknown(rng: random.Random) -> bytes:
    number = rng.choice((60, 999, 1 << 20))
    inside = _delimited(13, b"location", rng) + _tag(14, _VARINT, rng) + varint(1)
    match rng.randrange(12):
        case 0:
            return _delimited(number, inside, rng)
        case 1:
            return _tag(number, _VARINT, rng) + varint(1, n_bytes=rng.randint(1, _LONGEST_VARINT))
        case 2:
            return _tag(number, _START_GROUP, rng) + inside + _tag(number, _END_GROUP, rng)
        case 3:
            return _tag(number, 5, rng) + bytes(4) + _tag(number, 1, rng) + bytes(8)
        case _:
            return b""


def _delimited(number: int, body: bytes, rng: random.Random) -> bytes:
    return _tag(number, _LENGTH, rng) + varint(len(body), n_bytes=rng.randint(1, _LONGEST_TAG)) + body


def _tag(number: int, wire_type: int, rng: random.Random) -> bytes:
    return tag(number, wire_type, n_bytes=rng.randint(1, _LONGEST_TAG))
