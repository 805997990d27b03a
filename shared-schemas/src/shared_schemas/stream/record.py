"""The record of a job: a MessagePack array in its hash, with what the scripts need to change the job. Pure."""

from contextlib import suppress
from typing import Any

import msgspec

_Text = str | bool


class JobRecord(msgspec.Struct, array_like=True, frozen=True):
    """False, or the end of the array, means that the part has no value. Times: ms, as text. A script names a part with
    a mark, as in @FENCE."""

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


RECORD_PARTS = JobRecord.__struct_fields__
# A short timeline is in the job's hash, each event in the field of its number. A timeline with more events, or with a
# long one, is in a stream.
SHORT_FIELDS = tuple(str(n) for n in range(1, 9))
# Of the longest event that such a field holds. A stream of its own takes 4 KiB, however short it is.
SHORT_BYTES = 1024
decode_record = msgspec.msgpack.Decoder(JobRecord).decode


# What decoding a damaged record can raise. RecursionError: it is nested too deeply.
UNREADABLE = (msgspec.DecodeError, ValueError, KeyError, OverflowError, RecursionError)
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_TYPES = {field.name: field.type for field in msgspec.structs.fields(JobRecord)}


def readable_parts(data: object) -> dict[str, Any]:
    """The parts of a record that can be read. data: possibly damaged."""
    parts: dict[str, Any] = {}
    try:
        for name, part in zip(RECORD_PARTS, _parts(data), strict=False):  # type: ignore[arg-type]
            with suppress(*UNREADABLE):
                parts[name] = msgspec.msgpack.decode(part, type=_TYPES[name])
    except (*UNREADABLE, TypeError):
        pass
    return parts


def record_fields(data: object) -> dict[str, str]:
    """data: the record, or what Redis answered instead. -> the parts that have a value. Empty if there is no such job,
    or its record is damaged."""
    try:
        values = msgspec.structs.astuple(decode_record(data)) if isinstance(data, bytes) else ()
    except UNREADABLE:
        return {}
    return {name: str(value) for name, value in zip(RECORD_PARTS, values, strict=False) if value is not False}
