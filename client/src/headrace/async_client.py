"""The async client, for asyncio and trio. Has the same methods as client.py.

Knows no path of the API and no format.
"""

import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import anyio
import httpx2
import msgspec
from anyio.lowlevel import RunVar
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
from headrace.answers import AsyncListing, DeadLetter, DeadLetterDetails, JobDetails, JobStatus, JobSummary, Rows
from headrace.batch_calls import AsyncBatchCalls
from headrace.checking import seconds_of
from headrace.connection import HEADERS, ConnectionFailed, Route, Settings, pause_before_resend, settings_and_route
from headrace.endpoints import Page, Request, T, ended
from headrace.errors import ApiError, ClientClosed, Unreachable, WaitTimedOut
from headrace.following import Following, Received
from headrace.model_calls import AsyncModelCalls
from headrace.wire import tls_context

A = TypeVar("A", DeadLettersRetried, DeadLettersPurged)


class AsyncClient(AsyncBatchCalls, AsyncModelCalls):
    """An async client of one gateway, with the methods of Client, which documents them.

    It can be used in several event loops: each has its own connections. If you leave a loop over
    events early, close the iterator (contextlib.aclosing).
    """

    def __init__(self, url: str | None = None, *, profile: str | None = None, settings: Settings | None = None) -> None:
        self._settings, self._route = settings_and_route(url, profile, settings)
        self._of_loop: RunVar[httpx2.AsyncClient | None] = RunVar(f"headrace-{id(self)}")
        self._closed = False
        self._rng = random.SystemRandom()

    @property
    def url(self) -> str:
        """The address of the gateway, without user and password."""
        return self._route.address.origin

    async def close(self) -> None:
        """Close the connections of this event loop. Those of another loop end with that loop."""
        self._closed = True
        if http := self._of_loop.get(None):
            self._of_loop.set(None)
            await http.aclose()

    def _http(self) -> httpx2.AsyncClient:
        """The connections of the running event loop. No other loop can use them."""
        if self._closed:
            raise ClientClosed("the client is closed")
        http = self._of_loop.get(None)
        if http is None:
            http = _http_client(self._settings, self._route)
            self._of_loop.set(http)
        return http

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def submit(
        self,
        kind: JobKind | str,
        spec: JobSpec | Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted:
        return await self.send(endpoints.submit(kind, spec, fields, idempotency_key=idempotency_key))

    async def submit_training(
        self,
        spec: TrainingSpec | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted:
        return await self.submit(JobKind.TRAINING, spec, idempotency_key=idempotency_key, **fields)

    async def submit_inference(
        self,
        spec: InferenceSpec | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted:
        return await self.submit(JobKind.INFERENCE, spec, idempotency_key=idempotency_key, **fields)

    async def submit_list(
        self,
        specs: Iterable[JobSpec | Mapping[str, Any]],
        *,
        idempotency_key: str | UUID | None = None,
    ) -> tuple[Submitted, ...]:
        return (await self.send(endpoints.submit_list(specs, idempotency_key=idempotency_key))).jobs

    async def submit_body(
        self, kind: JobKind | str, body: bytes, *, idempotency_key: str | UUID | None = None
    ) -> Submitted:
        return await self.send(endpoints.submit_body(kind, body, idempotency_key=idempotency_key))

    async def job(self, job_id: str) -> JobDetails:
        return await self.send(endpoints.job(job_id))

    async def status(self, job_id: str) -> JobStatus:
        return await self.send(endpoints.status(job_id))

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[StreamEvent]:
        async for item in self.follow(job_id, after=after):
            if item.event is not None:
                yield item.event

    async def follow(self, job_id: str, *, after: int = 0) -> AsyncIterator[Received]:
        following = Following(after=after, patience_s=self._settings.patience_s, clock=time.monotonic, rng=self._rng)
        path = endpoints.events_path(job_id)
        timeout = _timeout(self._settings, read_s=self._settings.silence_s)
        while not following.is_over():
            cause: Exception | None = None
            try:
                async with self._http().stream("GET", path, headers=following.headers(), timeout=timeout) as response:
                    is_open = response.status_code == HTTPStatus.OK
                    body = b"" if is_open else await response.aread()
                    following.answered(response.status_code, response.headers, body)
                    if is_open:
                        async for chunk in response.aiter_bytes():
                            for item in following.receive(chunk):
                                yield item
                            if following.is_over():
                                return
            except httpx2.TransportError as error:
                cause = self._route.unreachable(_connection_failed(error))
            if not following.is_over():
                following.cut(cause)
                await anyio.sleep(following.pause_s())

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> JobDetails:
        try:
            with anyio.fail_after(seconds_of(timeout_s)):
                job = await self.job(job_id)
                if job.state.is_terminal:
                    return job
                async for _ in self.follow(job_id, after=job.last_event):
                    pass
                return await self.job(job_id)
        except TimeoutError:
            raise WaitTimedOut("the job has not ended in time") from None

    async def result(self, job_id: str, *, timeout_s: float | None = None) -> Any:
        return msgspec.json.decode(ended(await self.wait(job_id, timeout_s=timeout_s)))

    async def cancel(self, job_id: str) -> JobStatus:
        return await self.send(endpoints.cancel(job_id))

    async def pause(self, job_id: str) -> JobStatus:
        return await self.send(endpoints.pause(job_id))

    async def resume(self, job_id: str) -> JobStatus:
        return await self.send(endpoints.resume(job_id))

    async def retry(self, job_id: str) -> Submitted:
        return await self.send(endpoints.retry(job_id))

    async def delete_job(self, job_id: str) -> None:
        """Delete a finished job, its timeline and its result. Conflict if it has not ended, or
        if another job needs it."""
        await self.send(endpoints.delete_job(job_id))

    async def replay(self, job_id: str) -> Submitted:
        return await self.send(endpoints.replay(job_id))

    def list(
        self,
        *,
        kind: str | None = None,
        state: JobState | str | None = None,
        states: Iterable[JobState | str] | str | None = (),
        queue: str | None = None,
        tag: str | None = None,
        page_size: int | None = None,
    ) -> AsyncListing[JobSummary]:
        def ask(cursor: str | None) -> Request[Page[JobSummary]]:
            return endpoints.list_jobs(
                kind=kind, state=state, states=states, queue=queue, tag=tag, limit=page_size, cursor=cursor
            )

        return self._rows(ask)

    async def attempts(self, job_id: str) -> Rows[AttemptSummary]:
        return Rows((await self.send(endpoints.attempts(job_id))).attempts)

    def dead_letters(
        self,
        *,
        queue: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        page_size: int | None = None,
    ) -> AsyncListing[DeadLetter]:
        def ask(cursor: str | None) -> Request[Page[DeadLetter]]:
            return endpoints.dead_letters(queue=queue, kind=kind, code=code, limit=page_size, cursor=cursor)

        return self._rows(ask)

    async def dead_letter(self, job_id: str) -> DeadLetterDetails:
        return await self.send(endpoints.dead_letter(job_id))

    async def retry_dead_letters(
        self,
        *,
        queue: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        all: bool = False,
        limit: int | None = None,
    ) -> Sequence[RetriedJob]:
        selection = endpoints.selection_of(queue=queue, kind=kind, code=code, all=all, limit=limit)
        pages = self._act(endpoints.retry_dead_letters, selection, to_end=limit is None)
        return [job async for page in pages for job in page.jobs]

    async def purge_dead_letters(
        self,
        *,
        queue: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        all: bool = False,
        limit: int | None = None,
    ) -> Sequence[JobId]:
        selection = endpoints.selection_of(queue=queue, kind=kind, code=code, all=all, limit=limit)
        pages = self._act(endpoints.purge_dead_letters, selection, to_end=limit is None)
        return [job_id async for page in pages for job_id in page.job_ids]

    async def queues(self) -> Rows[QueueStatus]:
        return Rows((await self.send(endpoints.queues())).queues)

    async def recipes(self) -> Rows[RecipeInfo]:
        """The built-in recipes, and those of the registered workers."""
        return Rows((await self.send(endpoints.recipes())).recipes)

    async def workers(self) -> Rows[WorkerStatus]:
        return Rows((await self.send(endpoints.workers())).workers)

    async def ready(self) -> bool:
        try:
            await self.send(endpoints.ready())
        except (ApiError, Unreachable):
            return False
        return True

    def _rows(self, ask: Callable[[str | None], Request[Page[T]]]) -> AsyncListing[T]:
        return AsyncListing(self._pages(ask, ask(None)))

    async def _pages(self, ask: Callable[[str | None], Request[Page[T]]], first: Request[Page[T]]) -> AsyncIterator[T]:
        page = await self.send(first)
        while True:
            for row in page.rows:
                yield row
            if page.next_cursor is None:
                return
            page = await self.send(ask(page.next_cursor))

    async def _act(
        self, verb: Callable[[DeadLetterSelection], Request[A]], selection: DeadLetterSelection, *, to_end: bool
    ) -> AsyncIterator[A]:
        while True:
            page = await self.send(verb(selection))
            yield page
            if page.next_cursor is None or not to_end:
                return
            selection = msgspec.structs.replace(selection, cursor=page.next_cursor)

    async def send(self, request: Request[T]) -> T:
        failures = 0
        while True:
            try:
                response = await self._http().request(
                    request.method, request.target(), headers=request.headers, content=request.body
                )
                return request.read(response.status_code, response.headers, response.content)
            except (httpx2.TransportError, ApiError) as error:
                failures += 1
                failure = error if isinstance(error, ApiError) else _connection_failed(error)
                pause_s = pause_before_resend(request, failures, failure, self._route, self._settings, self._rng)
            await anyio.sleep(pause_s)


def _http_client(settings: Settings, route: Route) -> httpx2.AsyncClient:
    address, proxy = route.address, route.proxy
    headers = HEADERS | ({"authorization": user} if (user := address.authorization()) else {})
    return httpx2.AsyncClient(
        base_url=address.origin,
        headers=headers,
        timeout=_timeout(settings, read_s=settings.timeout_s),
        # headrace.addresses has read the environment, for both clients alike.
        trust_env=False,
        verify=tls_context() if "https" in (address.scheme, proxy and proxy.scheme) else False,
        proxy=None if proxy is None else httpx2.Proxy(proxy.origin, auth=proxy.credentials()),
    )


def _timeout(settings: Settings, *, read_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(settings.timeout_s, connect=min(settings.timeout_s, 10.0), read=read_s)


def _connection_failed(error: httpx2.TransportError) -> ConnectionFailed:
    never_sent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
    return ConnectionFailed(str(error) or type(error).__name__, never_sent=never_sent)
