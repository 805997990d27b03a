"""The worker's side of a queue: claim, record, settle. Knows no model and starts no task.

A claim is a worker's time-limited hold on a delivery. Its fence, checked inside every script, is the only
thing that allows a write; the pending list of the consumer group is for delivery alone, since XACK takes
no consumer and a stale worker can acknowledge another's entry.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from shared_schemas.codec import WIRE_VERSION, EncodedEvent, encode_json
from shared_schemas.events import Reason
from shared_schemas.failpoints import reach
from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import Checkpoint
from shared_schemas.outcome import Cancellation, Failure, Outcome, Release, Retry, Success
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.damage import is_of_another_type, make_group
from shared_schemas.stream.declaring import declare
from shared_schemas.stream.keys import GROUP, LANES, Lane
from shared_schemas.stream.pipelining import ask_together
from shared_schemas.stream.record import RECORD, UNREADABLE, Record, parts_of, read_record
from shared_schemas.stream.redis_errors import translated
from shared_schemas.stream.stored_jobs import checkpoint_of
from shared_schemas.stream.transitions import (
    event_of,
    expired_transition,
    packed_arguments,
    packed_request_transitions,
    request_transitions,
    row_of,
    transition,
)

_SHARED_LANES = tuple(lane for lane in LANES if lane is not Lane.ALONE)
_NOTHING: Mapping[JobId, str] = {}


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A begun attempt. spec: JSON, not yet decoded, because it may be of a newer version. failures, crashes: of
    the job before this attempt. cancel_requested, pause_requested: asked for since the job was queued. is_suspect: its
    worker must run nothing beside it. waited_s: from when it was ready until it was begun."""

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
    is_suspect: bool = False
    waited_s: float = 0.0
    replay_of: JobId | None = None


class Batch(msgspec.Struct, frozen=True):
    """Events of one attempt, in order, encoded by whoever made them. first: how many of its events were handed over
    before these, which lets a script drop what a repeated call brings twice."""

    claim: Claim
    first: int
    events: Sequence[EncodedEvent]


class Settlement(msgspec.Struct, frozen=True):
    """The end of one attempt, with the events not yet recorded."""

    batch: Batch
    outcome: Outcome


