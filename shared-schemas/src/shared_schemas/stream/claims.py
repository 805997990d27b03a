"""How a worker gets jobs: it waits for entries in the lanes, and claims their jobs. Knows no model and starts no task.

A claim begins an attempt, which the worker owns for the time of a lease. `attempt_writer` has what the attempt writes.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from shared_schemas.codec import WIRE_VERSION
from shared_schemas.events import Reason
from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import Checkpoint
from shared_schemas.service.failpoints import failpoint
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.damage import is_of_another_type, make_group
from shared_schemas.stream.declaring import declare
from shared_schemas.stream.keys import GROUP, LANES, Lane
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import JOB_PARTS, UNREADABLE, PackedJob, decode_packed_job, readable_parts
from shared_schemas.stream.pipelining import pipeline_raw
from shared_schemas.stream.redis_errors import translate_errors
from shared_schemas.stream.stored_jobs import checkpoint_of
from shared_schemas.stream.transitions import (
    expired_transition,
    packed_arguments,
    request_transitions,
    transition,
)

_SHARED_LANES = tuple(lane for lane in LANES if lane is not Lane.ALONE)
_HOLDS_NOTHING: Mapping[JobId, str] = {}


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that has begun. spec: JSON, not yet decoded, because its version may be newer. failures, crashes: of
    the job before this attempt. cancel_requested, pause_requested: since the job was queued. must_run_alone: its worker
    must run nothing beside it. waited_s: from the time the job was ready to the start of the attempt."""

    job_id: JobId
    queue: QueueName
    lane: str
    entry: str
    fence: str
    attempt: int
    failures: int
    crashes: int
    spec: bytes
    checkpoint: Checkpoint | None
    cancel_requested: bool
    pause_requested: bool
    must_run_alone: bool = False
    waited_s: float = 0.0
    replay_of: JobId | None = None


