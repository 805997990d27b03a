"""Reading what happened: one job's timeline, the log of all jobs, and the doorbells that announce both.

Entries are handed on as stored bytes; nothing here decodes an event.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import dropwhile, islice
from typing import Any

import hiredis
import msgspec
from redis.exceptions import ConnectionError, InvalidResponse, ResponseError

from shared_schemas.errors import BackendUnavailable, JobUnreadable
from shared_schemas.ids import JobId, QueueName, is_job_id, queue_of
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.damage import or_nothing, reply_of
from shared_schemas.stream.record import SHORT
from shared_schemas.stream.redis_errors import translated
from shared_schemas.stream.transitions import set_of

# Of one job; only releases and pauses without end can make more.
MOST_ATTEMPTS = 100
_READ_BYTES = 1 << 16
_NAME, _CHANGE = re.compile(rb"[a-z_]+"), re.compile(rb"[a-z_]+ ")


class Entry(msgspec.Struct, frozen=True):
    """One event. n: its number. event: its name. data: JSON with the stamp."""

    n: int
    event: str
    data: bytes


class LogEntry(msgspec.Struct, frozen=True):
    """One change of state of any job. id: `<ms>-<n>` of the log's stream, by Redis' clock."""

    id: str
    job_id: JobId
    event: str
    data: bytes

    @property
    def queue(self) -> QueueName:
        return queue_of(self.job_id)


class Timeline:
    def __init__(self, client: AsyncRedis) -> None:
        self._client = client

    async def read(self, job_id: JobId, *, after: int, limit: int = 1000) -> list[Entry]:
        """Events after + 1, after + 2, …, at most `limit`. Empty past the end or for an unknown job."""
        with translated():
            pipeline = self._client.pipeline(transaction=False)
            # In this order: what has left the hash is in the stream for good.
            pipeline.hmget(keys.job(job_id), SHORT)
            pipeline.xrange(keys.events(job_id), f"({after}-0", "+", limit)
            short, rows = or_nothing(await pipeline.execute(raise_on_error=False))
        entries = entries_in_hash(short or ())
        if entries:
            return [entry for entry in entries if entry.n > after][:limit]
        return _entries(rows or ())

    async def bounds(self, job_id: JobId) -> tuple[int, int]:
        """-> (number of the oldest event kept, number of the newest); (0, 0) if there is none. JobUnreadable where
        something is kept and nothing of it is an event: the job has not ended for whoever follows it."""
        with translated():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hmget(keys.job(job_id), SHORT)
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
        """The events, as stored, at which the attempts of the job began and ended, the newest MOST_ATTEMPTS; few,
        however long the timeline. For attempts.attempts_of."""
        rows = await scripts.call(
            self._client,
            "attempts",
            keys.tag(queue_of(job_id)),
            {"id": job_id, "limit": MOST_ATTEMPTS, "changes": set_of(("state", "done"))},
        )
        return list(rows)

    async def read_log(self, queue: QueueName, *, after: str = "0-0", limit: int = 1000) -> list[LogEntry]:
        """Changes of state of all jobs of the queue after the entry `after`."""
        with translated():
            rows = await reply_of(self._client.xrange(keys.log(queue), f"({after}", "+", limit)) or ()
        # `after` may lie in the middle of the first.
        entries = (entry for row in rows for entry in log_entries_of(*row))
        return list(islice(dropwhile(lambda entry: place_of(entry.id) <= place_of(after), entries), limit))

    async def log_lost(self, queue: QueueName) -> int:
        """How many changes of the queue are no longer kept in its log."""
        with translated():
            rows = await reply_of(self._client.xrange(keys.log(queue), "-", "+", 1)) or ()
        return sum(int(fields[b"count"]) - len(log_entries_of(entry, fields)) for entry, fields in rows)

    async def log_end(self, queue: QueueName) -> str:
        """The id of the newest entry of the log, 0-0 if there is none."""
        with translated():
            rows = await reply_of(self._client.xrevrange(keys.log(queue), "+", "-", 1))
        return rows[0][0].decode() if rows else "0-0"


class Doorbells:
    """One subscription connection, shared by all who wait in this process.

    Use it as an async context. Any error of the line ends `rings` with BackendUnavailable, and so does a peer that
    answers no ping or is no longer the master: open a new one, add the channels again, and read what was missed from
    the timeline.
    """

    def __init__(self, client: AsyncRedis) -> None:
        # A plain connection, not the client library's subscription: that one connects again by itself from whichever
        # task noticed first, and two tasks would then shake hands on one line at the same time.
        self._connection: Any = client.connection_pool.make_connection()
        self._patience_s: float = self._connection.socket_timeout
        self._replies = hiredis.Reader(protocolError=InvalidResponse, replyError=ResponseError)
        self._is_cut = False

    async def __aenter__(self) -> "Doorbells":
        try:
            with translated():
                await self._connection.connect()
        except BaseException:
            await self._connection.disconnect(nowait=True)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.disconnect(nowait=True)

    async def add(self, *channels: str) -> None:
        """Ask for channels; each is confirmed by a ring of None from `rings`."""
        await self._send("SUBSCRIBE", *channels)

    async def remove(self, *channels: str) -> None:
        await self._send("UNSUBSCRIBE", *channels)

    async def rings(self) -> AsyncIterator[tuple[str, bytes | None]]:
        """(channel, payload) as they come; payload None: the channel is now subscribed. At least one channel
        must have been added."""
        has_pinged = False
        while True:
            replies = await self._read()
            if self._connection.is_stale:
                self._is_cut = True
                raise BackendUnavailable("Redis is another one now (the subscription was of the one before)")
            if not replies and has_pinged:
                raise BackendUnavailable("Redis does not answer (the subscription is silent)")
            if not replies:
                await self._send("PING")
            has_pinged = not replies
            for reply in replies:
                match reply:
                    case [b"message", bytes(channel), payload]:
                        yield channel.decode(), payload
                    case [b"subscribe", bytes(channel), _]:
                        yield channel.decode(), None

    async def _read(self) -> list[Any]:
        """All that has come, at least one; none after a silence."""
        try:
            with translated():
                return await self._replies_within(self._patience_s)
        except BackendUnavailable:
            self._is_cut = True
            raise

    async def _replies_within(self, patience_s: float) -> list[Any]:
        # Not through the client library, whose reading costs more a ring than all that is done with it; nor is the line
        # closed here, where it would go from under a command being sent.
        try:
            async with asyncio.timeout(patience_s):
                while not (replies := self._parsed()):
                    # Whoever sends on a line that was cut closes it.
                    reader = self._connection._reader
                    data = await reader.read(_READ_BYTES) if reader is not None else b""
                    if not data:
                        raise ConnectionError("the line was closed")
                    self._replies.feed(data)
                return replies
        except TimeoutError:
            return []

    def _parsed(self) -> list[Any]:
        replies = []
        while (reply := self._replies.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            replies.append(reply)
        return replies

    async def _send(self, *command: str) -> None:
        # Sending on a line that is not connected, or is stale, would connect it anew, with no channels.
        if self._is_cut or not self._connection.is_connected or self._connection.is_stale:
            raise BackendUnavailable("Redis does not answer (the subscription was cut)")
        with translated():
            await self._connection.send_command(*command, check_health=False)


def entries_of_ring(payload: bytes) -> list[Entry]:
    """The numbered events that a ring of a job's bell carries."""
    entries = []
    for line in payload.split(b"\n"):
        n, event, data = line.split(b" ", 2)
        entries.append(Entry(int(n), event.decode(), data))
    return entries


