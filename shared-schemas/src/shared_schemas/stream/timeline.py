"""The events of one job: reads its timeline from the hash or the stream, and decodes notifications.

Callers get events as stored bytes: nothing here decodes an event.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from shared_schemas.errors import JobUnreadable
from shared_schemas.ids import JobId, queue_of
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.damage import or_nothing
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import SHORT_FIELDS
from shared_schemas.stream.redis_errors import translate_errors
from shared_schemas.stream.transitions import set_of

# The attempts of one job that are read. A job can only have more after very many releases or pauses.
MOST_ATTEMPTS = 100
_NAME = re.compile(rb"[a-z_]+")


class Entry(msgspec.Struct, frozen=True):
    """One event. n: its number. event: its name. data: JSON with the stamp."""

    n: int
    event: str
    data: bytes


class Timeline:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def read(self, job_id: JobId, *, after: int, limit: int = 1000) -> list[Entry]:
        """Events after + 1, after + 2, …, at most `limit`. Empty past the end or for an unknown job."""
        with translate_errors():
            pipeline = self._nodes.of_job(job_id).pipeline(transaction=False)
            # In this order: what has left the hash is in the stream for good.
            pipeline.hmget(keys.job(job_id), SHORT_FIELDS)
            pipeline.xrange(keys.events(job_id), f"({after}-0", "+", limit)
            short, rows = or_nothing(await pipeline.execute(raise_on_error=False))
        entries = entries_in_hash(short or ())
        if entries:
            return [entry for entry in entries if entry.n > after][:limit]
        return _entries(rows or ())

    async def bounds(self, job_id: JobId) -> tuple[int, int]:
        """-> (number of the oldest stored event, number of the newest); (0, 0) if there is none.
        JobUnreadable if something is stored and none of it is an event: a reader must not take that
        for the end of the job."""
        with translate_errors():
            pipeline = self._nodes.of_job(job_id).pipeline(transaction=False)
            pipeline.hmget(keys.job(job_id), SHORT_FIELDS)
            pipeline.xrange(keys.events(job_id), "-", "+", 1)
            pipeline.xrevrange(keys.events(job_id), "+", "-", 1)
            short, first, last = or_nothing(await pipeline.execute(raise_on_error=False))
        entries = entries_in_hash(short or ())
        if entries:
            return entries[0].n, entries[-1].n
        if any(short or ()):
            raise JobUnreadable("the job's timeline is damaged")
        if not first or not last:
            return 0, 0
        return _number(first[0]), _number(last[0])

    async def read_attempts(self, job_id: JobId) -> list[bytes]:
        """The events, as stored, at which the newest MOST_ATTEMPTS attempts of the job began and
        ended. Reads few events even of a long timeline. For attempts.attempts_of."""
        rows = await scripts.call(
            self._nodes.of_job(job_id),
            "attempts",
            keys.tag(queue_of(job_id)),
            {"id": job_id, "limit": MOST_ATTEMPTS, "changes": set_of(("state", "done"))},
        )
        return list(rows)


def entries_in_notification(payload: bytes) -> list[Entry]:
    """payload: of a message on the job's channel."""
    entries = []
    for line in payload.split(b"\n"):
        n, event, data = line.split(b" ", 2)
        entries.append(Entry(int(n), event.decode(), data))
    return entries


def entries_in_hash(fields: Sequence[bytes | None]) -> list[Entry]:
    """fields: the values of SHORT_FIELDS in the job's hash. Empty if the timeline has moved into its stream. Leaves out
    what is not an event."""
    entries = []
    for n, change in enumerate(fields, 1):
        event, _, data = (change or b"").partition(b" ")
        if data and _NAME.fullmatch(event):
            entries.append(Entry(n, event.decode(), data))
    return entries


def _entries(rows: Sequence[Any]) -> list[Entry]:
    """Leaves out what no script wrote."""
    return [
        Entry(_number((entry, fields)), fields[b"event"].decode(), fields[b"data"])
        for entry, fields in rows
        if fields and _NAME.fullmatch(fields.get(b"event", b"")) and b"data" in fields and entry.endswith(b"-0")
    ]


def _number(row: Any) -> int:
    return int(row[0].split(b"-")[0])
