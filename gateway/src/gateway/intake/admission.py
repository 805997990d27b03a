"""From a spec to what is stored of it: defaults, pins and the checks that need Redis. Stores nothing itself."""

import re
import time
from collections.abc import Mapping
from contextlib import suppress

from shared_schemas.errors import JobExpired, JobNotFound, JobUnreadable, MalformedId, ModelNotFound, SpecRejected
from shared_schemas.ids import (
    JobId,
    QueueName,
    default_queue,
    is_job_id,
    job_ids_from,
    kind_of_queue,
    new_job_id,
    parse_job_id,
    parse_queue,
    queue_of,
)
from shared_schemas.job import Job
from shared_schemas.specs import JobSpec, kind_of_spec
from shared_schemas.stream.submission import Submission

from gateway.random_pool import random_bytes
from gateway.services import Services

_MOST_SEED = 2**31 - 1
# Of queues, in an answer.
_MOST_NAMED = 20
_NO_PARENTS: Mapping[str, Job] = {}
# Control characters, backslashes, a step upwards, a home folder, a URL, a folder.
_FORBIDDEN_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|(^|/)\.\.(/|\Z)|^~|^[A-Za-z][A-Za-z0-9+.-]*:/|(^|/)\.?\Z")


class PathNotAllowed(SpecRejected):
    code = "path_not_allowed"


class QueueUnknown(SpecRejected):
    code = "queue_unknown"


def new_id_for(spec: JobSpec) -> JobId:
    """Of the queue that the spec names. SpecRejected."""
    return new_ids(queue_for(spec), 1)[0]


def new_ids(queue: QueueName, n: int) -> list[JobId]:
    first = new_job_id(queue, now_ms=time.time_ns() // 1_000_000, entropy=random_bytes(10))
    return [first] if n == 1 else job_ids_from(first, n)


async def admit(
    services: Services,
    spec: JobSpec,
    job_id: JobId,
    *,
    replay_of: JobId | None = None,
    retry_of: JobId | None = None,
    models: dict[str, str] | None = None,
) -> Submission:
    """Checked, its queue among those that take jobs, its seed and version of the model pinned. job_id: of new_id_for or
    new_ids, and so of the spec's queue. models: those that were looked up already, by their names.

    An input that the model cannot take is refused, and so is a recipe that no worker has, but not of a job that was
    accepted before: its retry or replay is to end as it did. SpecRejected, InvalidInput, ModelNotFound,
    BackendUnavailable.
    """
    queue = queue_of(job_id)
    # Each of these checks costs a call, and most jobs need none of them.
    if queue not in services.catalog.always:
        await _check_queue(services, queue, is_again=replay_of is not None or retry_of is not None)
    is_first = replay_of is None and retry_of is None
    if is_first:
        spec = await services.recipes.checked(spec, queue)
    _check_paths(spec)
    needs_others = spec.depends_on or spec.source is not None
    parents = await _check_parents(services, spec) if needs_others else _NO_PARENTS
    pinned = await _pin(services, spec, queue, {} if models is None else models, parents)
    if is_first and pinned.model is not None and pinned.input_field is not None and pinned.model not in parents:
        await services.signatures.check(pinned.model, getattr(pinned, pinned.input_field))
    return Submission(job_id=job_id, spec=pinned, replay_of=replay_of, retry_of=retry_of)


def queue_for(spec: JobSpec) -> QueueName:
    kind = kind_of_spec(spec)
    if spec.queue is None:
        return default_queue(kind)
    try:
        queue = parse_queue(spec.queue)
    except MalformedId as error:
        raise SpecRejected(str(error), pointer="/queue") from None
    if kind_of_queue(queue) is not kind:
        raise SpecRejected(f"a queue of {kind} jobs is named {kind} or {kind}-…", pointer="/queue")
    return queue


async def _check_queue(services: Services, queue: QueueName, *, is_again: bool) -> None:
    """A misspelled name would make a queue that nobody serves. is_again: a job was taken there before."""
    if await services.catalog.takes_jobs(queue):
        return
    if is_again:
        await services.catalog.declare(queue)
        return
    known = services.catalog.taking(kind_of_queue(queue))
    named = ", ".join(known[:_MOST_NAMED]) + (
        f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    )
    raise QueueUnknown(
        f"no worker serves a queue of this name and no setting declares it; known are {named}", pointer="/queue"
    )


def _check_paths(spec: JobSpec) -> None:
    """What no data root can hold. The worker, which has the files, checks the rest."""
    for field in spec.path_fields:
        path = getattr(spec, field)
        if path is not None and _FORBIDDEN_IN_PATH.search(path):
            # One message for all, so that it tells nothing about what is there.
            raise PathNotAllowed("a path names a file under the data root", pointer=f"/{field}")


async def _check_parents(services: Services, spec: JobSpec) -> dict[str, Job]:
    """-> the jobs it depends on, as they were named."""
    parents = {
        parent: await _found(services, parent, pointer=f"/depends_on/{i}") for i, parent in enumerate(spec.depends_on)
    }
    if spec.source is not None:
        pointer = f"/{spec.source_field}"
        _check_source(spec, await _found(services, spec.source, pointer=pointer), pointer=pointer)
    return parents


def _check_source(spec: JobSpec, source: Job, *, pointer: str) -> None:
    """What is known before its checkpoint is read: that there is none, and what contradicts it."""
    kind = kind_of_spec(spec)
    if source.kind is not kind:
        raise SpecRejected(f"only a {kind} job can be resumed from", pointer=pointer)
    if source.state.is_terminal and source.checkpoint is None:
        raise SpecRejected("that job ended without a checkpoint to go on from", pointer=pointer)
    spec.check_source(source.spec)


async def _found(services: Services, text: str, *, pointer: str) -> Job:
    try:
        return await services.jobs.find(parse_job_id(text))
    except (MalformedId, JobNotFound, JobExpired):
        raise SpecRejected("there is no such job", pointer=pointer) from None


async def _pin(
    services: Services, spec: JobSpec, queue: QueueName, models: dict[str, str], parents: Mapping[str, Job]
) -> JobSpec:
    """Fix what a replay must repeat: the queue, the seed and the version of the model."""
    model = spec.model
    # One that it depends on will exist by the time this job may run.
    if model is not None and model in parents:
        _check_publishes(parents[model])
    elif model is not None:
        if model not in models:
            models[model] = await _pinned_model(services, model)
        model = models[model]
    return spec.pinned(queue=queue, model=model, draw_seed=_new_seed)


def _new_seed() -> int:
    return int.from_bytes(random_bytes(4)) & _MOST_SEED


async def _pinned_model(services: Services, model_id: str) -> str:
    try:
        return str(await services.pins.ask(model_id))
    except (MalformedId, ModelNotFound):
        if is_job_id(model_id):
            with suppress(JobNotFound, JobExpired, JobUnreadable):
                _check_publishes(await services.jobs.find(parse_job_id(model_id)))
        raise ModelNotFound("no such model is published; GET /models lists those that are") from None


def _check_publishes(job: Job) -> None:
    if job.replay_of is not None:
        raise ModelNotFound("that job is a replay, which publishes no model; name the job that it replays, or a model")
