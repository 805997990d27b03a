"""The blocking client: a thin shell that sends what endpoints.py says and follows as following.py says."""

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
from headrace.answers import DeadLetter, DeadLetterDetails, JobDetails, JobStatus, JobSummary, Listing, Model, Rows
from headrace.checking import seconds_of
from headrace.connection import HEADERS, LineBroken, Settings, pause_before_another, settled
from headrace.endpoints import Page, Request, T, ended
from headrace.errors import ApiError, Unreachable
from headrace.following import Following, Received
from headrace.wire import Wire

A = TypeVar("A", DeadLettersRetried, DeadLettersPurged)


class Client:
    """Talks to one gateway. Safe to share between threads; close it, or use it as a context.

    Every method may raise ApiError, Unreachable or ProtocolError (headrace.errors). Job ids are strings.
    """

    def __init__(self, url: str | None = None, *, profile: str | None = None, settings: Settings | None = None) -> None:
        """url: of the gateway; without one, headrace.addresses says where it is. InvalidSettings if nowhere."""
        self._settings, self._route = settled(url, profile, settings)
        self._wire = Wire(self._route.address, self._route.proxy, timeout_s=self._settings.timeout_s, headers=HEADERS)
        self._rng = random.SystemRandom()

    @property
    def url(self) -> str:
        """The gateway's address, as it was found, without a user."""
        return self._route.address.origin

    def close(self) -> None:
        self._wire.close()

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
        """A job of any kind: a spec, or its fields as keywords."""
        return self.send(endpoints.submit(kind, spec, fields, idempotency_key=idempotency_key))

    def submit_training(
        self,
        spec: TrainingSpec | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted:
        """A spec, or its fields as keywords: submit_training(model_type="mlp", data_path="wine.csv")."""
        return self.submit(JobKind.TRAINING, spec, idempotency_key=idempotency_key, **fields)

    def submit_inference(
        self,
        spec: InferenceSpec | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted:
        """A spec, or its fields as keywords: submit_inference(model_id="prose", input_data="once upon")."""
        return self.submit(JobKind.INFERENCE, spec, idempotency_key=idempotency_key, **fields)

    def submit_list(
        self,
        specs: Iterable[JobSpec | Mapping[str, Any]],
        *,
        idempotency_key: str | UUID | None = None,
    ) -> tuple[Submitted, ...]:
        """Up to 500 jobs of one queue in one request: all of them are accepted, or none."""
        return self.send(endpoints.submit_list(specs, idempotency_key=idempotency_key)).jobs

    def submit_body(self, kind: JobKind | str, body: bytes, *, idempotency_key: str | UUID | None = None) -> Submitted:
        """JSON as it stands: the gateway checks it."""
        return self.send(endpoints.submit_body(kind, body, idempotency_key=idempotency_key))

    def job(self, job_id: str) -> JobDetails:
        return self.send(endpoints.job(job_id))

    def status(self, job_id: str) -> JobStatus:
        return self.send(endpoints.status(job_id))

    def events(self, job_id: str, *, after: int = 0) -> Iterator[StreamEvent]:
        """What happens to the job, from event after + 1 until `done`. A cut line, a gateway that restarts or says 503
        is asked again where it left off; nothing is missing or doubled. Ends at once if there is nothing after."""
        return (item.event for item in self.follow(job_id, after=after) if item.event is not None)

    def follow(self, job_id: str, *, after: int = 0, timeout_s: float | None = None) -> Iterator[Received]:
        """As events, with each event's JSON. WaitTimedOut once timeout_s has passed."""
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
                    self._wire.stream(path, following.headers(), silence_s=self._settings.silence_s) as line,
                    line.cut_after(following.remaining_s()),
                ):
                    is_open = line.status == HTTPStatus.OK
                    following.answered(line.status, line.headers, b"" if is_open else line.read())
                    for chunk in line.chunks() if is_open else ():
                        yield from following.receive(chunk)
                        if following.is_over():
                            return
            except LineBroken as error:
                cause = self._route.unreachable(error)
            if not following.is_over():
                following.cut(cause)
                time.sleep(following.pause_s())

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> JobDetails:
        """The job once it has ended, however it did. WaitTimedOut after timeout_s."""
        timeout_s = seconds_of(timeout_s)
        job = self.job(job_id)
        if job.state.is_terminal:
            return job
        for _ in self.follow(job_id, after=job.last_event, timeout_s=timeout_s):
            pass
        return self.job(job_id)

    def result(self, job_id: str, *, timeout_s: float | None = None) -> Any:
        """What the job returned, decoded from JSON, once it has ended. JobFailed, JobCancelled; WaitTimedOut."""
        return msgspec.json.decode(ended(self.wait(job_id, timeout_s=timeout_s)))

    def cancel(self, job_id: str) -> JobStatus:
        """Cancel the job, or ask its running attempt to end: `events` tells when it has."""
        return self.send(endpoints.cancel(job_id))

    def pause(self, job_id: str) -> JobStatus:
        return self.send(endpoints.pause(job_id))

    def resume(self, job_id: str) -> JobStatus:
        return self.send(endpoints.resume(job_id))

    def retry(self, job_id: str) -> Submitted:
        """A finished job again, as a new one."""
        return self.send(endpoints.retry(job_id))

    def delete_job(self, job_id: str) -> None:
        """Delete a finished job, its timeline and result. Conflict while it has not ended or another one needs it."""
        self.send(endpoints.delete_job(job_id))

    def replay(self, job_id: str) -> Submitted:
        """The same spec, seed and model version again, as a new job whose digest should be the same."""
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
        """Jobs, newest first, page by page as they are asked for."""

        def ask(cursor: str | None) -> Request[Page[JobSummary]]:
            return endpoints.list_jobs(
                kind=kind, state=state, states=states, queue=queue, tag=tag, limit=page_size, cursor=cursor
            )

        return self._rows(ask)

    def attempts(self, job_id: str) -> Rows[AttemptSummary]:
        """Who ran the job, when, how each attempt ended and why: the newest 100, oldest first."""
        return Rows(self.send(endpoints.attempts(job_id)).attempts)

    def dead_letters(
        self,
        *,
        queue: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        page_size: int | None = None,
    ) -> Listing[DeadLetter]:
        """Jobs that failed and were neither retried nor purged, newest first, with all their attempts. code: only those
        whose error has it."""

        def ask(cursor: str | None) -> Request[Page[DeadLetter]]:
            return endpoints.dead_letters(queue=queue, kind=kind, code=code, limit=page_size, cursor=cursor)

        return self._rows(ask)

    def dead_letter(self, job_id: str) -> DeadLetterDetails:
        """All about one. NotFound says why the job is none."""
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
        """Run dead letters again, each once, as a new job: those that meet the filters, or all=True. limit: only the
        newest so many, up to 1000. After an error call it again: it goes on with those that are left."""
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
        """Take dead letters off the list, chosen as for a retry. The failed jobs stay readable."""
        selection = endpoints.selection_of(queue=queue, kind=kind, code=code, all=all, limit=limit)
        pages = self._act(endpoints.purge_dead_letters, selection, to_end=limit is None)
        return [job_id for page in pages for job_id in page.job_ids]

    def models(self) -> Listing[Model]:
        """The newest version of each published model."""
        return self._rows(lambda cursor: endpoints.list_models(cursor=cursor))

    def model(self, name: str) -> Rows[Model]:
        """Every version of a model, newest first."""
        return Rows(self.send(endpoints.model(name)).versions)

    def set_alias(self, name: str, alias: str, version: int) -> Model:
        return self.send(endpoints.set_alias(name, alias, version))

    def delete_model(self, name: str, version: int) -> None:
        """Delete a version; `latest` moves to the newest that is left. Conflict while another alias names it or a job
        that has not ended runs it."""
        self.send(endpoints.delete_model(name, version))

    def queues(self) -> Rows[QueueStatus]:
        return Rows(self.send(endpoints.queues()).queues)

    def recipes(self) -> Rows[RecipeInfo]:
        """What can be trained now: the built-in recipes, and those of the workers that are registered."""
        return Rows(self.send(endpoints.recipes()).recipes)

    def workers(self) -> Rows[WorkerStatus]:
        return Rows(self.send(endpoints.workers()).workers)

    def ready(self) -> bool:
        """Whether the gateway answers and has its Redis. Never raises for a gateway that is away."""
        try:
            self.send(endpoints.ready())
        except (ApiError, Unreachable):
            return False
        return True

    def _rows(self, ask: Callable[[str | None], Request[Page[T]]]) -> Listing[T]:
        """What cannot be asked is told at once, not with the first row."""
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
        """One request, sent again after a cut line or a 503 where that is harmless."""
        failures = 0
        while True:
            try:
                answer = self._wire.request(request.method, request.target(), request.headers, request.body)
                return request.read(answer.status, answer.headers, answer.body)
            except (LineBroken, ApiError) as error:
                failures += 1
                pause_s = pause_before_another(request, failures, error, self._route, self._settings, self._rng)
            time.sleep(pause_s)
