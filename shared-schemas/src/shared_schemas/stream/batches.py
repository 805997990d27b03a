"""Batches: what is noted of their lines, how many of their jobs are in each state, and which have ended.

The jobs of a batch are ordinary jobs with consecutive ids. What is kept of a batch itself says how far its lines have
been stored, so that an interrupted upload goes on there. Knows no HTTP and no form of a line.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import msgspec

from shared_schemas.batches import Batch, BatchState
from shared_schemas.errors import BatchNotFound
from shared_schemas.ids import JobId, QueueName, batch_id_of, is_job_id, job_of_line, queue_of
from shared_schemas.job import JobState
from shared_schemas.lifecycle import from_ms
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.damage import or_nothing, reply_of
from shared_schemas.stream.idempotency import IDEMPOTENCY_TTL_MS, KEYS_OF
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import parts_as_text
from shared_schemas.stream.redis_errors import translate_errors

KEEP_MS = 30 * 86_400_000
MOST_LINES = 1_000_000
_MOST_LISTED = 100
_STATES = tuple(JobState)


class Noted(msgspec.Struct, frozen=True):
    """What Redis has of the upload. lines: how many were stored. digest: SHA-256 of them, in hex. models: JSON."""

    lines: int
    digest: str
    models: bytes
    is_whole: bool
    is_cancelled: bool


class EndedJob(msgspec.Struct, frozen=True):
    """A job of a batch that has ended. spec, result, error: JSON, as stored; None if there is none."""

    job_id: JobId
    state: JobState
    spec: bytes | None
    result: bytes | None
    error: bytes | None


class Batches:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def claim(self, base: JobId, idempotency_key: str) -> JobId:
        """-> the base of the batch that the key stands for; `base`, if it stood for none. It stands for it for a
        day."""
        name = hashlib.sha256(b"batches\0" + idempotency_key.encode()).hexdigest()
        arguments = {"items": [[name, base, queue_of(base)]], "idem_ttl_ms": IDEMPOTENCY_TTL_MS}
        [[_, known]] = await scripts.call(self._nodes.of_queue(KEYS_OF), "claim_keys", keys.tag(KEYS_OF), arguments)
        return JobId(known.decode())

    async def note(
        self,
        base: JobId,
        *,
        lines: int,
        digest: str,
        models: bytes,
        blank: int = 0,
        errors: Iterable[tuple[int, bytes]] = (),
        is_whole: bool = False,
    ) -> Noted:
        """Note that so many lines are stored. Changes nothing that another request noted further on. errors: why some
        of the lines are no job, as JSON. blank: how many of the lines are blank."""
        return await self._call(
            base,
            lines=lines,
            blank=blank,
            digest=digest,
            models=models.decode(),
            errors=[[line, error.decode()] for line, error in errors],
            is_whole=is_whole or None,
        )

    async def cancel(self, base: JobId) -> Noted:
        """Note that nothing more of it is to run. BatchNotFound."""
        return await self._call(base, is_cancelled=True)

    async def noted(self, base: JobId) -> Noted:
        """BatchNotFound."""
        return await self._call(base)

    async def _call(self, base: JobId, **more: Any) -> Noted:
        queue = queue_of(base)
        arguments = {"id": base, "keep_ms": KEEP_MS} | {name: each for name, each in more.items() if each is not None}
        reply = await scripts.call(self._nodes.of_queue(queue), "batch_store", keys.tag(queue), arguments)
        lines, digest, models, is_whole, is_cancelled = reply
        if lines < 0:
            raise BatchNotFound("no such batch")
        return Noted(lines, digest.decode(), models, bool(is_whole), bool(is_cancelled))

    async def status(self, base: JobId) -> Batch:
        """BatchNotFound."""
        queue = queue_of(base)
        arguments = {
            "id": base,
            "first": job_of_line(base, 1),
            "last": job_of_line(base, MOST_LINES),
            "states": _STATES,
            "lanes": LANES,
        }
        reply = await scripts.call(self._nodes.of_queue(queue), "batch_status", keys.tag(queue), arguments)
        lines, created, is_whole, cancelled, n_invalid, counts = reply
        if lines < 0:
            raise BatchNotFound("no such batch")
        jobs = dict(zip(_STATES, counts, strict=True))
        n_open = sum(n for state, n in jobs.items() if not state.is_terminal)
        return Batch(
            batch_id=batch_id_of(base),
            queue=queue,
            status=_state(is_whole=bool(is_whole), is_cancelled=bool(cancelled), is_open=n_open > 0),
            n_lines=lines,
            n_invalid=n_invalid,
            jobs={state.value: n for state, n in jobs.items()},
            created_at=from_ms(int(created)),
            cancelled_at=from_ms(int(cancelled)) if cancelled else None,
        )

    async def newest(self, queue: QueueName) -> list[JobId]:
        """The bases of the newest batches, newest first."""
        with translate_errors():
            client = self._nodes.of_queue(queue)
            found = await reply_of(client.zrange(keys.batches(queue), 0, -1, desc=True)) or ()
        bases = sorted((base for each in found if is_job_id(base := each.decode(errors="replace"))), reverse=True)
        return [JobId(base) for base in bases[:_MOST_LISTED]]

    async def job_ids(self, base: JobId, states: Sequence[JobState], *, after: JobId, limit: int) -> list[JobId]:
        """Jobs of the batch in these states, in the order of their lines, behind the job `after`."""
        queue, last = queue_of(base), job_of_line(base, MOST_LINES)
        with translate_errors():
            pipeline = self._nodes.of_queue(queue).pipeline(transaction=False)
            for state in states:
                for lane in LANES:
                    pipeline.zrangebylex(keys.listing(queue, state, lane), f"({after}", f"[{last}", 0, limit)
            replies = or_nothing(await pipeline.execute(raise_on_error=False))
        found = merge(*([each.decode() for each in reply or ()] for reply in replies))
        return [JobId(job_id) for job_id in islice(found, limit) if is_job_id(job_id)]

    async def read(self, job_ids: Sequence[JobId]) -> list[EndedJob]:
        """What is stored of these jobs, without those that are gone or cannot be read."""
        with translate_errors():
            pipeline = self._nodes.of_job(job_ids[0]).pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hmget(keys.job(job_id), "job", "spec", "result", "error")
            replies = or_nothing(await pipeline.execute(raise_on_error=False))
        found = []
        for job_id, reply in zip(job_ids, replies, strict=True):
            packed, *texts = reply or (None,) * 4
            state = parts_as_text(packed).get("state")
            if state is not None and JobState(state).is_terminal:
                found.append(EndedJob(job_id, JobState(state), *texts))
        return found

    async def errors(self, base: JobId) -> AsyncIterator[tuple[int, bytes]]:
        """For each line that is no job its number and why, in no order."""
        queue, cursor, seen = queue_of(base), 0, set[int]()
        while True:
            with translate_errors():
                client = self._nodes.of_queue(queue)
                cursor, found = await client.hscan(keys.batch_errors(queue, base), cursor, count=500)
            for line, error in found.items():
                # A scan may give a field twice.
                if int(line) not in seen:
                    seen.add(int(line))
                    yield int(line), error
            if not cursor:
                return


def _state(*, is_whole: bool, is_cancelled: bool, is_open: bool) -> BatchState:
    if is_cancelled:
        return BatchState.CANCELLING if is_open else BatchState.CANCELLED
    if not is_whole:
        return BatchState.RECEIVING
    return BatchState.RUNNING if is_open else BatchState.COMPLETED
