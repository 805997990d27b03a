"""What both clients share about lines: settings, and when a request may be sent again."""

import random
from typing import TypeVar

import msgspec
from shared_schemas.retry import RetryPolicy

from headrace.addresses import Address, find, proxy_for
from headrace.endpoints import Request
from headrace.errors import ApiError, Unreachable

T = TypeVar("T")

_BACKOFF = RetryPolicy(backoff_s=0.25, max_backoff_s=5.0)
_LONGEST_WAIT_S = 30.0
HEADERS = {"user-agent": "headrace", "accept": "application/json"}


class LineBroken(Exception):
    """No whole answer came. never_sent: the gateway cannot have seen the request."""

    def __init__(self, why: str, *, never_sent: bool) -> None:
        super().__init__(why)
        self.never_sent = never_sent


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """url, profile: where the gateway is; without both as headrace.addresses says. timeout_s: of one request.
    silence_s: how long an event stream may say nothing, not even its keep-alive comment, before the line counts as cut.
    patience_s: how long to look for a new line before giving up; None: for ever. retries: how often a request that may
    be repeated is sent again. trust_env: whether proxies that the environment names are used; never for a loopback
    address."""

    url: str | None = None
    profile: str | None = None
    timeout_s: float = 30.0
    silence_s: float = 45.0
    patience_s: float | None = 60.0
    retries: int = 2
    trust_env: bool = True


class Route(msgspec.Struct, frozen=True):
    """proxy: None where the way is direct."""

    address: Address
    proxy: Address | None

    def unreachable(self, error: LineBroken) -> Unreachable:
        by = "" if self.proxy is None else f" by way of the proxy {self.proxy.origin}"
        return Unreachable(f"cannot reach the gateway at {self.address.origin}{by}: {error}")


def settled(url: str | None, profile: str | None, settings: Settings | None) -> tuple[Settings, Route]:
    """What a client was given, together. InvalidSettings if there is no such way to a gateway."""
    settings = settings or Settings()
    if url is not None or profile is not None:
        settings = msgspec.structs.replace(settings, url=url, profile=profile)
    address = find(settings.url, profile=settings.profile)
    return settings, Route(address, proxy_for(address) if settings.trust_env else None)


def pause_before_another(
    request: Request[T],
    failures: int,
    error: LineBroken | ApiError,
    route: Route,
    settings: Settings,
    rng: random.Random,
) -> float:
    """Seconds until the request may be sent again; raises what the caller should see if it may not."""
    never_sent = isinstance(error, LineBroken) and error.never_sent
    hopeful = error.retryable if isinstance(error, ApiError) else request.repeatable or never_sent
    if failures > settings.retries or not hopeful or not (request.repeatable or never_sent):
        raise error if isinstance(error, ApiError) else route.unreachable(error) from error
    asked_s = (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0
    return min(asked_s, _LONGEST_WAIT_S) + _BACKOFF.delay_s(failures, rng)