class Claims:
    """One queue, one worker. worker: the consumer's name, unique for each start of a process.
    capacity: how many attempts the worker runs at the same time, with free slots counted.

    reader: a client of the queue's node, used for nothing but claims. It makes no retries: the
    client library would send a claim twice without the worker knowing. After a call on it has
    failed, recover() finds the entries of the answer that was not read.

    After each claim: wants_idle_worker: it began no more attempts, because a job that must run
    alone waits for an idle worker. needs_recovery: an entry was of a running job of this worker,
    and the call did not say which jobs the worker holds. Call recover(), then claim again with its
    entries and with `held`. newest: for each lane, the entry whose attempt began last.
    """

    def __init__(
        self,
        nodes: Nodes,
        reader: AsyncRedis,
        queue: QueueName,
        *,
        worker: str,
        lease_s: float,
        capacity: int = 1,
    ) -> None:
        self._nodes, self._client = nodes, nodes.of_queue(queue)
        self._reader, self._capacity = reader, capacity
        self.queue, self.worker, self.lease_s = queue, worker, lease_s
        self._tag = keys.tag(queue)
        self.wants_idle_worker, self.needs_recovery = False, False
        # A claim that is sent ahead begins the delivered entries that follow these. If these are too old, it answers
        # that it needs a recovery. If they are too new, as after a clock was set back, it begins fewer attempts.
        self.newest: dict[str, str] = {}

    async def open(self) -> None:
        """Declare the queue, and create its streams and their groups. Safe to repeat."""
        with translate_errors():
            await declare(self._nodes, [self.queue])
            for lane in LANES:
                await make_group(self._client, self.queue, lane)

    async def claim(
        self,
        slots: int,
        *,
        token: str,
        held: Mapping[JobId, str] | None = _HOLDS_NOTHING,
        is_busy: bool = False,
        entries: Sequence[Sequence[str]] = (),
    ) -> list[Claim]:
        """Begin up to `slots` attempts, without waiting. token: random, new for each call. held: the jobs that this
        worker runs now, of any queue, and their fences. An attempt that it began before and that is not in `held` is
        released; with None, none is. is_busy: it runs something now. entries: (lane, entry, job id) from `wait` or
        `recover`."""
        arguments = self._arguments(slots, token=token, is_busy=is_busy or bool(held))
        arguments |= {"held": held, "entries": entries}
        reply = await scripts.call(self._reader, "claim", self._tag, arguments, rare_arguments=_packed_for_claim())
        return self._claims(reply)

    def _arguments(self, slots: int, *, token: str, is_busy: bool) -> dict[str, Any]:
        return {
            "worker": self.worker,
            "is_busy": is_busy,
            "version": WIRE_VERSION,
            "lanes": _SHARED_LANES,
            "slots": slots,
            "capacity": self._capacity,
            "lease_ms": round(self.lease_s * 1000),
            "token": token,
            "running": transition(Reason.CLAIMED, worker=self.worker),
        }

    def _claims(self, reply: Any) -> list[Claim]:
        rows, wants_idle_worker, needs_recovery, now_ms = reply
        self.wants_idle_worker, self.needs_recovery = bool(wants_idle_worker), bool(needs_recovery)
        return [self._claim(row, now_ms) for row in rows]

    async def wait(self, *, timeout_s: float, is_idle: bool = True) -> list[tuple[str, str, str]]:
        """Wait for an entry in any lane. Pass what comes to `claim`. is_idle: this worker runs nothing, so it may take
        a job that must run alone. Empty after timeout_s, which must be below the reader's own timeout."""
        with translate_errors():
            [reply] = await pipeline_raw(self._reader, self._wait_command(_lanes(is_idle=is_idle), timeout_s))
            entries = await self._delivered(reply)
        if entries:
            failpoint("entry_delivered")
        return entries

    async def wait_to_claim(
        self, slots: int, *, token: str, timeout_s: float, is_idle: bool = True
    ) -> tuple[list[tuple[str, str, str]], list[Claim]]:
        """As wait, with a claim sent right behind it. Redis runs the claim as soon as the wait is over, without another
        round trip. It begins up to `slots` attempts, at most one for each lane, so that a worker that freezes in the
        meantime delays few jobs. -> entries whose attempt did not start, for the next `claim`; attempts that started. A
        wait that ends with nothing costs one claim."""
        lanes = _lanes(is_idle=is_idle)
        arguments = self._arguments(slots, token=token, is_busy=not is_idle)
        arguments |= {"entries": (), "handed": [(lane, self.newest.get(lane, "0-0")) for lane in lanes]}
        failpoint("before_claim")
        with translate_errors():
            reply, answer = await pipeline_raw(
                self._reader,
                self._wait_command(lanes, timeout_s),
                scripts.command("claim", self._tag, arguments, rare_arguments=_packed_for_claim()),
            )
            entries = await self._delivered(reply)
            if isinstance(answer, NoScriptError):
                return entries, []
            if isinstance(answer, ResponseError):
                raise answer
        claims = self._claims(answer)
        if claims:
            failpoint("claimed_ahead")
        # Entries in two lanes can have the same id.
        begun = {(claim.lane, claim.entry) for claim in claims}
        return [entry for entry in entries if entry[:2] not in begun], claims

    def _wait_command(self, lanes: Sequence[Lane], timeout_s: float) -> tuple[Any, ...]:
        streams = [keys.ready(self.queue, lane) for lane in lanes]
        options = ("COUNT", 1, "BLOCK", round(timeout_s * 1000))
        return ("XREADGROUP", "GROUP", GROUP, self.worker, *options, "STREAMS", *streams, *(">" for _ in lanes))

    async def _delivered(self, reply: Any) -> list[tuple[str, str, str]]:
        if isinstance(reply, ResponseError):
            # UNBLOCKED: the stream was deleted while this call waited for it.
            if not (str(reply).startswith(("NOGROUP", "UNBLOCKED")) or is_of_another_type(reply)):
                raise reply
            await self.open()
            # One stream was deleted, and others may have been.
            await self._client.set(keys.mend(self.queue), "-")
            return []
        return _entries(reply)

    async def recover(self) -> list[tuple[str, str, str]]:
        """Entries that were delivered to this worker and not acknowledged, including those of running attempts."""
        self.needs_recovery = False
        streams = [keys.ready(self.queue, lane) for lane in LANES]
        command = ("XREADGROUP", "GROUP", GROUP, self.worker, "COUNT", 1000, "STREAMS", *streams, *("0" for _ in LANES))
        with translate_errors():
            [reply] = await pipeline_raw(self._reader, command)
            if isinstance(reply, ResponseError):
                if not str(reply).startswith("NOGROUP"):
                    raise reply
                return []
        return _entries(reply)

    async def close(self) -> None:
        """Remove this worker's registration, and its consumer in each lane where nothing is pending for it."""
        with translate_errors():
            await self._client.delete(keys.worker(self.queue, self.worker))
            await self._client.zrem(keys.workers(self.queue), self.worker)
            for lane in LANES:
                stream = keys.ready(self.queue, lane)
                try:
                    pending = await self._client.xpending_range(stream, GROUP, "-", "+", 1, self.worker)
                    # Deleting a consumer drops what is pending for it.
                    if not pending:
                        await self._client.xgroup_delconsumer(stream, GROUP, self.worker)
                except ResponseError as error:
                    if not str(error).startswith("NOGROUP"):
                        raise

    def _claim(self, row: list[Any], now_ms: int) -> Claim:
        job_id, packed, spec, checkpoint = row
        job = _packed_job_of(packed)
        entry, fence = cast(str, job.entry), cast(str, job.fence)
        self.newest[job.lane] = entry
        return Claim(
            job_id=JobId(job_id.decode()),
            queue=self.queue,
            lane=job.lane,
            entry=entry,
            fence=fence,
            attempt=job.attempt,
            failures=job.failures,
            crashes=job.crashes,
            spec=spec,
            checkpoint=checkpoint_of(checkpoint),
            cancel_requested=bool(job.cancel),
            pause_requested=bool(job.pause),
            must_run_alone=bool(job.suspect),
            replay_of=JobId(str(job.replay_of)) if job.replay_of else None,
            # The id of an entry begins with the time at which it was added.
            waited_s=(now_ms - int(entry.partition("-")[0])) / 1000,
        )


def _lanes(*, is_idle: bool) -> Sequence[Lane]:
    """A worker reads the lane of jobs that must run alone only while it runs nothing."""
    return LANES if is_idle else _SHARED_LANES


def _packed_job_of(packed: bytes) -> PackedJob:
    """The script has checked the type of each part."""
    try:
        return decode_packed_job(packed)
    except UNREADABLE:
        # A script cannot see whether a text is UTF-8. No text that a worker needs was written by a person.
        return PackedJob(**{**dict.fromkeys(JOB_PARTS, ""), **readable_parts(packed)})


@cache
def _packed_for_claim() -> bytes:
    return packed_arguments(
        {
            "expired": expired_transition(),
            "released": transition(Reason.RELEASED),
            **request_transitions(),
        }
    )


def _entries(reply: Any) -> list[tuple[str, str, str]]:
    entries = []
    for stream, items in reply or ():
        lane = stream.decode().rsplit(":", 1)[1]
        for entry, fields in items:
            # For a pending entry that was deleted, Redis 6.2 returns no fields.
            job_id = fields[1].decode(errors="replace") if fields else ""
            entries.append((lane, entry.decode(), job_id))
    return entries
