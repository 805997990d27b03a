"""What keeps a queue moving whoever died: promotion, dependencies, reclaiming, repair, expiry.

Each verb is safe to call from any number of processes at once. Nothing here loops or sleeps: the runtime and
the gateway decide how often.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import msgspec

from shared_schemas.errors import CallRefused, ErrorInfo, JobNotFound, StateConflict
from shared_schemas.events import Reason
from shared_schemas.ids import JobId, QueueName, is_job_id, queue_of
from shared_schemas.job import JobState
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.damage import drop, reply_of
from shared_schemas.stream.declaring import declare
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.record import parts_of
from shared_schemas.stream.redis_errors import translated
from shared_schemas.stream.transitions import (
    expired_transition,
    failed_transition,
    packed_request_transitions,
    transition,
)

CRASH_LIMIT = 2
TOMBSTONE_MS = 86_400_000
_LIMIT, _ENTRIES = 200, 100
# Records are read so many at a time, which holds Redis up for no longer than a script does.
_PAGE = 1000
# Of one look, and of one call of redeliver; what is beyond waits for the next.
_MOST_SUSPECTS, _MOST_PAGES = 20_000, 200
# Pages of the log that are gone through at once after an index was lost.
_LOG_LOOKS = 20


class Promotion(msgspec.Struct, frozen=True):
    """next_s: seconds until the next due job, deadline or expiry; None when there is none."""

    promoted: int
    expired: int
    next_s: float | None


class Suspect(msgspec.Struct, frozen=True):
    """A running job whose lease is running out, as it was seen. beat: how often it had been renewed."""

    job_id: JobId
    fence: str
    beat: int


class Housekeeping:
    """One queue. next_suspect_s: how long after the last look for suspects there may be another one, at the soonest.
    next_redelivery_s: how long after the last redelivery an entry that nobody has begun is due; None without one."""

    def __init__(self, client: AsyncRedis, queue: QueueName) -> None:
        self._client, self.queue, self._tag = client, queue, keys.tag(queue)
        self._jobs, self._control = Jobs(client), JobControl(client)
        self._claim_cursors = dict.fromkeys(LANES, "0-0")
        self._repair_cursor = ""
        self.next_suspect_s = 0.0
        self.next_redelivery_s: float | None = None

    async def keep_log(self, length: int) -> None:
        """Have the log of the queue keep about so many changes, whoever writes to it."""
        with translated():
            await self._client.set(keys.log_length(self.queue), length)

    async def declare(self) -> None:
        """Say again that somebody serves the queue."""
        await declare(self._client, [self.queue])

    async def promote(self) -> Promotion:
        """Make due jobs ready, release or cancel those that waited for others, end those past their deadline."""
        promoted, expired, waiting, next_ms = await scripts.call(
            self._client,
            "promote_due",
            self._tag,
            {
                "limit": _LIMIT,
                "due": transition(Reason.DUE),
                "expired": expired_transition(),
            },
        )
        if waiting:
            with translated():
                ids = await self._ids(f"{self._tag}waiting", waiting)
            promoted += await self._look_at_dependencies(ids)
        return Promotion(promoted, expired, None if next_ms < 0 else next_ms / 1000)

    async def sweep(self) -> int:
        """Drop finished jobs past their result_ttl. -> how many."""
        return cast(
            int,
            await scripts.call(self._client, "sweep", self._tag, {"limit": _LIMIT, "tombstone_ms": TOMBSTONE_MS}),
        )

    async def suspects(self, *, lease_s: float) -> list[Suspect]:
        """Running jobs with less than half their lease left, all at once: each that is left out waits for half a lease
        more. A live worker renews long before that."""
        leases_of = keys.leases(self.queue)
        with translated():
            seconds, microseconds = await self._client.time()
            limit_ms = seconds * 1000 + microseconds // 1000 + round(lease_s * 500)
            leases = await self._leases()
            ids = [job_id for job_id, end_ms in leases if end_ms <= limit_ms]
            later_ms = [end_ms - limit_ms for _, end_ms in leases if end_ms > limit_ms]
            # A lease that begins right after this look has half of it left as much later.
            self.next_suspect_s = min([lease_s / 2, *(left / 1000 for left in later_ms[:1])])
            if len(ids) > _LIMIT:
                ids = await self._client.zrangebyscore(leases_of, "-inf", limit_ms, start=0, num=_MOST_SUSPECTS)
            return [
                suspect
                for first in range(0, len(ids), _PAGE)
                for suspect in await self._as_seen(await self._ids(leases_of, ids[first : first + _PAGE]))
            ]

    async def _as_seen(self, ids: Sequence[JobId]) -> list[Suspect]:
        pipeline = self._client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hget(keys.job(job_id), "job")
        records = [parts_of(data) for data in await pipeline.execute(raise_on_error=False)]
        return [
            Suspect(job_id, record.get("fence") or "", record.get("beat", 0))
            for job_id, record in zip(ids, records, strict=True)
        ]

    async def _leases(self) -> list[tuple[bytes, float]]:
        name = keys.leases(self.queue)
        leases = await reply_of(self._client.zrange(name, 0, _LIMIT, withscores=True))
        if leases is None:
            await drop(self._client, self.queue, name)
        return leases or []

    async def _ids(self, index: str, members: Sequence[bytes]) -> list[JobId]:
        """Of the members of an index those that are ids of this queue's; the others are taken out."""
        texts = [member.decode(errors="replace") for member in members]
        is_id = [is_job_id(text) and queue_of(JobId(text)) == self.queue for text in texts]
        odd = [member for member, is_one in zip(members, is_id, strict=True) if not is_one]
        if odd:
            await self._client.zrem(index, *odd)
        return [JobId(text) for text, is_one in zip(texts, is_id, strict=True) if is_one]

    async def reclaim(self, suspects: Sequence[Suspect]) -> list[str]:
        """Take back jobs whose beat has not moved since it was seen, at least half a lease ago by the caller's own
        clock. -> "requeued", "poison" (the job has now lost its worker CRASH_LIMIT times, running alone the last
        time), "corrupt" (its record could not be worked with) or "alive" for each."""
        poison = ErrorInfo(
            code="poison", message=f"the job's worker was lost {CRASH_LIMIT} times while it ran this job"
        )
        answers: list[str] = []
        for first in range(0, len(suspects), _LIMIT):
            answers += await self._reclaim(suspects[first : first + _LIMIT], poison)
        return answers

    async def _reclaim(self, suspects: Sequence[Suspect], poison: ErrorInfo) -> list[str]:
        try:
            reply = await scripts.call(
                self._client,
                "reclaim",
                self._tag,
                {
                    "items": [{"id": s.job_id, "fence": s.fence, "beat": s.beat} for s in suspects],
                    "lost": transition(Reason.WORKER_LOST),
                    "poison": failed_transition(poison),
                    "crash_limit": CRASH_LIMIT,
                },
                seldom=packed_request_transitions(),
            )
        except CallRefused:
            # It may be about one of them, which must not keep the others waiting.
            if len(suspects) == 1:
                return ["alive"]
            return [answer for suspect in suspects for answer in await self._reclaim([suspect], poison)]
        return [answer.decode() for answer in reply]

    async def redeliver(self, *, idle_s: float, worker: str) -> int:
        """Make entries ready again that were delivered idle_s ago and never begun, all of them. -> how many."""
        total, longest_ms, lanes = 0, -1, list(LANES)
        for _ in range(_MOST_PAGES):
            again, longest, *cursors = await scripts.call(
                self._client,
                "redeliver",
                self._tag,
                {
                    "worker": worker,
                    "idle_ms": round(idle_s * 1000),
                    "limit": _ENTRIES,
                    "lanes": lanes,
                    # Always from the start, entries past the limit would never be looked at.
                    "cursors": [self._claim_cursors[lane] for lane in lanes],
                    "running": JobState.RUNNING,
                    "queued": JobState.QUEUED,
                },
            )
            total, longest_ms = total + again, max(longest_ms, longest)
            self._claim_cursors |= {lane: cursor.decode() for lane, cursor in zip(lanes, cursors, strict=True)}
            lanes = [lane for lane in lanes if self._claim_cursors[lane] != "0-0"]
            if not lanes:
                break
        self.next_redelivery_s = None if longest_ms < 0 else max(0.0, idle_s - longest_ms / 1000)
        return total

    async def repair(self, *, lease_s: float = 15.0) -> int:
        """Look at the next page of open jobs and set going those that nothing would move. -> how many. Forgets
        consumers of workers that were silent for two leases and have nothing pending.

        Where one needs it its neighbours may, as of a lost stream, so it goes on up to a page without any."""
        total = looks = 0
        while True:
            repaired, cursor, is_mending = await scripts.call(
                self._client,
                "repair",
                self._tag,
                {
                    "lanes": LANES,
                    "cursor": self._repair_cursor,
                    "limit": _LIMIT,
                    "queued": JobState.QUEUED,
                    "running": JobState.RUNNING,
                    "scheduled": JobState.SCHEDULED,
                    "idle_ms": round(lease_s * 2000),
                },
            )
            self._repair_cursor = cursor.decode()
            total += cast(int, repaired)
            looks += 1
            if not (repaired and self._repair_cursor) and not (is_mending and looks < _LOG_LOOKS):
                return total

    async def _look_at_dependencies(self, waiting: list[JobId]) -> int:
        with translated():
            pipeline = self._client.pipeline(transaction=False)
            for job_id in waiting:
                pipeline.hget(keys.job(job_id), "depends_on")
            wanted = [
                [JobId(parent) for parent in _text(reply).split() if is_job_id(parent)]
                for reply in await pipeline.execute(raise_on_error=False)
            ]
        states = await self._jobs.states(sorted({parent for row in wanted for parent in row}))
        met: list[JobId] = []
        for job_id, row in zip(waiting, wanted, strict=True):
            not_met = [parent for parent in row if states[parent] is not JobState.SUCCEEDED]
            hopeless = [parent for parent in not_met if (state := states[parent]) is None or state.is_terminal]
            if not not_met:
                met.append(job_id)
            elif hopeless:
                await self._cancel_dependent(job_id, hopeless[0], states[hopeless[0]])
        if not met:
            return 0
        return cast(
            int,
            await scripts.call(
                self._client,
                "meet_dependencies",
                self._tag,
                {"ids": met, "due": transition(Reason.DUE)},
            ),
        )

    async def _cancel_dependent(self, job_id: JobId, parent: JobId, state: JobState | None) -> None:
        how = {JobState.FAILED: "failed", JobState.CANCELLED: "was cancelled"}
        why = "is no longer kept" if state is None else how[state]
        error = ErrorInfo(code="dependency_failed", message=f"{parent}, which this job depends on, {why}")
        # What ends otherwise meanwhile, or is damaged, is no longer waited for.
        with suppress(JobNotFound, StateConflict):
            await self._control.cancel(job_id, error=error)


def _text(reply: object) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else ""
