"""Finds and lists stored jobs. Changes nothing."""

from collections.abc import Sequence

import msgspec

from shared_schemas.errors import JobExpired, JobNotFound, JobUnreadable
from shared_schemas.ids import JobId, QueueName, queue_of
from shared_schemas.job import Job, JobState
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.damage import reply_of
from shared_schemas.stream.drain_rate import DrainRate
from shared_schemas.stream.keys import LANES, Lane
from shared_schemas.stream.listing import Page, page_of, sets_of_jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import UNREADABLE, parts_as_text
from shared_schemas.stream.redis_errors import translate_errors
from shared_schemas.stream.stored_jobs import JOB_UNREADABLE, fields_of, job_of


class Waiting(msgspec.Struct, frozen=True):
    """position: how many jobs are served before this one. It is exact up to 100 in its lane. Beyond
    that, jobs that became ready late are counted where they would be had they been ready at once.
    workers: of its queue. starts_in_s: an estimate; None if nothing has been measured, or nobody
    serves the queue."""

    position: int
    workers: int
    starts_in_s: float | None


class Jobs:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def find(self, job_id: JobId) -> Job:
        """JobNotFound; JobExpired once its result_ttl has passed; JobUnreadable if this version cannot decode it."""
        with translate_errors():
            client = self._nodes.of_job(job_id)
            fields = await reply_of(client.hgetall(keys.job(job_id)))
            if fields is None:
                raise JobUnreadable(JOB_UNREADABLE.message)
            if not fields and await client.exists(keys.gone(job_id)):
                raise JobExpired("the job's result_ttl has passed")
        if not fields:
            raise JobNotFound("no such job")
        try:
            return job_of(job_id, fields_of(fields))
        except UNREADABLE as error:
            raise JobUnreadable(JOB_UNREADABLE.message) from error

    async def list_jobs(
        self,
        queue: QueueName,
        *,
        states: Sequence[JobState] = (),
        tag: str | None = None,
        limit: int = 20,
        before: JobId | None = None,
    ) -> Page:
        """Newest first. before: only jobs older than this one. tag: only jobs with this tag."""
        wanted, sets = tuple(states) or tuple(JobState), sets_of_jobs(states, tag)
        return await page_of(self._nodes.of_queue(queue), queue, sets, states=wanted, limit=limit, before=before)

    async def waiting(self, job_id: JobId) -> Waiting | None:
        """What a queued job waits for; None unless it is queued."""
        queue = queue_of(job_id)
        reply = await scripts.call(
            self._nodes.of_queue(queue), "position", keys.tag(queue), {"id": job_id, "lanes": LANES}
        )
        position, lane, workers, ended, took_ms, since_ms = reply
        if position < 0:
            return None
        rate = DrainRate.measured(ended, took_ms)
        starts_in_s = None
        # A job that must run alone starts once a worker runs nothing, which no rate tells.
        if rate is not None and workers > 0 and lane.decode() != Lane.ALONE:
            starts_in_s = rate.starts_in_s(position, since_s=None if since_ms < 0 else since_ms / 1000)
        return Waiting(position=position, workers=workers, starts_in_s=starts_in_s)

    async def states(self, job_ids: Sequence[JobId]) -> dict[JobId, JobState | None]:
        """The state of each job; None for a job that does not exist."""
        states: dict[JobId, JobState | None] = {}
        for client, ids in self._nodes.group_jobs(job_ids):
            with translate_errors():
                pipeline = client.pipeline(transaction=False)
                for job_id in ids:
                    pipeline.hget(keys.job(job_id), "job")
                replies = await pipeline.execute(raise_on_error=False)
            for job_id, packed in zip(ids, replies, strict=True):
                state = parts_as_text(packed).get("state")
                states[job_id] = None if state is None else JobState(state)
        return states
