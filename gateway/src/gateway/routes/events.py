"""The events of one job, many jobs or all jobs, as server-sent events, NDJSON or a JSON page. Knows
no frame: a surface encodes events.
"""

from collections.abc import Awaitable
from typing import Annotated, Literal

import msgspec
from fastapi import Request, Response
from msgspec import Meta
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import JobId
from shared_schemas.numbers import whole_number
from shared_schemas.replies import EventPage, ProblemItem

from gateway.edge.problems import ProblemError
from gateway.feed.change_log_source import ChangeLogSource, LogGap, end_of_logs, parse_cursor
from gateway.feed.open_streams import TOO_MANY, check_open_streams
from gateway.feed.stream_response import SSE
from gateway.feed.timeline_source import MOST_JOBS
from gateway.routes.lookup import job_id_of
from gateway.routes.route import Call
from gateway.services import Services
from gateway.surfaces.native import responses
from gateway.surfaces.native.frames import JSON, NDJSON, gap_of_log, with_job_id
from gateway.surfaces.native.streams import empty_stream, stream_of_job, stream_of_jobs, stream_of_log

_LAST_NUMBER = 10**12 - 1
_PAGE = 500


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """after: the last event that the reader has; the header Last-Event-ID wins over it. follow:
    false ends the response after the last event that is stored now."""

    after: Annotated[str, Meta(max_length=16_384)] | None = None
    follow: Literal["true", "false"] = "true"

    @property
    def is_live(self) -> bool:
        return self.follow == "true"


class AllEventsQuery(EventsQuery, frozen=True, kw_only=True):
    """job: only these jobs; may be given up to 100 times. Without it: the changes of state of all
    jobs, from `after`, or from now on."""

    job: Annotated[tuple[str, ...], Meta(max_length=MOST_JOBS)] = ()


async def job_events(call: Call[EventsQuery, None]) -> Response:
    """The events of a job after any number, then live until `done`. A finished job's events are
    sent again. 204 if the reader has them all."""
    return await _or_empty_stream(call, _events_of_job(call))


async def all_events(call: Call[AllEventsQuery, None]) -> Response:
    """The events of many jobs in one stream, or the changes of state of all jobs, in order. Every
    event names its job."""
    return await _or_empty_stream(call, _events_of_many(call) if call.query.job else _events_of_all(call))


async def _or_empty_stream(call: Call[EventsQuery, None], answer: Awaitable[Response]) -> Response:
    """The answer, or, where it is a 503, a stream that is cut at once for an EventSource that
    reconnects: a 503 would make it give up, and after a cut it tries again."""
    try:
        return await answer
    except (BackendUnavailable, ProblemError) as error:
        if isinstance(error, ProblemError) and error.code != TOO_MANY:
            raise
        request = call.request
        if request.headers.get("last-event-id", "0") == "0" or _media_type(request) != SSE:
            raise
        return empty_stream(call.services)


async def _events_of_job(call: Call[EventsQuery, None]) -> Response:
    services, query, media_type = call.services, call.query, _media_type(call.request)
    job_id, last, is_done = await _bounds(services, call.path["job_id"])
    cursor = _cursor_text(call.request, query) or "0"
    after = whole_number(cursor, most=_LAST_NUMBER)
    if after is None:
        raise _bad_cursor()
    if media_type == JSON:
        return await _job_page(services, job_id, after, last, is_done)
    if is_done and after >= last:
        return Response(status_code=204)
    check_open_streams(services.settings.max_streams)
    return stream_of_job(services, job_id, after=after, media_type=media_type, follow=query.is_live)


async def _events_of_many(call: Call[AllEventsQuery, None]) -> Response:
    """204 if every job has ended and the reader has all events."""
    services, query, media_type = call.services, call.query, _media_type(call.request)
    if media_type == JSON:
        raise ProblemError(406, "not_acceptable", "many jobs are sent as an event stream or NDJSON")
    places: dict[JobId, int] = {}
    ended: set[JobId] = set()
    for text, after in _cursors_of_jobs(query.job, _cursor_text(call.request, query)).items():
        job_id, last, is_done = await _bounds(services, text)
        places[job_id] = after
        if is_done and after >= last:
            ended.add(job_id)
    if len(ended) == len(places):
        return Response(status_code=204)
    check_open_streams(services.settings.max_streams)
    followed = {job_id: after for job_id, after in places.items() if job_id not in ended}
    return stream_of_jobs(services, places, followed=followed, media_type=media_type, follow=query.is_live)


async def _events_of_all(call: Call[AllEventsQuery, None]) -> Response:
    services, query, media_type = call.services, call.query, _media_type(call.request)
    text = _cursor_text(call.request, query)
    places = await end_of_logs(services.change_log, services.catalog.names) if text is None else parse_cursor(text)
    if places is None:
        raise _bad_cursor()
    if media_type != JSON:
        check_open_streams(services.settings.max_streams)
    log = ChangeLogSource(services.hub, services.change_log, services.catalog.names, places)
    gaps = await log.gaps() if text is not None else []
    if media_type != JSON:
        return stream_of_log(services, log, gaps, media_type=media_type, follow=query.is_live)
    entries = (await log.page())[:_PAGE]
    events = [
        *(gap_of_log(gap) for gap in gaps if isinstance(gap, LogGap)),
        *(with_job_id(entry.job_id, entry.data) for entry in entries),
    ]
    for entry in entries:
        log.advance(entry)
    page = EventPage(events=tuple(map(msgspec.Raw, events)), next_after=log.cursor() or "0", done=False)
    return responses.json_response(page)


async def _job_page(services: Services, job_id: JobId, after: int, last: int, is_done: bool) -> Response:
    entries = await services.timeline.read(job_id, after=after, limit=_PAGE)
    reached = entries[-1].n if entries else after
    done = (is_done and reached >= last) or bool(entries and entries[-1].event == "done")
    events = tuple(msgspec.Raw(entry.data) for entry in entries)
    return responses.json_response(EventPage(events=events, next_after=str(reached), done=done))


async def _bounds(services: Services, text: str) -> tuple[JobId, int, bool]:
    """-> (id, number of its last event, whether it has ended). JobNotFound, JobExpired."""
    job = await services.jobs.find(job_id_of(text))
    return job.id, job.last_event, job.state.is_terminal


def _cursors_of_jobs(jobs: tuple[str, ...], text: str | None) -> dict[str, int]:
    given: dict[str, int] = {}
    for part in (text or "").split(",") if text not in (None, "", "0") else ():
        name, _, number = part.rpartition(":")
        after = whole_number(number, most=_LAST_NUMBER)
        if after is None:
            raise _bad_cursor()
        given[name] = after
    return {job: given.get(job, 0) for job in jobs}


def _cursor_text(request: Request, query: EventsQuery) -> str | None:
    return request.headers.get("last-event-id", query.after)


def _media_type(request: Request) -> str:
    """The media type that Accept asks for. What curl and EventSource send by default gets SSE."""
    accept = request.headers.get("accept", "*/*")
    for media_type in (SSE, NDJSON, JSON):
        if media_type in accept:
            return media_type
    if "*/*" in accept or "text/*" in accept:
        return SSE
    raise ProblemError(406, "not_acceptable", f"events come as {SSE}, {NDJSON} or {JSON}")


def _bad_cursor() -> ProblemError:
    item = ProblemItem(pointer="after", code="invalid_value", detail="not a cursor of this stream")
    return ProblemError(422, "invalid_parameter", "the cursor is not valid", errors=[item])
