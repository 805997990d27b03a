"""Event streams of Headrace's own API, in the media type that the reader asked for. Knows no
request."""

from collections.abc import Callable, Collection
from typing import TypeVar

from fastapi import Response
from shared_schemas.ids import JobId

from gateway.feed.change_log_source import ChangeLogSource, LogBatch
from gateway.feed.heard import Heard
from gateway.feed.reader_stream import ReaderStream
from gateway.feed.stream_response import SSE, CutAtOnce, StreamResponse
from gateway.feed.subscription import Source, Subscription
from gateway.feed.timeline_source import TimelineSource
from gateway.services import Services
from gateway.surfaces.native.frames import many_jobs, one_job, opening, whole_log

T = TypeVar("T")


def stream_of_job(
    services: Services,
    job_id: JobId,
    *,
    after: int,
    heard: Heard | None = None,
    media_type: str,
    follow: bool = True,
    headers: dict[str, str] | None = None,
) -> Response:
    """after: the number of the last event that the reader has. heard: of this job from its first
    event on; the response closes it. follow: false ends the stream with the last event that there
    is now."""
    source = TimelineSource(services.hub, services.timeline, {job_id: after}, heard=_jobs_in(heard))
    return _respond(services, source, one_job(media_type), media_type, heard=heard, follow=follow, headers=headers)


def stream_of_jobs(
    services: Services,
    places: dict[JobId, int],
    *,
    followed: dict[JobId, int] | None = None,
    heard: Heard | None = None,
    media_type: str,
    follow: bool = True,
    headers: dict[str, str] | None = None,
) -> Response:
    """places: the reader's last number in each job. followed: only these jobs, those that have not
    ended; all by default. heard: as in stream_of_job."""
    cursors = places if followed is None else followed
    source = TimelineSource(services.hub, services.timeline, cursors, heard=_jobs_in(heard))
    encode = many_jobs(media_type, places)
    return _respond(services, source, encode, media_type, heard=heard, follow=follow, headers=headers)


def stream_of_log(
    services: Services, log: ChangeLogSource, gaps: LogBatch, *, media_type: str, follow: bool = True
) -> Response:
    """gaps: of what is no longer kept after the reader's cursor; sent first."""
    encode = whole_log(media_type, log)
    first = opening(media_type) + encode(gaps)
    return _respond(services, log, encode, media_type, first=first, follow=follow)


def empty_stream(services: Services) -> Response:
    """A stream that is cut at once, so that its reader reconnects."""
    timeout_s = services.settings.send_timeout_s
    return StreamResponse(opening(SSE), bytes, CutAtOnce, services.observer, media_type=SSE, send_timeout_s=timeout_s)


def _respond(
    services: Services,
    source: Source[T],
    encode: Callable[[T], bytes],
    media_type: str,
    *,
    first: bytes | None = None,
    heard: Heard | None = None,
    follow: bool = True,
    headers: dict[str, str] | None = None,
) -> Response:
    settings, observer = services.settings, services.observer

    def begin(stream: ReaderStream[T]) -> Subscription[T]:
        subscription = Subscription(
            services.hub, source, stream, observer, idle_s=settings.keep_alive_s, is_live=follow
        )
        subscription.begin(heard)
        if heard is not None:
            heard.close()
        return subscription

    return StreamResponse(
        opening(media_type) if first is None else first,
        encode,
        begin,
        observer,
        media_type=media_type,
        send_timeout_s=settings.send_timeout_s,
        headers=headers,
        held=heard,
    )


def _jobs_in(heard: Heard | None) -> Collection[JobId]:
    return () if heard is None else heard.job_ids
