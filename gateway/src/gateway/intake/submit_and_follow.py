"""Submit jobs, and follow them if asked: the use case behind every surface of the API.

A surface decodes a request into specs, calls `SubmitAndFollow` once, and encodes the outcome in
its own format. Knows no transport and no frames.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import msgspec
from shared_schemas.errors import BackendUnavailable, JobExpired, JobNotFound
from shared_schemas.ids import JobId
from shared_schemas.job import Job, JobState
from shared_schemas.lifecycle import submitted
from shared_schemas.service.failpoints import failpoint
from shared_schemas.specs import JobOptions, JobSpec
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.timeline import Timeline

from gateway.edge.problems import ProblemError
from gateway.feed.ended_job import EndedJob
from gateway.feed.heard import Heard
from gateway.feed.hub import Hub
from gateway.feed.open_streams import check_open_streams
from gateway.feed.subscription import Subscription
from gateway.feed.timeline_source import MOST_JOBS, TimelineSource
from gateway.instrument import GatewayObserver
from gateway.intake.submission import StoredJob, Submissions, new_ids, queue_for
from gateway.settings import GatewaySettings


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
    """Stored, and to be followed from their first event on. heard: what came so far. Whoever
    follows the jobs closes it."""

    job_ids: Sequence[JobId]
    created: bool
    heard: Heard


class SubmitAndFollow:
    def __init__(
        self,
        *,
        submissions: Submissions,
        jobs: Jobs,
        timeline: Timeline,
        hub: Hub,
        settings: GatewaySettings,
        observer: GatewayObserver,
    ) -> None:
        self._submissions, self._jobs, self._timeline, self._hub = submissions, jobs, timeline, hub
        self._settings, self._observer = settings, observer

    async def __call__(
        self,
        given: JobSpec | Sequence[JobSpec],
        *,
        idempotency_key: str | None = None,
        is_followed: bool = False,
        wait_s: float = 0.0,
    ) -> Accepted | Ended | Followed:
        """given: one spec, or a list that is stored whole or not at all. is_followed: the caller
        will stream the events. wait_s: how long to wait for the end of one job, s; a list is not
        waited for.

        ProblemError where it cannot be followed; nothing is stored then. SpecRejected,
        InvalidInput, ModelNotFound, IdempotencyConflict, StateConflict, JobExpired,
        BackendUnavailable.
        """
        if is_followed:
            self._check_followable(given)
        if isinstance(given, JobOptions):
            return await self._one(given, idempotency_key, is_followed, wait_s)
        return await self._list(given, idempotency_key, is_followed)

    async def _one(
        self, spec: JobSpec, idempotency_key: str | None, is_followed: bool, wait_s: float
    ) -> Accepted | Ended | Followed:
        if not (is_followed or wait_s):
            stored = await self._submissions.submit(spec, idempotency_key=idempotency_key)
            failpoint("job_accepted")
            return await self._accepted(spec, stored)
        [new_id] = new_ids(queue_for(spec), 1)
        with ExitStack() as stack:
            heard = stack.enter_context(closing(Heard(self._hub, [new_id])))
            stored = await self._submissions.submit(
                spec, job_id=new_id, idempotency_key=idempotency_key, is_followed=True
            )
            failpoint("job_accepted")
            heard.store([stored])
            if is_followed:
                stack.pop_all()
                return Followed((stored.job_id,), stored.created, heard)
            job = await self._end_within(stored, heard, wait_s)
        return await self._accepted(spec, stored) if job is None else Ended(job, stored.created)

    async def _accepted(self, spec: JobSpec, stored: StoredJob) -> Accepted:
        state = _first_state(spec) if stored.created else (await self._jobs.find(stored.job_id)).state
        return Accepted((stored.job_id,), stored.created, (state,))

    async def _list(
        self, specs: Sequence[JobSpec], idempotency_key: str | None, is_followed: bool
    ) -> Accepted | Followed:
        new = new_ids(queue_for(specs[0]), len(specs))
        with ExitStack() as stack:
            heard = stack.enter_context(closing(Heard(self._hub, new if is_followed else ())))
            stored = await self._submissions.submit_list(
                specs, job_ids=new, idempotency_key=idempotency_key, is_followed=is_followed
            )
            failpoint("job_accepted")
            job_ids, created = [each.job_id for each in stored], stored[0].created
            if is_followed:
                heard.store(stored)
                stack.pop_all()
                return Followed(job_ids, created, heard)
        states = list(map(_first_state, specs)) if created else await self._states_of(job_ids)
        return Accepted(job_ids, created, states)

    async def _states_of(self, job_ids: Sequence[JobId]) -> list[JobState]:
        """JobExpired if one of the jobs no longer exists."""
        states = await self._jobs.states(job_ids)
        found = [state for state in states.values() if state is not None]
        if len(found) < len(job_ids):
            raise JobExpired("the result_ttl of some of the jobs has passed")
        return found

    def _check_followable(self, given: JobSpec | Sequence[JobSpec]) -> None:
        """Called before anything is stored. ProblemError 406, 503."""
        if not isinstance(given, JobOptions) and len(given) > MOST_JOBS:
            raise ProblemError(406, "not_acceptable", f"one event stream follows at most {MOST_JOBS} jobs")
        check_open_streams(self._settings.max_streams)

    async def _end_within(self, stored: StoredJob, heard: Heard, wait_s: float) -> Job | None:
        """The job once it has ended. None if it has not. Raises nothing while it waits, whatever
        happens: the job is stored."""
        job_id = stored.job_id
        source = TimelineSource(self._hub, self._timeline, {job_id: 0}, heard=heard.job_ids)
        sink = EndedJob(submitted(job_id, stored.spec) if stored.created else None)
        subscription = Subscription(self._hub, source, sink, self._observer, idle_s=self._settings.keep_alive_s)
        with closing(subscription.begin(heard)):
            # A cancel scope would cost more than the rest of the wait.
            too_late = asyncio.get_running_loop().call_later(wait_s, sink.ended.set)
            try:
                await sink.ended.wait()
            finally:
                too_late.cancel()
        if not source.is_over:
            return None
        if (job := sink.job()) is not None:
            return job
        try:
            return await self._jobs.find(job_id)
        except (BackendUnavailable, JobExpired, JobNotFound):
            # The caller gets the id, with which it can ask later.
            return None


def _first_state(spec: JobSpec) -> JobState:
    """The state of a job that was just stored, without asking Redis."""
    is_early = spec.run_at is not None and spec.run_at > datetime.now(UTC)
    return JobState.SCHEDULED if spec.depends_on or is_early else JobState.QUEUED
