"""What the gateway counts, and the figures of the queues, for Prometheus. Names follow
https://prometheus.io/docs/practices/naming/.

Counts are those of the process, as the library means them. The figures of the queues are read from
Redis when somebody asks, so every gateway gives the same. Knows no request.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from shared_schemas.job import QueueStatus

from gateway.instrument import GatewayObserver

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# A caller may send any text as the method, and each text would be a series of its own.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter("headrace_http_requests", "Requests that were answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "headrace_http_request_seconds", "Seconds until the response began", ["method", "route"], buckets=_SECONDS
)
STREAMS = Gauge("headrace_event_streams_open", "Open event streams")
DROPPED = Counter("headrace_slow_readers_dropped", "Readers that were cut off because they read nothing")
SUBMIT_SIZE = Histogram(
    "headrace_submit_jobs", "Jobs stored by one script call", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)


@cache
def _of(method: str, route: str | None, status: int) -> tuple[Counter, Histogram]:
    """Looked up once, because a lookup by labels costs as much as a count."""
    named = (method if route and method in _METHODS else "other", route or "other")
    return REQUESTS.labels(*named, str(status)), REQUEST_SECONDS.labels(*named)


class GatewayMetrics(GatewayObserver):
    def request_served(
        self, request_id: str, method: str, route: str | None, status: int, answered_s: float, took_s: float
    ) -> None:
        if status:
            requests, seconds = _of(method if method in _METHODS else "", route, status)
            requests.inc()
            seconds.observe(answered_s)

    def request_refused(self, code: str, status: int) -> None:
        self.request_served("", "", None, status, 0.0, 0.0)

    def submissions_sent(self, count: int) -> None:
        SUBMIT_SIZE.observe(count)

    def stream_opened(self) -> None:
        STREAMS.inc()

    def stream_closed(self, request_id: str, open_s: float) -> None:
        STREAMS.dec()

    def slow_reader_dropped(self, send_timeout_s: float) -> None:
        DROPPED.inc()


def queue_families(queues: Sequence[QueueStatus] | None, *, is_up: bool | None = False) -> Iterator[GaugeMetricFamily]:
    """queues: None if Redis did not answer in time. is_up: whether Redis answers; None, and then
    left out, if that took too long to find out."""
    yield _family(
        "headrace_redis_up",
        "1 if Redis answered, 0 if it is unavailable; missing if Redis took too long to answer",
        [],
        () if is_up is None else [((), int(is_up))],
    )
    yield GaugeMetricFamily(
        "headrace_queues_read", "1 if Redis answered in time with the figures of the queues", int(queues is not None)
    )
    queues, now = queues or (), datetime.now(UTC)
    yield _family(
        "headrace_queue_jobs",
        "Jobs by state",
        ["queue", "state"],
        (((queue.name, state), n) for queue in queues for state, n in queue.jobs.items()),
    )
    yield _family(
        "headrace_queue_ready_jobs",
        "Queued jobs by lane",
        ["queue", "lane"],
        (((queue.name, lane), n) for queue in queues for lane, n in queue.ready.items()),
    )
    yield _family(
        "headrace_queue_dead_letters",
        "Failed jobs that were neither retried nor purged",
        ["queue"],
        (((queue.name,), queue.dead) for queue in queues),
    )
    yield _family(
        "headrace_queue_workers", "Registered workers", ["queue"], (((queue.name,), queue.workers) for queue in queues)
    )
    yield _family(
        "headrace_queue_drain_jobs_per_second",
        "Attempts that end in a second while no slot of the workers is free; missing before the first end",
        ["queue"],
        (((queue.name,), queue.drain_per_s) for queue in queues if queue.drain_per_s is not None),
    )
    yield _family(
        "headrace_queue_oldest_waiting_seconds",
        "Seconds since the submission of the oldest queued job; 0 if none is queued",
        ["queue"],
        (((queue.name,), _since_s(queue.oldest_queued_at, now)) for queue in queues),
    )

    yield _family(
        "headrace_queue_log_seconds",
        "How many seconds the log of all jobs reaches back, which GET /events reads; 0 if it is empty",
        ["queue"],
        (((queue.name,), _since_s(queue.log_from, now)) for queue in queues),
    )


class _Queues(Collector):
    def __init__(self, queues: Sequence[QueueStatus] | None, is_up: bool | None) -> None:
        self._queues, self._is_up = queues, is_up

    def collect(self) -> Iterator[Metric]:
        return queue_families(self._queues, is_up=self._is_up)


def exposition(queues: Sequence[QueueStatus] | None, *, is_up: bool | None) -> bytes:
    """All metrics in Prometheus' text format. Takes the arguments of queue_families."""
    registry = CollectorRegistry()
    registry.register(_Queues(queues, is_up))
    return generate_latest(REGISTRY) + generate_latest(registry)


def _family(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for names, value in values:
        family.add_metric(names, value)
    return family


def _since_s(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
