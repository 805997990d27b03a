"""Dead letters: failed jobs that wait for a person, who retries them or takes them off the list.

To retry is to submit a job with `retry_of`: that takes the old job off the list in the same step.
"""

from collections.abc import Sequence

import msgspec

from shared_schemas.ids import JobId, QueueName, queue_of
from shared_schemas.job import JobState
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.listing import Page, page_of, sets_of_dead_letters
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import parts_as_text
from shared_schemas.stream.redis_errors import translate_errors


class DeadLetterStatus(msgspec.Struct, frozen=True):
    """listed: whether the job is a dead letter now. retried_as: the job that retries it."""

    listed: bool
    retried_as: JobId | None


class DeadLetters:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def page(
        self, queue: QueueName, *, code: str | None = None, limit: int = 20, before: JobId | None = None
    ) -> Page:
        """Newest first. code: only jobs that failed with it. A page is as full and as cheap as without."""
        sets = sets_of_dead_letters(code)
        return await page_of(
            self._nodes.of_queue(queue), queue, sets, states=(JobState.FAILED,), limit=limit, before=before
        )

    async def status(self, job_id: JobId) -> DeadLetterStatus:
        with translate_errors():
            pipeline = self._nodes.of_job(job_id).pipeline(transaction=True)
            pipeline.zscore(keys.dead(queue_of(job_id)), job_id)
            pipeline.hget(keys.job(job_id), "job")
            score, packed = await pipeline.execute()
        retried_as = parts_as_text(packed).get("retried_as")
        return DeadLetterStatus(score is not None, JobId(retried_as) if retried_as else None)

    async def purge(self, queue: QueueName, job_ids: Sequence[JobId]) -> list[JobId]:
        """Take the jobs off the list, in one step. They stay failed. -> those that were on the list."""
        answers = await scripts.call(self._nodes.of_queue(queue), "purge", keys.tag(queue), {"ids": job_ids})
        return [job_id for job_id, was_listed in zip(job_ids, answers, strict=True) if was_listed]
