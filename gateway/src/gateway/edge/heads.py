"""Problems with the head of a request, and with a connection before its first request. Knows no
route.

The application sees none of these requests, so a problem is written here as a whole response.
"""

import os
from http import HTTPStatus

from shared_schemas.codec import encode_json

from gateway.edge.problems import PROBLEM_JSON, RETRY_AFTER_S, ProblemError, body_of

# A short header takes more memory than its bytes, so a limit on bytes alone is not enough.
MOST_HEADERS = 1000


def too_large(limit: int, *, is_target: bool) -> ProblemError:
    if is_target:
        return ProblemError(
            414, "target_too_long", f"a head may have at most {limit} bytes, and the target alone takes that"
        )
    detail = f"a head or trailers may have at most {limit} bytes and {MOST_HEADERS} lines"
    return ProblemError(431, "head_too_large", detail)


def too_late(timeout_s: float) -> ProblemError:
    return ProblemError(408, "head_timeout", f"a head must arrive within {timeout_s:g} s")


def malformed(detail: str = "the request is not valid HTTP/1.1") -> ProblemError:
    return ProblemError(400, "malformed_request", detail)


def unknown_version() -> ProblemError:
    return ProblemError(505, "http_version_unsupported", "send the request as HTTP/1.1 or HTTP/1.0")


def too_many_connections() -> ProblemError:
    detail = "the gateway has no room for another connection"
    return ProblemError(503, "too_many_connections", detail, headers={"Retry-After": RETRY_AFTER_S})


def response_bytes(problem: ProblemError, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """The whole response. The connection ends after it."""
    request_id = os.urandom(8).hex()
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
