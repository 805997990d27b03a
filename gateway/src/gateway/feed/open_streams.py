"""The event streams that are open in this process, and their limit. Knows no format."""

import time
from typing import Protocol

from starlette.types import Scope

from gateway.edge.problems import RETRY_AFTER_S, ProblemError
from gateway.instrument import GatewayObserver

TOO_MANY = "too_many_streams"


class Closable(Protocol):
    def close(self) -> None: ...


class OpenStream:
    """Counted until it is closed. followed: closed with it."""

    __slots__ = ("_began", "_followed", "_observer", "_request_id")
    n_open = 0

    def __init__(self, followed: Closable, scope: Scope, observer: GatewayObserver) -> None:
        self._followed, self._observer = followed, observer
        self._request_id, self._began = scope["state"]["request_id"], time.monotonic()
        observer.stream_opened()
        OpenStream.n_open += 1

    def close(self) -> None:
        self._followed.close()
        OpenStream.n_open -= 1
        self._observer.stream_closed(self._request_id, time.monotonic() - self._began)


def check_open_streams(most: int) -> None:
    """ProblemError 503 if `most` streams are open, or more."""
    if OpenStream.n_open >= most:
        detail = "the gateway has no room for another event stream"
        raise ProblemError(503, TOO_MANY, detail, headers={"Retry-After": RETRY_AFTER_S})
