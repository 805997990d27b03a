"""The record of a job: what its hash keeps as one MessagePack array for the scripts to work with. Pure."""

import msgspec

# Its parts, in this order; false, or the end of the array, stands for nothing. A script names a part in upper case.
RECORD = (
    "state", "lane", "home", "version", "created", "ttl", "n", "attempt", "failures", "crashes", "subject", "tags",
    "entry", "recorded", "beat", "fence", "worker", "settled", "lease", "started", "finished", "ran_alone", "due",
    "deadline", "waiting", "cancel", "pause", "suspect", "replay_of", "retry_of", "retried_as", "long",
)  # fmt: skip
_decode = msgspec.msgpack.Decoder(list[str | int | bool]).decode


def record_of(data: bytes | None) -> dict[str, str]:
    """What there is in a record; nothing of a job that is not there or whose record is damaged."""
    try:
        values = [] if data is None else _decode(data)
    except msgspec.DecodeError:
        return {}
    return {name: str(value) for name, value in zip(RECORD, values, strict=False) if value is not False}
