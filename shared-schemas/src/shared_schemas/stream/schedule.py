"""What comes due in a queue: jobs to make ready, start deadlines, dependencies, results to delete.

Any number of processes may call each method at the same time. Nothing here loops or sleeps: the
worker and the gateway decide how often.
"""

from contextlib import suppress
from typing import cast

import msgspec

from shared_schemas.errors import ErrorInfo, JobNotFound, StateConflict
from shared_schemas.events import Reason
from shared_schemas.ids import JobId, QueueName, is_job_id
from shared_schemas.job import JobState
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.damage import job_ids_of_index
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_errors import translate_errors
from shared_schemas.stream.transitions import expired_transition, transition

TOMBSTONE_MS = 86_400_000
_LIMIT = 200


class Promotion(msgspec.Struct, frozen=True):
    """next_s: seconds until the next due job, deadline or expiry; None if there is none."""

    promoted: int
    expired: int
    next_s: float | None


class Schedule:
    """One queue."""

    def __init__(self, nodes: Nodes, queue: QueueName) -> None:
        self._client, self.queue, self._tag = nodes.of_queue(queue), queue, keys.tag(queue)
        self._jobs, self._control = Jobs(nodes), JobControl(nodes)

    async def promote(self) -> Promotion:
        """Make due jobs ready. Release or cancel jobs that waited for others. End jobs past their start deadline."""
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
            with translate_errors():
                ids = await job_ids_of_index(self._client, self.queue, keys.waiting(self.queue), waiting)
            promoted += await self._check_dependencies(ids)
        return Promotion(promoted, expired, None if next_ms < 0 else next_ms / 1000)

    async def sweep(self) -> int:
        """Delete finished jobs whose result_ttl has passed. -> how many"""
        return cast(
            int,
            await scripts.call(self._client, "sweep", self._tag, {"limit": _LIMIT, "tombstone_ms": TOMBSTONE_MS}),
        )

    async def _check_dependencies(self, waiting: list[JobId]) -> int:
        with translate_errors():
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
        # A job that has ended in the meantime, or is damaged, waits no more.
        with suppress(JobNotFound, StateConflict):
            await self._control.cancel(job_id, error=error)


def _text(reply: object) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else ""
