"""The record of a job: what its hash keeps as one MessagePack array for the scripts to work with. Pure."""

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
read_record = msgspec.msgpack.Decoder(Record).decode


def record_of(data: bytes | None) -> dict[str, str]:
    """What there is in a record; nothing of a job that is not there or whose record is damaged."""
    try:
        values = () if data is None else msgspec.structs.astuple(read_record(data))
    except msgspec.DecodeError:
        return {}
    return {name: str(value) for name, value in zip(RECORD, values, strict=False) if value is not False}
