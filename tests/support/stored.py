"""What Redis keeps of a job, read and damaged by hand. For tests only: nothing else writes a job but the scripts."""

from collections.abc import Mapping
from typing import Any

import msgspec
from shared_schemas.ids import JobId
from shared_schemas.stream import keys
from shared_schemas.stream.record import RECORD_PARTS, SHORT_FIELDS
from shared_schemas.stream.stored_jobs import fields_of
from shared_schemas.stream.timeline import Entry, entries_in_hash


def entries_of(stored: Mapping[bytes, bytes], stream: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    """The timeline, from the hash of the job and from its stream."""
    if entries := entries_in_hash([stored.get(n.encode()) for n in SHORT_FIELDS]):
        return entries
    return [Entry(int(entry.split(b"-")[0]), row[b"event"].decode(), row[b"data"]) for entry, row in stream]


async def fields(client: Any, job_id: JobId) -> dict[str, bytes]:
    return fields_of(await client.hgetall(keys.job(job_id)))


async def patch(client: Any, job_id: JobId, **values: str | int) -> None:
    """Overwrite parts of the job's record."""
    record = msgspec.msgpack.decode(await client.hget(keys.job(job_id), "job"))
    record += [False] * (len(RECORD_PARTS) - len(record))
    for name, value in values.items():
        record[RECORD_PARTS.index(name)] = value
    await client.hset(keys.job(job_id), "job", msgspec.msgpack.encode(record))


async def make_long(client: Any, job_id: JobId) -> None:
    """Keep the job's timeline as a stream from now on, as if it had grown."""
    for entry in entries_in_hash(await client.hmget(keys.job(job_id), SHORT_FIELDS)):
        await client.xadd(keys.events(job_id), {"event": entry.event, "data": entry.data}, id=f"{entry.n}-0")
    await client.hdel(keys.job(job_id), *SHORT_FIELDS)
    await patch(client, job_id, long=1)
