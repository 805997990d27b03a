"""The event streams that are open in this process: their limit, their metric and their log events.
Knows no format."""

import time
from typing import Protocol

import structlog
from starlette.types import Scope

from gateway import metrics
from gateway.edge.problems import RETRY_AFTER_S, ProblemError

TOO_MANY = "too_many_streams"


class Closable(Protocol):
    def close(self) -> None: ...


class OpenStream:
    """Counted until it is closed. followed: closed with it."""

    __slots__ = ("_began", "_followed", "_request_id")
    n_open = 0

    def __init__(self, followed: Closable, scope: Scope) -> None:
        self._followed, self._request_id, self._began = followed, scope["state"]["request_id"], time.monotonic()
        metrics.STREAMS.inc()
        OpenStream.n_open += 1

    def close(self) -> None:
        self._followed.close()
        metrics.STREAMS.dec()
        OpenStream.n_open -= 1
        took_s = round(time.monotonic() - self._began, 3)
        structlog.get_logger().info("stream_closed", request_id=self._request_id, took_s=took_s)


def check_open_streams(most: int) -> None:
    """ProblemError 503 if `most` streams are open, or more."""
    if OpenStream.n_open >= most:
        raise ProblemError(
            503, TOO_MANY, "as many event streams are open as may be", headers={"Retry-After": RETRY_AFTER_S}
        )
