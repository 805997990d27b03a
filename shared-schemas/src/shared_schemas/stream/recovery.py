"""Takes jobs back from dead workers, and repairs jobs that nothing else would move.

Any number of processes may call each method at the same time. Nothing here loops or sleeps: the
worker decides how often.
"""

from collections.abc import Sequence
from typing import cast

import msgspec

from shared_schemas.errors import CallRefused, ErrorInfo
from shared_schemas.events import Reason
from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import JobState
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.damage import drop, job_ids_of_index, reply_of
from shared_schemas.stream.declaring import declare
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import readable_parts
from shared_schemas.stream.redis_errors import translate_errors
from shared_schemas.stream.transitions import failed_transition, packed_request_transitions, transition

CRASH_LIMIT = 2
_LIMIT, _ENTRIES = 200, 100
# So many stored jobs are read at a time, which blocks Redis for no longer than a script does.
_PAGE = 1000
# One look finds at most so many silent jobs, and one call of redeliver reads at most so many pages. The rest waits for
# the next.
_MOST_SILENT_JOBS, _MOST_PAGES = 20_000, 200
# After an index was lost, one call of repair reads so many pages of the log.
_LOG_PAGES = 20


class SilentJob(msgspec.Struct, frozen=True):
    """A running job whose lease is running out, as it was seen. beat: how often the lease had been renewed."""

    job_id: JobId
    fence: str
    beat: int


class Recovery:
    """One queue. next_look_s: the earliest time after the last look for silent jobs at which
    another look can find more. next_redelivery_s: how long after the last redelivery an entry that
    nobody has begun is due; None if there is none."""

    def __init__(self, nodes: Nodes, queue: QueueName) -> None:
        self._nodes, self._client = nodes, nodes.of_queue(queue)
        self.queue, self._tag = queue, keys.tag(queue)
        self._claim_cursors = dict.fromkeys(LANES, "0-0")
        self._repair_cursor = ""
        self.next_look_s = 0.0
        self.next_redelivery_s: float | None = None

    async def declare(self) -> None:
        """Declare the queue again, as every process that serves it does."""
        await declare(self._nodes, [self.queue])

    async def silent_jobs(self, *, lease_s: float) -> list[SilentJob]:
        """All running jobs with less than half their lease left. A live worker renews long before that. A job that one
        look leaves out waits for half a lease more."""
        leases_of = keys.leases(self.queue)
        with translate_errors():
            seconds, microseconds = await self._client.time()
            limit_ms = seconds * 1000 + microseconds // 1000 + round(lease_s * 500)
            leases = await self._leases()
            ids = [job_id for job_id, end_ms in leases if end_ms <= limit_ms]
            later_ms = [end_ms - limit_ms for _, end_ms in leases if end_ms > limit_ms]
            # A lease that begins right after this look has half of its time left after lease_s / 2.
            self.next_look_s = min([lease_s / 2, *(left / 1000 for left in later_ms[:1])])
            if len(ids) > _LIMIT:
                ids = await self._client.zrangebyscore(leases_of, "-inf", limit_ms, start=0, num=_MOST_SILENT_JOBS)
            return [
                job for first in range(0, len(ids), _PAGE) for job in await self._as_seen(ids[first : first + _PAGE])
            ]

    async def _as_seen(self, members: Sequence[bytes]) -> list[SilentJob]:
        ids = await job_ids_of_index(self._client, self.queue, keys.leases(self.queue), members)
        pipeline = self._client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hget(keys.job(job_id), "job")
        parts_of_each = [readable_parts(data) for data in await pipeline.execute(raise_on_error=False)]
        return [
            SilentJob(job_id, parts.get("fence") or "", parts.get("beat", 0))
            for job_id, parts in zip(ids, parts_of_each, strict=True)
        ]

    async def _leases(self) -> list[tuple[bytes, float]]:
        name = keys.leases(self.queue)
        leases = await reply_of(self._client.zrange(name, 0, _LIMIT, withscores=True))
        if leases is None:
            await drop(self._client, self.queue, name)
        return leases or []

    async def reclaim(self, silent: Sequence[SilentJob]) -> list[str]:
        """Take back jobs whose beat has not moved since it was seen. That must be at least half a
        lease ago, by the caller's own clock. -> for each "requeued"; "poison": the job has now lost
        its worker CRASH_LIMIT times, and ran alone the last time; "corrupt": the stored job is
        damaged; or "alive"."""
        poison = ErrorInfo(
            code="poison", message=f"the job's worker was lost {CRASH_LIMIT} times while it ran this job"
        )
        answers: list[str] = []
        for first in range(0, len(silent), _LIMIT):
            answers += await self._reclaim(silent[first : first + _LIMIT], poison)
        return answers

    async def _reclaim(self, silent: Sequence[SilentJob], poison: ErrorInfo) -> list[str]:
        try:
            reply = await scripts.call(
                self._client,
                "reclaim",
                self._tag,
                {
                    "items": [{"id": s.job_id, "fence": s.fence, "beat": s.beat} for s in silent],
                    "lost": transition(Reason.WORKER_LOST),
                    "poison": failed_transition(poison),
                    "crash_limit": CRASH_LIMIT,
                },
                rare_arguments=packed_request_transitions(),
            )
        except CallRefused:
            # One of the jobs may be the cause. The others must not wait for it.
            if len(silent) == 1:
                return ["alive"]
            return [answer for job in silent for answer in await self._reclaim([job], poison)]
        return [answer.decode() for answer in reply]

    async def redeliver(self, *, idle_s: float, worker: str) -> int:
        """Make every entry ready again that was delivered idle_s ago and whose job was never begun. -> how many."""
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
                    # A search that always began at the start would never get to entries past the limit.
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
        """Read the next page of open jobs, and repair those that nothing would move. -> how many. Also forgets
        consumers of workers that were silent for two leases and have nothing pending.

        Next to a job that needs repair there may be more, as after the loss of a stream. So this goes on until a page
        needs none."""
        total = pages = 0
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
            pages += 1
            if not (repaired and self._repair_cursor) and not (is_mending and pages < _LOG_PAGES):
                return total
