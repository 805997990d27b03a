"""Errors as application/problem+json (RFC 9457). A problem says what is wrong, and never repeats
what was sent.

A surface of the API may write its errors in another form. Knows no route.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import anyio
import msgspec
from fastapi import Request, Response
from shared_schemas.codec import encode_json
from shared_schemas.error_codes import status_of
from shared_schemas.errors import HeadraceError, InvalidInput, QueueFull
from shared_schemas.replies import Problem, ProblemItem
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

_TITLES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Conflict",
    410: "Gone",
    413: "Body too large",
    414: "Target too long",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    421: "Misdirected request",
    422: "Unprocessable content",
    429: "Too many requests",
    431: "Head too large",
    500: "Internal error",
    501: "Not implemented",
    503: "Service unavailable",
    504: "Gateway timeout",
    505: "HTTP version not supported",
    507: "Insufficient storage",
}
RETRY_AFTER_S = "2"
PROBLEM_JSON = "application/problem+json"
# Statuses that are sent before the body has been read to its end, and the header of other such answers.
_BODY_UNREAD = (408, 413)
CLOSE = {"Connection": "close"}
_LINGER_S = 2.0


class ProblemError(Exception):
    """Ends the request with this problem."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[ProblemItem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = tuple(errors), dict(headers or {})


class ErrorBody(msgspec.Struct, frozen=True):
    """An error as it is sent."""

    status: int
    body: bytes
    media_type: str


# (problem, id of the request) -> how a surface of the API writes it
ErrorForm: TypeAlias = Callable[[ProblemError, str], ErrorBody]


def body_of(problem: ProblemError, request_id: str) -> Problem:
    return Problem(
        type=f"urn:headrace:problem:{problem.code}",
        title=_TITLES.get(problem.status, "Error"),
        status=problem.status,
        detail=problem.detail,
        instance=f"urn:headrace:request:{request_id}",
        code=problem.code,
        request_id=request_id,
        errors=problem.errors,
    )


def as_problem(problem: ProblemError, request_id: str) -> ErrorBody:
    return ErrorBody(problem.status, encode_json(body_of(problem, request_id)), PROBLEM_JSON)


def response_of(problem: ProblemError, request: Request, form: ErrorForm = as_problem) -> Response:
    return response_with_id(problem, request_id(request), form)


def response_with_id(problem: ProblemError, request_id: str, form: ErrorForm = as_problem) -> Response:
    is_unread = problem.status in _BODY_UNREAD or CLOSE.items() <= problem.headers.items()
    kind = _LingeringResponse if is_unread else Response
    made = form(problem, request_id)
    return kind(made.body, made.status, headers=problem.headers, media_type=made.media_type)


class _LingeringResponse(Response):
    """For a request whose body was not read to its end. To close at once would reset the
    connection, and the client might never see the response. So the rest of the body is read and
    dropped for a moment."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        with anyio.move_on_after(_LINGER_S):
            while (await receive()).get("more_body", False):
                pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def problem_of(error: Exception) -> ProblemError | None:
    """The problem that answers a request which raised `error`. None if the error is unexpected."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, HeadraceError):
        return _of_headrace_error(error)
    if isinstance(error, HTTPException):  # from the static files of the API's documentation page
        code = "route_not_found" if error.status_code == 404 else "http_error"
        detail = "no such route" if error.status_code == 404 else "refused"
        return ProblemError(error.status_code, code, detail, headers=error.headers)
    return None


def internal() -> ProblemError:
    return ProblemError(500, "internal", "the gateway failed; the log has the request_id")


def _of_headrace_error(error: HeadraceError) -> ProblemError:
    # What the store could not do is an instance with a code of its own.
    code = error.info().code
    status = status_of(code)
    if status == 500:
        return internal()
    items = []
    if isinstance(error, InvalidInput) and error.pointer is not None:
        items = [ProblemItem(pointer=error.pointer, code=code, detail=str(error))]
    headers = {"Retry-After": RETRY_AFTER_S} if status == 503 else {}
    if isinstance(error, QueueFull):
        headers = {"Retry-After": str(error.retry_after_s)}
    return ProblemError(status, code, str(error), errors=items, headers=headers)
