"""Shared by both clients: settings, the route to the gateway, and when a request may be sent again.

Opens no connection.
"""

import random
from collections.abc import Callable
from typing import TypeVar

import msgspec
from shared_schemas.retry import RetryPolicy

from headrace.addresses import Address, find, proxy_for
from headrace.endpoints import Request
from headrace.errors import ApiError, QueueFull, Unreachable

T = TypeVar("T")

_BACKOFF = RetryPolicy(backoff_s=0.25, max_backoff_s=5.0)
_LONGEST_WAIT_S = 30.0
HEADERS = {"user-agent": "headrace", "accept": "application/json"}


class ConnectionFailed(Exception):
    """No complete response came. never_sent: the gateway cannot have received the request."""

    def __init__(self, why: str, *, never_sent: bool) -> None:
        super().__init__(why)
        self.never_sent = never_sent


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """url, profile: where the gateway is. Without both, headrace.addresses finds it.
    timeout_s: of one request.
    silence_s: if an event stream sends nothing for so long, not even a keep-alive comment, the
        connection counts as lost.
    patience_s: how long to try to reconnect an event stream. None: for ever.
    retries: how often a request is sent again, if that is harmless.
    trust_env: use the proxies that the environment names. A loopback address never uses one.
    on_full: called with the error and the seconds until the request is sent again, whenever a queue
        is full.
    """

    url: str | None = None
    profile: str | None = None
    timeout_s: float = 30.0
    silence_s: float = 45.0
    patience_s: float | None = 60.0
    retries: int = 2
    trust_env: bool = True
    on_full: Callable[[QueueFull, float], object] | None = None


class Route(msgspec.Struct, frozen=True):
    """proxy: None if the connection is direct."""

    address: Address
    proxy: Address | None

    def unreachable(self, error: ConnectionFailed) -> Unreachable:
        by = "" if self.proxy is None else f" by way of the proxy {self.proxy.origin}"
        return Unreachable(f"cannot reach the gateway at {self.address.origin}{by}: {error}")


def settings_and_route(url: str | None, profile: str | None, settings: Settings | None) -> tuple[Settings, Route]:
    """The settings of a client, with the url or profile that it was given, and the route to the
    gateway. InvalidSettings."""
    settings = settings or Settings()
    if url is not None or profile is not None:
        settings = msgspec.structs.replace(settings, url=url, profile=profile)
    address = find(settings.url, profile=settings.profile)
    return settings, Route(address, proxy_for(address) if settings.trust_env else None)


def pause_before_resend(
    request: Request[T],
    failures: int,
    error: ConnectionFailed | ApiError,
    route: Route,
    settings: Settings,
    rng: random.Random,
) -> float:
    """-> seconds to wait before the request is sent again; on_full has been told. If it may not be,
    raises the error for the caller."""
    # A request that found its queue full had no effect either.
    never_sent = error.never_sent if isinstance(error, ConnectionFailed) else isinstance(error, QueueFull)
    may_help = error.retryable if isinstance(error, ApiError) else request.repeatable or never_sent
    asked_s = (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0
    # Sent again too early, it would find the queue full again.
    is_too_long = isinstance(error, QueueFull) and asked_s > _LONGEST_WAIT_S
    if failures > settings.retries or not may_help or is_too_long or not (request.repeatable or never_sent):
        raise error if isinstance(error, ApiError) else route.unreachable(error) from error
    pause_s = min(asked_s, _LONGEST_WAIT_S) + _BACKOFF.delay_s(failures, rng)
    if isinstance(error, QueueFull) and settings.on_full is not None:
        settings.on_full(error, pause_s)
    return pause_s
