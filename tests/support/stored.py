"""Reads and damages a stored job by hand. For tests only: elsewhere, only the scripts write jobs."""

from collections.abc import Mapping
from typing import Any

import msgspec
from shared_schemas.ids import JobId
from shared_schemas.stream import keys
from shared_schemas.stream.packed_job import JOB_PARTS, SHORT_FIELDS
from shared_schemas.stream.stored_jobs import fields_of
from shared_schemas.stream.timeline import Entry, entries_in_hash


def entries_of(stored: Mapping[bytes, bytes], stream: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    """The timeline, from the job's hash or from its stream."""
    if entries := entries_in_hash([stored.get(n.encode()) for n in SHORT_FIELDS]):
        return entries
    return [Entry(int(entry.split(b"-")[0]), row[b"event"].decode(), row[b"data"]) for entry, row in stream]


async def fields(client: Any, job_id: JobId) -> dict[str, bytes]:
    return fields_of(await client.hgetall(keys.job(job_id)))


async def patch(client: Any, job_id: JobId, **values: str | int) -> None:
    """Overwrite parts of the stored job."""
    parts = msgspec.msgpack.decode(await client.hget(keys.job(job_id), "job"))
    parts += [False] * (len(JOB_PARTS) - len(parts))
    for name, value in values.items():
        parts[JOB_PARTS.index(name)] = value
    await client.hset(keys.job(job_id), "job", msgspec.msgpack.encode(parts))


async def make_long(client: Any, job_id: JobId) -> None:
    """Move the job's timeline into a stream, as if it had grown."""
    for entry in entries_in_hash(await client.hmget(keys.job(job_id), SHORT_FIELDS)):
        await client.xadd(keys.events(job_id), {"event": entry.event, "data": entry.data}, id=f"{entry.n}-0")
    await client.hdel(keys.job(job_id), *SHORT_FIELDS)
    await patch(client, job_id, long=1)
