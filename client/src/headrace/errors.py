"""Every error that the client raises on purpose.

ClientError
├── ApiError              the gateway answered with a problem; `code` is the stable part
│   ├── BadRequest        400, 413, 415, 422: the request is wrong, and would be wrong again
│   ├── NotFound          404
│   │   └── Gone          410: it existed; its result_ttl has passed
│   ├── Conflict          409: the job's state forbids it
│   └── Unavailable       429, 502, 503, 504: the same call may succeed later
│       └── QueueFull     429: as many jobs wait in the queue as its limit allows; nothing was stored
├── Unreachable           no contact with the gateway
├── ProtocolError         the answer does not come from a Headrace gateway, or is damaged
├── InvalidJob            a wrong spec or argument; nothing was sent
│   └── ExportFailed      an object has no ONNX file that agrees with it
├── InvalidSettings       the URL, profile or proxy cannot be used
├── ClientClosed          the client is closed
├── WaitTimedOut          the job has not ended in time; also a TimeoutError
└── JobEnded
    ├── JobFailed         the job ended as failed; `error` says why
    └── JobCancelled      the job was cancelled
"""

from http import HTTPStatus
from typing import Any

import msgspec
from shared_schemas.errors import ErrorInfo
from shared_schemas.job import Job
from shared_schemas.replies import Problem


class ClientError(Exception):
    """code: stable, in snake_case. retryable: whether the same call may succeed later. Can
    be pickled and copied."""

    code: str = "client_error"
    retryable: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # By default pickle would call the class with `args`, but a subclass takes other arguments.
        return _restored, (type(self), self.args, self.__dict__)


class ApiError(ClientError):
    """retry_after_s: how long the gateway asks to wait."""

    def __init__(self, status: int, problem: Problem, *, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.code, self.status, self.detail = problem.code, status, problem.detail
        self.errors, self.request_id = problem.errors, problem.request_id
        self.retry_after_s = retry_after_s


class BadRequest(ApiError):
    pass


class NotFound(ApiError):
    pass


class Gone(NotFound):
    pass


class Conflict(ApiError):
    pass


class Unavailable(ApiError):
    retryable = True


class QueueFull(Unavailable):
    """retry_after_s follows from how fast the queue drains."""


class Unreachable(ClientError):
    code = "unreachable"
    retryable = True


class ProtocolError(ClientError):
    code = "protocol_error"


class InvalidJob(ClientError):
    code = "invalid_spec"


class ExportFailed(InvalidJob):
    """No file was made of an object, or its answers differ from those of the object."""

    code = "export_failed"


class InvalidSettings(ClientError):
    code = "invalid_settings"


class ClientClosed(ClientError):
    code = "client_closed"


class WaitTimedOut(ClientError, TimeoutError):
    code = "wait_timed_out"
    retryable = True


class JobEnded(ClientError):
    """job: the ended job. error: why it ended so, if known."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.error: ErrorInfo | None = job.error
        super().__init__(f"{job.id} {job.state}" + (f": {job.error.message}" if job.error else ""))


class JobFailed(JobEnded):
    code = "job_failed"


class JobCancelled(JobEnded):
    code = "job_cancelled"


def _restored(kind: type[ClientError], args: tuple[Any, ...], attributes: dict[str, Any]) -> ClientError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


_BY_STATUS: dict[int, type[ApiError]] = {
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.GONE: Gone,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.BAD_REQUEST: BadRequest,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: BadRequest,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: BadRequest,
    HTTPStatus.UNPROCESSABLE_ENTITY: BadRequest,
    HTTPStatus.TOO_MANY_REQUESTS: Unavailable,
    HTTPStatus.BAD_GATEWAY: Unavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
    HTTPStatus.GATEWAY_TIMEOUT: Unavailable,
}
_BY_CODE: dict[str, type[ApiError]] = {"queue_full": QueueFull}
_decode_problem = msgspec.json.Decoder(Problem).decode


def api_error(status: int, body: bytes, *, retry_after: str | None = None) -> ApiError:
    """The error for a response that is not a success. A response without a problem, such as a
    proxy's HTML page, has the code http_error."""
    try:
        problem = _decode_problem(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        detail = f"the gateway answered {status} without saying why"
        problem = Problem(
            type="about:blank", title="", status=status, detail=detail, instance="", code="http_error", request_id=""
        )
    delay_s = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    kind = _BY_CODE.get(problem.code) or _BY_STATUS.get(status, ApiError)
    return kind(status, problem, retry_after_s=delay_s)
