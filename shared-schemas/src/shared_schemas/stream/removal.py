"""Deletes a finished job or a version of a model, unless a job that has not ended needs it.

The users of what is deleted lie in other slots, so they are looked up first. If a job is submitted in between and names
what is deleted, it fails: with `model_gone` if that is a version of a model, or else as if it had never existed. Files
are not deleted.
"""

from collections.abc import AsyncIterator, Sequence

import msgspec

from shared_schemas.codec import decode_spec
from shared_schemas.errors import InUse, ModelNotFound, StateConflict
from shared_schemas.ids import JobId, QueueName, kind_of, kind_of_queue, queue_of
from shared_schemas.job import TERMINAL_STATES, JobState
from shared_schemas.models import ModelRef
from shared_schemas.specs import SPECS
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.idempotency import IDEMPOTENCY_TTL_MS
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import parts_as_text
from shared_schemas.stream.redis_errors import translate_errors
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.transitions import set_of

_PAGE = 1000
_UNFINISHED = tuple(state for state in JobState if state not in TERMINAL_STATES)


class Removal:
    """queues: all queues that exist, since a user may be in any of them."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes, self._jobs, self._registry = nodes, Jobs(nodes), ModelRegistry(nodes)

    async def delete_job(self, job_id: JobId, *, queues: Sequence[QueueName]) -> None:
        """Delete the job with its timeline and result. What it published stays. So does its Idempotency-Key, because a
        late request must not run the job again. JobNotFound, JobExpired, JobUnreadable; StateConflict while it has not
        ended; InUse while a job that has not ended waits for it or starts from its checkpoint."""
        job = await self._jobs.find(job_id)
        if not job.state.is_terminal:
            raise StateConflict(f"the job is {job.state}; only a finished one can be deleted")
        user = await self._user_of_job(job_id, queues)
        if user is not None:
            raise InUse(f"{user} has not ended and needs this job")
        # After the deletion nothing shows that the job succeeded, and its staged model would be lost.
        await self._registry.publish_settled()
        answer = await scripts.call(
            self._nodes.of_job(job_id),
            "delete",
            keys.tag(queue_of(job_id)),
            {"id": job_id, "terminal": set_of(TERMINAL_STATES), "tombstone_ms": IDEMPOTENCY_TTL_MS},
        )
        # "missing" is no error: the job existed above, so this call or another has deleted it. The client library sends
        # a call again if its answer was lost.
        if answer[0] == b"refused":
            raise StateConflict(f"the job is {answer[1].decode()}; only a finished one can be deleted")

    async def delete_version(self, ref: ModelRef, *, queues: Sequence[QueueName]) -> None:
        """Delete the version. `latest` moves to the newest version that is left. No number is given again.
        ModelNotFound; InUse while an alias other than `latest` names it, or a job that has not ended runs it."""
        await self._registry.publish_settled()
        if not await self._registry.is_published(ref):
            raise ModelNotFound("no such version is published")
        user = await self._user_of_version(ref, queues)
        if user is not None:
            raise InUse(f"{user} has not ended and runs this model")
        alias = await self._registry.delete_version(ref)
        if alias is not None:
            raise InUse(f"the alias {alias} names this version")

    async def _user_of_job(self, job_id: JobId, queues: Sequence[QueueName]) -> JobId | None:
        for queue in queues:
            with translate_errors():
                waiting = await self._nodes.of_queue(queue).zrange(keys.waiting(queue), 0, -1)
            ids = [JobId(member.decode()) for member in waiting]
            for user, (depends_on,) in zip(ids, await self._fields(queue, ids, "depends_on"), strict=True):
                if job_id in (depends_on or b"").decode(errors="replace").split():
                    return user
            if kind_of_queue(queue) is kind_of(job_id) and SPECS[kind_of(job_id)].source_field is not None:
                async for page in self._unfinished(queue):
                    for user, (spec,) in zip(page, await self._fields(queue, page, "spec"), strict=True):
                        if spec is not None and _starts_from(spec) == job_id:
                            return user
        return None

    async def _user_of_version(self, ref: ModelRef, queues: Sequence[QueueName]) -> JobId | None:
        """A job is stored with the version that it will run."""
        for queue in queues:
            if SPECS[kind_of_queue(queue)].model_field is not None:
                async for page in self._unfinished(queue):
                    for user, (packed,) in zip(page, await self._fields(queue, page, "job"), strict=True):
                        if parts_as_text(packed).get("subject") == str(ref):
                            return user
        return None

    async def _unfinished(self, queue: QueueName) -> AsyncIterator[list[JobId]]:
        for state in _UNFINISHED:
            for lane in LANES:
                start = "-"
                while True:
                    with translate_errors():
                        members = await self._nodes.of_queue(queue).zrangebylex(
                            keys.listing(queue, state, lane), start, "+", start=0, num=_PAGE
                        )
                    if members:
                        yield [JobId(member.decode()) for member in members]
                    if len(members) < _PAGE:
                        break
                    start = f"({members[-1].decode()}"

    async def _fields(self, queue: QueueName, ids: Sequence[JobId], *names: str) -> list[list[bytes | None]]:
        with translate_errors():
            pipeline = self._nodes.of_queue(queue).pipeline(transaction=False)
            for job_id in ids:
                pipeline.hmget(keys.job(job_id), names)
            return list(await pipeline.execute())


def _starts_from(spec: bytes) -> str | None:
    try:
        decoded = decode_spec(spec)
    except msgspec.DecodeError:
        return None
    return decoded.source