class Claims:
    """One queue, one worker. worker: the consumer's name, unique for each start of a process. capacity: how many
    attempts it runs at once, free slots or not. suspects_wait: the last claim began nothing more because a suspect
    waits for a worker that runs nothing. is_unsure: it met a running job of this worker, and was not told what is held:
    recover(), and claim again with what that gives and with `held`. newest: in each lane the entry that was begun last.

    client, reader: each may be of one line, as from connect_one. reader: with no retries, used for nothing but
    claiming: a claim is the one call that must not be sent twice unseen. After it fails, recover() finds what an unread
    answer had handed over.
    """

    def __init__(
        self,
        client: AsyncRedis,
        reader: AsyncRedis,
        queue: QueueName,
        *,
        worker: str,
        lease_s: float,
        capacity: int = 1,
    ) -> None:
        self._client, self._reader, self._capacity = client, reader, capacity
        self.queue, self.worker, self.lease_s = queue, worker, lease_s
        self._tag = keys.tag(queue)
        self.suspects_wait, self.is_unsure = False, False
        # A claim sent ahead begins what was handed over behind these. Where they are older than what runs, it says that
        # it is unsure; where they are of a later time than what comes, as before a clock was set back, it begins less.
        self.newest: dict[str, str] = {}

    async def open(self) -> None:
        """Make the groups and put the queue on record. Safe to repeat."""
        with translated():
            await declare(self._client, [self.queue])
            for lane in LANES:
                await make_group(self._client, self.queue, lane)

    async def claim(
        self,
        slots: int,
        *,
        token: str,
        held: Mapping[JobId, str] | None = _NOTHING,
        is_busy: bool = False,
        entries: Sequence[Sequence[str]] = (),
    ) -> list[Claim]:
        """Begin up to `slots` attempts, without waiting. token: random, new for each call. held: jobs this worker
        runs now, of any queue, and their fences; what it began before and does not name, it gives back; None: it
        gives nothing back. is_busy: it runs something now. entries: (lane, entry, job id) from `wait` or `recover`."""
        arguments = self._arguments(slots, token=token, is_busy=is_busy or bool(held))
        arguments |= {"held": held, "entries": entries}
        reply = await scripts.call(self._reader, "claim", self._tag, arguments, seldom=_packed_for_claim())
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
        rows, suspects_wait, is_unsure, now_ms = reply
        self.suspects_wait, self.is_unsure = bool(suspects_wait), bool(is_unsure)
        return [self._claim(row, now_ms) for row in rows]

    async def wait(self, *, timeout_s: float, is_idle: bool = True) -> list[tuple[str, str, str]]:
        """Wait for an entry in any lane; pass what comes to `claim`. is_idle: this worker runs nothing and may take a
        suspect. Empty after timeout_s, which must stay below the reader's own timeout."""
        with translated():
            [reply] = await ask_together(self._reader, self._wait_command(_lanes(is_idle=is_idle), timeout_s))
            entries = await self._handed(reply)
        if entries:
            reach("entry_delivered")
        return entries

    async def wait_to_claim(
        self, slots: int, *, token: str, timeout_s: float, is_idle: bool = True
    ) -> tuple[list[tuple[str, str, str]], list[Claim]]:
        """As wait, with a claim sent behind it that begins what was handed over, up to `slots` attempts: Redis does so
        at once, without asking the worker in between. -> entries that it did not begin, for the next `claim`, and what
        it began: of each lane no more than one, so that a worker which is frozen meanwhile holds up few. A claim is
        spent on a wait that ends with nothing."""
        lanes = _lanes(is_idle=is_idle)
        arguments = self._arguments(slots, token=token, is_busy=not is_idle)
        arguments |= {"entries": (), "handed": [(lane, self.newest.get(lane, "0-0")) for lane in lanes]}
        reach("before_claim")
        with translated():
            reply, answer = await ask_together(
                self._reader,
                self._wait_command(lanes, timeout_s),
                scripts.command("claim", self._tag, arguments, seldom=_packed_for_claim()),
            )
            entries = await self._handed(reply)
            if isinstance(answer, NoScriptError):
                return entries, []
            if isinstance(answer, ResponseError):
                raise answer
        claims = self._claims(answer)
        if claims:
            reach("claimed_ahead")
        # Entries of two lanes may have the same id.
        begun = {(claim.lane, claim.entry) for claim in claims}
        return [entry for entry in entries if entry[:2] not in begun], claims

    def _wait_command(self, lanes: Sequence[Lane], timeout_s: float) -> tuple[Any, ...]:
        streams = [keys.ready(self.queue, lane) for lane in lanes]
        options = ("COUNT", 1, "BLOCK", round(timeout_s * 1000))
        return ("XREADGROUP", "GROUP", GROUP, self.worker, *options, "STREAMS", *streams, *(">" for _ in lanes))

    async def _handed(self, reply: Any) -> list[tuple[str, str, str]]:
        if isinstance(reply, ResponseError):
            # UNBLOCKED: the stream was deleted while this call waited for it.
            if not (str(reply).startswith(("NOGROUP", "UNBLOCKED")) or is_of_another_type(reply)):
                raise reply
            await self.open()
            # A stream that was waited for is gone, and perhaps not it alone.
            await self._client.set(keys.mend(self.queue), "-")
            return []
        return _entries(reply)

    async def recover(self) -> list[tuple[str, str, str]]:
        """Entries delivered to this worker and not acknowledged, those of running attempts included."""
        self.is_unsure = False
        streams = [keys.ready(self.queue, lane) for lane in LANES]
        command = ("XREADGROUP", "GROUP", GROUP, self.worker, "COUNT", 1000, "STREAMS", *streams, *("0" for _ in LANES))
        with translated():
            [reply] = await ask_together(self._reader, command)
            if isinstance(reply, ResponseError):
                if not str(reply).startswith("NOGROUP"):
                    raise reply
                return []
        return _entries(reply)

    async def record(self, batches: Sequence[Batch]) -> list[bool]:
        """Append events. False for an attempt that no longer owns its job."""
        lost = await scripts.call(
            self._client, "record", self._tag, {"items": [_batch_item(batch) for batch in batches]}
        )
        return _but(lost, len(batches))

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End attempts. False for one that no longer owned its job: nothing of it was written."""
        items = [_settle_item(settlement) for settlement in settlements]
        lost = await scripts.call(
            self._client,
            "settle",
            self._tag,
            {
                "items": items,
                "rows": {item[5]: row_of(item[5]) for item in items},
            },
            seldom=packed_request_transitions(),
        )
        return _but(lost, len(items))

    async def close(self) -> None:
        """Remove this worker's registration and, where nothing is pending for it, its consumer."""
        with translated():
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
        record = _held(packed)
        entry, fence = cast(str, record.entry), cast(str, record.fence)
        self.newest[record.lane] = entry
        return Claim(
            job_id=JobId(job_id.decode()),
            queue=self.queue,
            lane=record.lane,
            entry=entry,
            fence=fence,
            attempt=record.attempt,
            failures=record.failures,
            crashes=record.crashes,
            spec=spec,
            checkpoint=checkpoint_of(checkpoint),
            cancel_requested=bool(record.cancel),
            pause_requested=bool(record.pause),
            is_suspect=bool(record.suspect),
            replay_of=JobId(str(record.replay_of)) if record.replay_of else None,
            # The id of an entry begins with when it was added.
            waited_s=(now_ms - int(entry.partition("-")[0])) / 1000,
        )


