"""What both clients share about lines: settings, timeouts, and when a request may be sent again."""

import ipaddress
import random
from typing import Any, TypeVar

import httpx
import msgspec
from shared_schemas.retry import RetryPolicy

from headrace.errors import ApiError, ClientError, Unreachable
from headrace.requests import Request

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
_BACKOFF = RetryPolicy(backoff_s=0.25, max_backoff_s=5.0)
_LONGEST_WAIT_S = 30.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """url: of the gateway. timeout_s: of one request. silence_s: how long an event stream may say nothing, not even
    its keep-alive comment, before the line counts as cut. patience_s: how long to look for a new line before giving
    up; None: for ever. retries: how often a request that may be repeated is sent again."""

    url: str = DEFAULT_URL
    timeout_s: float = 30.0
    silence_s: float = 45.0
    patience_s: float | None = 60.0
    retries: int = 2

    def options(self) -> dict[str, Any]:
        """Keyword arguments of httpx.Client and httpx.AsyncClient. A proxy is never asked for a loopback address."""
        return {
            "base_url": self.url,
            "timeout": httpx.Timeout(self.timeout_s, connect=min(self.timeout_s, 10.0)),
            "headers": {"user-agent": "headrace", "accept": "application/json"},
            "trust_env": not _is_loopback(httpx.URL(self.url).host),
        }

    def stream_timeout(self) -> httpx.Timeout:
        return httpx.Timeout(self.timeout_s, connect=min(self.timeout_s, 10.0), read=self.silence_s)


def pause_before_another(
    request: Request[T], failures: int, error: httpx.TransportError | ApiError, settings: Settings, rng: random.Random
) -> float:
    """Seconds until the request may be sent again; raises what the caller should see if it may not."""
    never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    hopeful = error.retryable if isinstance(error, ApiError) else request.repeatable or never_sent
    if failures > settings.retries or not hopeful or not (request.repeatable or never_sent):
        raise as_client_error(error, settings.url) from error
    asked_s = (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0
    return min(asked_s, _LONGEST_WAIT_S) + _BACKOFF.delay_s(failures, rng)


def as_client_error(error: Exception, url: str) -> ClientError:
    if isinstance(error, ClientError):
        return error
    return Unreachable(f"cannot reach the gateway at {url}: {error or type(error).__name__}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
