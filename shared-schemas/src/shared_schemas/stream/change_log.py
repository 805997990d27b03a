"""The log of a queue: every change of state of its jobs, in one capped stream.

Callers get events as stored bytes: nothing here decodes an event.
"""

import re
from collections.abc import Mapping
from itertools import dropwhile, islice

import msgspec

from shared_schemas.ids import JobId, QueueName, is_job_id, queue_of
from shared_schemas.stream import keys
from shared_schemas.stream.damage import reply_of
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_errors import translate_errors

_CHANGE = re.compile(rb"[a-z_]+ ")


class LogEntry(msgspec.Struct, frozen=True):
    """One change of state of any job. id: `<ms>-<n>` of the log's stream, by Redis' clock."""

    id: str
    job_id: JobId
    event: str
    data: bytes

    @property
    def queue(self) -> QueueName:
        return queue_of(self.job_id)


class ChangeLog:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def keep(self, queue: QueueName, length: int) -> None:
        """Let the queue's log keep about so many changes. Holds for every process that writes to
        it."""
        with translate_errors():
            await self._nodes.of_queue(queue).set(keys.log_length(queue), length)

    async def read(self, queue: QueueName, *, after: str = "0-0", limit: int = 1000) -> list[LogEntry]:
        """Changes of state of all jobs of the queue after the entry `after`, at most `limit`."""
        with translate_errors():
            rows = await reply_of(self._nodes.of_queue(queue).xrange(keys.log(queue), f"({after}", "+", limit)) or ()
        # The first entry may have changes up to `after` as well.
        entries = (entry for row in rows for entry in log_entries_in_stream(*row))
        return list(
            islice(dropwhile(lambda entry: parse_stream_id(entry.id) <= parse_stream_id(after), entries), limit)
        )

    async def count_lost(self, queue: QueueName) -> int:
        """How many changes of the queue its log no longer keeps."""
        with translate_errors():
            rows = await reply_of(self._nodes.of_queue(queue).xrange(keys.log(queue), "-", "+", 1)) or ()
        return sum(int(fields[b"count"]) - len(log_entries_in_stream(entry, fields)) for entry, fields in rows)

    async def end(self, queue: QueueName) -> str:
        """The id of the newest entry of the log, 0-0 if there is none."""
        with translate_errors():
            rows = await reply_of(self._nodes.of_queue(queue).xrevrange(keys.log(queue), "+", "-", 1))
        return rows[0][0].decode() if rows else "0-0"


def log_entries_in_stream(entry: bytes, fields: Mapping[bytes, bytes]) -> list[LogEntry]:
    """One entry of the stream holds several changes, and has the id of the last one. Leaves out what is not a
    change."""
    ms, last = parse_stream_id(entry.decode())
    changes = fields.get(b"changes", b"").split(b"\n")
    n = last - len(changes) // 2
    return [
        _log_entry(b"%d-%d" % (ms, n + i), job_id, change)
        for i, (job_id, change) in enumerate(zip(changes[::2], changes[1::2], strict=False), 1)
        if is_job_id(job_id.decode(errors="replace")) and _CHANGE.match(change)
    ]


def log_entries_in_notification(payload: bytes) -> list[LogEntry]:
    """payload: of a message on the log's channel."""
    entries = []
    for line in payload.split(b"\n"):
        entry, job_id, change = line.split(b" ", 2)
        entries.append(_log_entry(entry, job_id, change))
    return entries


def parse_stream_id(entry_id: str) -> tuple[int, int]:
    """entry_id: `<ms>-<n>`. -> (ms, n), which sort as the entries do."""
    ms, _, n = entry_id.partition("-")
    return int(ms), int(n)


def _log_entry(entry: bytes, job_id: bytes, change: bytes) -> LogEntry:
    event, data = change.split(b" ", 1)
    return LogEntry(entry.decode(), JobId(job_id.decode()), event.decode(), data)
