"""The field `job` of a stored job: a MessagePack array with the parts that the scripts need to change the job.

Pure: it is given what Redis keeps, and reads nothing itself. `stored_jobs` has the other fields.
"""

from contextlib import suppress
from typing import Any

import msgspec

_Text = str | bool


class PackedJob(msgspec.Struct, array_like=True, frozen=True):
    """False, or the end of the array, means that the part has no value. Times: ms, as text. In Lua, @FENCE stands for
    the place of the part `fence`."""

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


JOB_PARTS = PackedJob.__struct_fields__
# A short timeline is in the job's hash, each event in the field of its number. A timeline with more events, or with a
# long one, is in a stream.
SHORT_FIELDS = tuple(str(n) for n in range(1, 9))
# The longest event that such a field holds. A stream takes 4 KiB at least, however short it is.
SHORT_BYTES = 1024
decode_packed_job = msgspec.msgpack.Decoder(PackedJob).decode


# What decoding a damaged job can raise. RecursionError: it is nested too deeply.
UNREADABLE = (msgspec.DecodeError, ValueError, KeyError, OverflowError, RecursionError)
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_TYPES = {field.name: field.type for field in msgspec.structs.fields(PackedJob)}


def readable_parts(data: object) -> dict[str, Any]:
    """The parts that can be read. data: possibly damaged."""
    parts: dict[str, Any] = {}
    try:
        for name, part in zip(JOB_PARTS, _parts(data), strict=False):  # type: ignore[arg-type]
            with suppress(*UNREADABLE):
                parts[name] = msgspec.msgpack.decode(part, type=_TYPES[name])
    except (*UNREADABLE, TypeError):
        pass
    return parts


def parts_as_text(data: object) -> dict[str, str]:
    """data: the field `job`, or what Redis answered instead. -> the parts that have a value. Empty if there is no such
    job, or it is damaged."""
    try:
        values = msgspec.structs.astuple(decode_packed_job(data)) if isinstance(data, bytes) else ()
    except UNREADABLE:
        return {}
    return {name: str(value) for name, value in zip(JOB_PARTS, values, strict=False) if value is not False}