def entries_in_hash(fields: Sequence[bytes | None]) -> list[Entry]:
    """fields: of SHORT, as the job's hash has them. Empty where the timeline has moved into its stream. What is no
    event is left out."""
    entries = []
    for n, change in enumerate(fields, 1):
        event, _, data = (change or b"").partition(b" ")
        if data and _NAME.fullmatch(event):
            entries.append(Entry(n, event.decode(), data))
    return entries


def log_entries_of(entry: bytes, fields: Mapping[bytes, bytes]) -> list[LogEntry]:
    """The changes that an entry of the log's stream holds: it has the id of the last. What is none is left out."""
    ms, last = place_of(entry.decode())
    changes = fields.get(b"changes", b"").split(b"\n")
    n = last - len(changes) // 2
    return [
        _log_entry(b"%d-%d" % (ms, n + i), job_id, change)
        for i, (job_id, change) in enumerate(zip(changes[::2], changes[1::2], strict=False), 1)
        if is_job_id(job_id.decode(errors="replace")) and _CHANGE.match(change)
    ]


def log_entries_of_ring(payload: bytes) -> list[LogEntry]:
    """The entries that a ring of the log's bell carries."""
    entries = []
    for line in payload.split(b"\n"):
        entry, job_id, change = line.split(b" ", 2)
        entries.append(_log_entry(entry, job_id, change))
    return entries


def place_of(entry_id: str) -> tuple[int, int]:
    """An id of a stream, `<ms>-<n>`, as what orders it."""
    ms, _, n = entry_id.partition("-")
    return int(ms), int(n)


def _log_entry(entry: bytes, job_id: bytes, change: bytes) -> LogEntry:
    event, data = change.split(b" ", 1)
    return LogEntry(entry.decode(), JobId(job_id.decode()), event.decode(), data)


def _entries(rows: Sequence[Any]) -> list[Entry]:
    """What no script wrote into a timeline is left out."""
    return [
        Entry(_number((entry, fields)), fields[b"event"].decode(), fields[b"data"])
        for entry, fields in rows
        if fields and _NAME.fullmatch(fields.get(b"event", b"")) and b"data" in fields and entry.endswith(b"-0")
    ]


def _number(row: Any) -> int:
    return int(row[0].split(b"-")[0])
