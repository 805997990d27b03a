"""The record of a job: what its hash keeps as one MessagePack array for the scripts to work with. Pure."""

from contextlib import suppress
from typing import Any

import msgspec

_Text = str | bool


class Record(msgspec.Struct, array_like=True, frozen=True):
    """False, or the end of the array, stands for nothing. Times: ms, as text. A script names a part as @FENCE."""

    state: str
    lane: str
    home: _Text
    version: int
    created: str
    ttl: int
    n: int
    attempt: int
    failures: int
    crashes: int
    subject: str
    tags: str
    entry: _Text
    recorded: int
    beat: int
    fence: _Text = False
    worker: _Text = False
    settled: _Text = False
    lease: int | bool = False
    started: _Text = False
    finished: _Text = False
    ran_alone: int | bool = False
    due: _Text = False
    deadline: _Text = False
    waiting: int | bool = False
    cancel: int | bool = False
    pause: int | bool = False
    suspect: int | bool = False
    replay_of: _Text = False
    retry_of: _Text = False
    retried_as: _Text = False
    long: int | bool = False


RECORD = Record.__struct_fields__
# The events of a timeline lie in the job's hash, each in the field of its number, until there are more than these, or
# one is long.
SHORT = tuple(str(n) for n in range(1, 9))
read_record = msgspec.msgpack.Decoder(Record).decode


# What reading something damaged may raise; the last of these where it is nested without end.
UNREADABLE = (msgspec.DecodeError, ValueError, KeyError, OverflowError, RecursionError)
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_TYPES = {field.name: field.type for field in msgspec.structs.fields(Record)}


def parts_of(data: object) -> dict[str, Any]:
    """As much of a record as can be read, whatever the rest is."""
    parts: dict[str, Any] = {}
    try:
        for name, part in zip(RECORD, _parts(data), strict=False):  # type: ignore[arg-type]
            with suppress(*UNREADABLE):
                parts[name] = msgspec.msgpack.decode(part, type=_TYPES[name])
    except (*UNREADABLE, TypeError):
        pass
    return parts


def record_of(data: object) -> dict[str, str]:
    """data: the record, or what Redis answered instead. What there is in it; nothing of a job that is not there, or
    whose record is damaged."""
    try:
        values = msgspec.structs.astuple(read_record(data)) if isinstance(data, bytes) else ()
    except UNREADABLE:
        return {}
    return {name: str(value) for name, value in zip(RECORD, values, strict=False) if value is not False}