def _lanes(*, is_idle: bool) -> Sequence[Lane]:
    """Of suspects a worker hears only while it runs nothing."""
    return LANES if is_idle else _SHARED_LANES


def _but(lost: list[int], n: int) -> list[bool]:
    """lost: places, counted from 1."""
    return [place not in lost for place in range(1, n + 1)]


def _held(packed: bytes) -> Record:
    """The record of an attempt that has begun: its script has seen that each part is of its type."""
    try:
        return read_record(packed)
    except UNREADABLE:
        # A script does not see whether a text is UTF-8. None of those that a worker needs was written by a person.
        return Record(**{**dict.fromkeys(RECORD, ""), **parts_of(packed)})


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
            # Redis 6.2 returns a pending entry that was deleted with no fields.
            job_id = fields[1].decode(errors="replace") if fields else ""
            entries.append((lane, entry.decode(), job_id))
    return entries


def _batch_item(batch: Batch) -> dict[str, Any]:
    return {"id": batch.claim.job_id, "fence": batch.claim.fence, "first": batch.first, "events": batch.events}


def _settle_item(settlement: Settlement) -> tuple[Any, ...]:
    """As settle.lua has it: by place, since names cost a script as much as values, for each of many."""
    batch = settlement.batch
    return (batch.claim.job_id, batch.claim.fence, batch.first, batch.events, *_ending(settlement.outcome))


def _ending(outcome: Outcome) -> tuple[Any, ...]:
    """-> how, reason, body, delay_ms, result, digest, error, dead, facts"""
    match outcome:
        case Success(result, digest, facts):
            body = event_of(Reason.SUCCEEDED, result=result, digest=digest, facts=facts)
            kept = bytes(result)
            # What has none has null.
            ending = "finish", Reason.SUCCEEDED, body, None, None if kept == b"null" else kept.decode(), digest
            return (*ending, None, None, encode_json(facts).decode()) if facts else ending
        case Failure(error):
            body = event_of(Reason.FAILED, error=error)
            return "finish", Reason.FAILED, body, None, None, None, encode_json(error).decode(), error.code
        case Cancellation():
            return "finish", Reason.CANCELLED, event_of(Reason.CANCELLED)
        case Retry(error, delay_s):
            body = event_of(Reason.RETRY, error=error)
            return "schedule", Reason.RETRY, body, round(delay_s * 1000), None, None, encode_json(error).decode()
        case Release():
            return "enqueue", Reason.RELEASED, event_of(Reason.RELEASED)
