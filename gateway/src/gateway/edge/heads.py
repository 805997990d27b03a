"""What a connection is refused for before there is a request, or instead of one, and how that is written. Knows no
route.

A head has a longest size and a longest time, and so have trailers. A target that is too long by itself has a status of
its own.
"""

from http import HTTPStatus

from shared_schemas.codec import encode_json

from gateway.edge.problems import PROBLEM_JSON, RETRY_AFTER_S, ProblemError, body_of
from gateway.random_pool import random_bytes

# Each takes more memory than a line of a few bytes says.
MOST_HEADERS = 1000


def too_large(limit: int, *, is_target: bool) -> ProblemError:
    if is_target:
        return ProblemError(414, "target_too_long", f"a head may have {limit} bytes, and the target fills it")
    return ProblemError(431, "head_too_large", f"a head or trailers may have {limit} bytes and {MOST_HEADERS} lines")


def too_late(timeout_s: float) -> ProblemError:
    return ProblemError(408, "head_timeout", f"a head must arrive within {timeout_s:g} s")


def malformed(detail: str = "the request is not valid HTTP/1.1") -> ProblemError:
    return ProblemError(400, "malformed_request", detail)


def unknown_version() -> ProblemError:
    return ProblemError(505, "http_version_unsupported", "send the request as HTTP/1.1 or HTTP/1.0")


def too_many_connections() -> ProblemError:
    return ProblemError(
        503, "too_many_connections", "the gateway serves as many as it may", headers={"Retry-After": RETRY_AFTER_S}
    )


def written(problem: ProblemError, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """The whole answer, after which the connection ends."""
    request_id = random_bytes(8).hex()
    body = encode_json(body_of(problem, request_id))
    headers = {
        "content-type": PROBLEM_JSON,
        "content-length": str(len(body)),
        "connection": "close",
        **problem.headers,
        "x-request-id": request_id,
    }
    status = HTTPStatus(problem.status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}".encode(),
        *(name + b": " + value for name, value in default_headers),
        *(f"{name}: {value}".encode() for name, value in headers.items()),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
