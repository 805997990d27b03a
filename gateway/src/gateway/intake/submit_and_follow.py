"""Submit jobs, and follow them if asked: the use case behind every surface of the API.

A surface decodes a request into specs, calls `submit_and_follow` once, and encodes the outcome in
its own words. Knows no transport and no frames.
"""

from collections.abc import Sequence
from contextlib import closing, nullcontext
from datetime import UTC, datetime

import anyio
import msgspec
from shared_schemas.ids import JobId
from shared_schemas.job import Job, JobState
from shared_schemas.service.failpoints import failpoint
from shared_schemas.specs import JobOptions, JobSpec
from shared_schemas.stream import keys

from gateway.edge.problems import ProblemError
from gateway.feed.open_streams import check_open_streams
from gateway.feed.subscription import EndOnly, Subscription
from gateway.feed.timeline_source import MOST_JOBS, TimelineSource
from gateway.intake.admission import new_id_for
from gateway.intake.submission import states_of, submit, submit_list
from gateway.services import Services


class Accepted(msgspec.Struct, frozen=True):
    """Stored, and no more is known. created: false where an earlier request with the same
    Idempotency-Key made the jobs. states: of the jobs, in the same order."""

    job_ids: Sequence[JobId]
    created: bool
    states: Sequence[JobState]


class Ended(msgspec.Struct, frozen=True):
    """The one job ended while the request waited."""

    job: Job
    created: bool


class Followed(msgspec.Struct, frozen=True):
    """Stored, and to be followed from their first event on."""

    job_ids: Sequence[JobId]
    created: bool


async def submit_and_follow(
    services: Services,
    given: JobSpec | Sequence[JobSpec],
    *,
    idempotency_key: str | None = None,
    is_followed: bool = False,
    wait_s: float = 0.0,
) -> Accepted | Ended | Followed:
    """given: one spec, or a list that is stored whole or not at all. is_followed: the caller will
    stream the events. wait_s: how long to wait for the end of one job, s; a list is not waited for.

    ProblemError where it cannot be followed; nothing is stored then. SpecRejected, InvalidInput,
    ModelNotFound, IdempotencyConflict, StateConflict, JobExpired, BackendUnavailable.
    """
    if is_followed:
        _check_followable(services, given)
    if isinstance(given, JobOptions):
        return await _one(services, given, idempotency_key, is_followed, wait_s)
    return await _list(services, given, idempotency_key, is_followed)


async def _one(
    services: Services, spec: JobSpec, idempotency_key: str | None, is_followed: bool, wait_s: float
) -> Accepted | Ended | Followed:
    new_id = new_id_for(spec)
    # Redis confirms the subscription while the job is stored. Who only submits needs none.
    with services.hub.expecting(keys.job_channel(new_id)) if is_followed or wait_s else nullcontext():
        stored = await submit(services, spec, job_id=new_id, idempotency_key=idempotency_key)
    failpoint("job_accepted")
    job_id = stored.job_id
    if is_followed:
        return Followed((job_id,), stored.created)
    if wait_s and await _has_ended_within(services, job_id, wait_s):
        return Ended(await services.jobs.find(job_id), stored.created)
    state = _first_state(spec) if stored.created else (await services.jobs.find(job_id)).state
    return Accepted((job_id,), stored.created, (state,))


async def _list(
    services: Services, specs: Sequence[JobSpec], idempotency_key: str | None, is_followed: bool
) -> Accepted | Followed:
    stored = await submit_list(services, specs, idempotency_key=idempotency_key)
    failpoint("job_accepted")
    job_ids, created = [each.job_id for each in stored], stored[0].created
    if is_followed:
        return Followed(job_ids, created)
    states = list(map(_first_state, specs)) if created else await states_of(services, job_ids)
    return Accepted(job_ids, created, states)


def _check_followable(services: Services, given: JobSpec | Sequence[JobSpec]) -> None:
    """Before anything is stored. ProblemError 406, 503."""
    if not isinstance(given, JobOptions) and len(given) > MOST_JOBS:
        raise ProblemError(406, "not_acceptable", f"one event stream follows at most {MOST_JOBS} jobs")
    check_open_streams(services.settings.max_streams)


def _first_state(spec: JobSpec) -> JobState:
    """The state of a job that was just stored, without asking Redis."""
    is_early = spec.run_at is not None and spec.run_at > datetime.now(UTC)
    return JobState.SCHEDULED if spec.depends_on or is_early else JobState.QUEUED


async def _has_ended_within(services: Services, job_id: JobId, wait_s: float) -> bool:
    """Whatever happens while it waits, the job is stored, so nothing is raised."""
    source, sink = TimelineSource(services.hub, services.timeline, {job_id: 0}), EndOnly()
    with (
        closing(Subscription(services.hub, source, sink, idle_s=services.settings.keep_alive_s).begin()),
        anyio.move_on_after(wait_s),
    ):
        await sink.ended.wait()
    return source.is_over
