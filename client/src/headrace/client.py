"""The blocking client. Sends requests and reads event streams; endpoints.py and
following.py decide which.

Has the same methods as async_client.py. Knows no path of the API and no format.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import msgspec
from shared_schemas.attempts import AttemptSummary
from shared_schemas.capabilities import RecipeInfo
from shared_schemas.events import StreamEvent
from shared_schemas.ids import JobId
from shared_schemas.job import JobState, QueueStatus, WorkerStatus
from shared_schemas.kinds import JobKind
from shared_schemas.replies import (
    DeadLetterSelection,
    DeadLettersPurged,
    DeadLettersRetried,
    RetriedJob,
    Submitted,
)
from shared_schemas.specs import InferenceSpec, JobSpec, TrainingSpec

from headrace import endpoints
from headrace.answers import DeadLetter, DeadLetterDetails, JobDetails, JobStatus, JobSummary, Listing, Rows
from headrace.batch_calls import BatchCalls
from headrace.checking import seconds_of
from headrace.connection import HEADERS, ConnectionFailed, Settings, pause_before_resend, settings_and_route
from headrace.endpoints import Page, Request, T, ended
from headrace.errors import ApiError, Unreachable
from headrace.following import Following, Received
from headrace.model_calls import ModelCalls
from headrace.wire import ConnectionPool

A = TypeVar("A", DeadLettersRetried, DeadLettersPurged)


class Client(BatchCalls, ModelCalls):
    """A blocking client of one gateway. Several threads can share it. Close it after use, or use it
    in `with`.

    Job ids are strings. Every method can raise ApiError, Unreachable or ProtocolError, and some
    raise more: headrace.errors lists all errors.
    """

    def __init__(self, url: str | None = None, *, profile: str | None = None, settings: Settings | None = None) -> None:
        """url: the gateway. Without a URL or profile, headrace.addresses finds the gateway.
        InvalidSettings if the URL, the profile or a proxy cannot be used."""
        self._settings, self._route = settings_and_route(url, profile, settings)
        self._pool = ConnectionPool(
            self._route.address, self._route.proxy, timeout_s=self._settings.timeout_s, headers=HEADERS
        )
        self._rng = random.SystemRandom()

    @property
    def url(self) -> str:
        """The address of the gateway, without user and password."""
        return self._route.address.origin

    def close(self) -> None:
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(
        self,
        kind: JobKind | str,
        spec: JobSpec | Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted:
        """Submit a job of any kind. Give a spec, or its fields as keywords."""
        return self.send(endpoints.submit(kind, spec, fields, idempotency_key=idempotency_key))

    def submit_training(
        self,
        spec: TrainingSpec | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted:
        """Submit a training job. Give a spec, or its fields as keywords:
        submit_training(model_type="mlp", data_path="wine.csv")."""
        return self.submit(JobKind.TRAINING, spec, idempotency_key=idempotency_key, **fields)

    def submit_inference(
        self,
        spec: InferenceSpec | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted:
        """Submit an inference job. Give a spec, or its fields as keywords:
        submit_inference(model_id="prose", input_data="once upon")."""
        return self.submit(JobKind.INFERENCE, spec, idempotency_key=idempotency_key, **fields)

    def submit_list(
        self,
        specs: Iterable[JobSpec | Mapping[str, Any]],
        *,
        idempotency_key: str | UUID | None = None,
    ) -> tuple[Submitted, ...]:
        """Submit up to 500 jobs of one queue in one request. The gateway accepts all or none."""
        return self.send(endpoints.submit_list(specs, idempotency_key=idempotency_key)).jobs

    def submit_body(self, kind: JobKind | str, body: bytes, *, idempotency_key: str | UUID | None = None) -> Submitted:
        """Submit JSON unchanged and unchecked. The gateway checks it."""
        return self.send(endpoints.submit_body(kind, body, idempotency_key=idempotency_key))

    def job(self, job_id: str) -> JobDetails:
        return self.send(endpoints.job(job_id))

    def status(self, job_id: str) -> JobStatus:
        return self.send(endpoints.status(job_id))

    def events(self, job_id: str, *, after: int = 0) -> Iterator[StreamEvent]:
        """The events of the job, from event after + 1 to `done`, each once and in order. If the
        connection breaks, or the gateway restarts or answers 503, the client reconnects and
        continues there. Ends at once if the job has ended and no event is left."""
        return (item.event for item in self.follow(job_id, after=after) if item.event is not None)

    def follow(self, job_id: str, *, after: int = 0, timeout_s: float | None = None) -> Iterator[Received]:
        """Like `events`, with the JSON of each event. WaitTimedOut after timeout_s."""
        timeout_s = seconds_of(timeout_s)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        following = Following(
            after=after,
            patience_s=self._settings.patience_s,
            clock=time.monotonic,
            rng=self._rng,
            deadline=deadline,
        )
        path = endpoints.events_path(job_id)
        while not following.is_over():
            cause: Exception | None = None
            try:
                with (
                    self._pool.stream(path, following.headers(), silence_s=self._settings.silence_s) as stream,
                    stream.cut_after(following.remaining_s()),
                ):
                    is_open = stream.status == HTTPStatus.OK
                    following.answered(stream.status, stream.headers, b"" if is_open else stream.read())
                    for chunk in stream.chunks() if is_open else ():
                        yield from following.receive(chunk)
                        if following.is_over():
                            return
            except ConnectionFailed as error:
                cause = self._route.unreachable(error)
            if not following.is_over():
                following.cut(cause)
                time.sleep(following.pause_s())

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> JobDetails:
        """Wait until the job has ended, in whatever state. WaitTimedOut after timeout_s."""
        timeout_s = seconds_of(timeout_s)
        job = self.job(job_id)
        if job.state.is_terminal:
            return job
        for _ in self.follow(job_id, after=job.last_event, timeout_s=timeout_s):
            pass
        return self.job(job_id)

    def result(self, job_id: str, *, timeout_s: float | None = None) -> Any:
        """Wait until the job has ended. -> its result, decoded from JSON. JobFailed,
        JobCancelled, WaitTimedOut."""
        return msgspec.json.decode(ended(self.wait(job_id, timeout_s=timeout_s)))

    def cancel(self, job_id: str) -> JobStatus:
        """Cancel the job. If it is running, ask its attempt to end; `events` shows when it has ended."""
        return self.send(endpoints.cancel(job_id))

    def pause(self, job_id: str) -> JobStatus:
        return self.send(endpoints.pause(job_id))

    def resume(self, job_id: str) -> JobStatus:
        return self.send(endpoints.resume(job_id))

    def retry(self, job_id: str) -> Submitted:
        """Submit a finished job again, as a new job."""
        return self.send(endpoints.retry(job_id))

    def delete_job(self, job_id: str) -> None:
        """Delete a finished job, its timeline and its result. Conflict if it has not ended, or
        if another job needs it."""
        self.send(endpoints.delete_job(job_id))

    def replay(self, job_id: str) -> Submitted:
        """Run the same spec, seed and model version as a new job. Its result
        should have the same digest."""
        return self.send(endpoints.replay(job_id))

    def list(
        self,
        *,
        kind: str | None = None,
        state: JobState | str | None = None,
        states: Iterable[JobState | str] | str | None = (),
        queue: str | None = None,
        tag: str | None = None,
        page_size: int | None = None,
    ) -> Listing[JobSummary]:
        """Jobs, newest first. Pages are requested as you iterate."""

        def ask(cursor: str | None) -> Request[Page[JobSummary]]:
            return endpoints.list_jobs(
                kind=kind, state=state, states=states, queue=queue, tag=tag, limit=page_size, cursor=cursor
            )

        return self._rows(ask)

    def attempts(self, job_id: str) -> Rows[AttemptSummary]:
        """The newest 100 attempts, oldest first: worker, times, how each ended and why."""
        return Rows(self.send(endpoints.attempts(job_id)).attempts)

    def dead_letters(
        self,
        *,
        queue: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        page_size: int | None = None,
    ) -> Listing[DeadLetter]:
        """Jobs that failed and were neither retried nor purged, newest first, each with its
        attempts. code: only jobs that failed with this error code."""

        def ask(cursor: str | None) -> Request[Page[DeadLetter]]:
            return endpoints.dead_letters(queue=queue, kind=kind, code=code, limit=page_size, cursor=cursor)

        return self._rows(ask)

    def dead_letter(self, job_id: str) -> DeadLetterDetails:
        """One dead letter with all details. NotFound says why if the job is not a dead letter."""
        return self.send(endpoints.dead_letter(job_id))

    def retry_dead_letters(
        self,
        *,
        queue: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        all: bool = False,
        limit: int | None = None,
    ) -> Sequence[RetriedJob]:
        """Submit dead letters again, each once, as a new job: those that match the filters, or with
        all=True all of them. limit: only this many of the newest, up to 1000. After an error, call
        it again for the rest."""
        selection = endpoints.selection_of(queue=queue, kind=kind, code=code, all=all, limit=limit)
        pages = self._act(endpoints.retry_dead_letters, selection, to_end=limit is None)
        return [job for page in pages for job in page.jobs]

    def purge_dead_letters(
        self,
        *,
        queue: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        all: bool = False,
        limit: int | None = None,
    ) -> Sequence[JobId]:
        """Take dead letters off the list. The filters are those of retry_dead_letters. The failed
        jobs can still be read."""
        selection = endpoints.selection_of(queue=queue, kind=kind, code=code, all=all, limit=limit)
        pages = self._act(endpoints.purge_dead_letters, selection, to_end=limit is None)
        return [job_id for page in pages for job_id in page.job_ids]

    def queues(self) -> Rows[QueueStatus]:
        return Rows(self.send(endpoints.queues()).queues)

    def recipes(self) -> Rows[RecipeInfo]:
        """The built-in recipes, and those of the registered workers."""
        return Rows(self.send(endpoints.recipes()).recipes)

    def workers(self) -> Rows[WorkerStatus]:
        return Rows(self.send(endpoints.workers()).workers)

    def ready(self) -> bool:
        """Whether the gateway and its Redis answer. False if the gateway cannot be reached."""
        try:
            self.send(endpoints.ready())
        except (ApiError, Unreachable):
            return False
        return True

    def _rows(self, ask: Callable[[str | None], Request[Page[T]]]) -> Listing[T]:
        """Builds the first request now, so that a wrong argument raises here and not at the first
        row."""
        return Listing(self._pages(ask, ask(None)))

    def _pages(self, ask: Callable[[str | None], Request[Page[T]]], first: Request[Page[T]]) -> Iterator[T]:
        page = self.send(first)
        while True:
            yield from page.rows
            if page.next_cursor is None:
                return
            page = self.send(ask(page.next_cursor))

    def _act(
        self, verb: Callable[[DeadLetterSelection], Request[A]], selection: DeadLetterSelection, *, to_end: bool
    ) -> Iterator[A]:
        while True:
            page = self.send(verb(selection))
            yield page
            if page.next_cursor is None or not to_end:
                return
            selection = msgspec.structs.replace(selection, cursor=page.next_cursor)

    def send(self, request: Request[T]) -> T:
        """Send a request. Send it again after a lost connection or a 503, if that is harmless."""
        failures = 0
        while True:
            try:
                response = self._pool.request(request.method, request.target(), request.headers, request.body)
                return request.read(response.status, response.headers, response.body)
            except (ConnectionFailed, ApiError) as error:
                failures += 1
                pause_s = pause_before_resend(request, failures, error, self._route, self._settings, self._rng)
            time.sleep(pause_s)
