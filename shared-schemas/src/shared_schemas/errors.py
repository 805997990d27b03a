"""Every error that Headrace raises on purpose.

    HeadraceError
    ├── InvalidInput          what was sent cannot be right: never retried
    │   ├── SpecRejected      the job's specification
    │   ├── DataRejected      the data set a job points at; names the row or the column
    │   └── MalformedId       a job id, queue name or model reference that cannot be parsed
    ├── NotFound              the thing named does not exist
    │   ├── JobNotFound
    │   ├── BatchNotFound
    │   └── ModelNotFound
    ├── JobExpired            it existed; its result_ttl has passed
    ├── JobUnreadable         it was written by another version, or damaged
    ├── ModelUnreadable       the registry's entry is damaged
    ├── StateConflict         the job's state forbids the request
    │   └── InUse             something unfinished, or an alias, still needs what is to be deleted
    ├── IdempotencyConflict   the key was used before with another body
    ├── QueueFull             as many jobs wait in the queue as its limit allows
    ├── ClaimLost             another attempt owns the job now: write nothing more
    ├── AttemptFailed         a handler's typed failure, retryable or not
    │   └── WorkerUnfit       this process can run nothing any more: its worker ends, others try again
    └── BackendUnavailable    Redis is away, read-only or misconfigured
        └── CallRefused       Redis refuses this call, not all: other calls may go on

`code` is part of the API and never changes; `shared_schemas.error_codes` has all of them.
`retryable`: the same call may succeed later. This module knows no transport: the gateway maps codes
to HTTP, a worker to an ErrorInfo.
"""

from typing import ClassVar

import msgspec


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a job failed, as the API shows it.

    code: stable, snake_case. message: one sentence without a traceback. row: 1-based data row of the
    CSV, the header not counted. column: the name of the column at fault.
    """

    code: str
    message: str
    retryable: bool = False
    row: int | None = None
    column: str | None = None


class HeadraceError(Exception):
    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def info(self) -> ErrorInfo:
        return ErrorInfo(code=self.code, message=str(self), retryable=self.retryable)


class InvalidInput(HeadraceError):
    """pointer: JSON pointer (RFC 6901) into the body; empty for the whole body; None if the error
    is not about a body."""

    code = "invalid_input"

    def __init__(self, message: str, *, pointer: str | None = None) -> None:
        super().__init__(message)
        self.pointer = pointer


class SpecRejected(InvalidInput):
    code = "invalid_spec"

    def __init__(self, message: str, *, pointer: str = "") -> None:
        super().__init__(message, pointer=pointer)


class DataRejected(InvalidInput):
    """A data set that cannot be trained on. `code` names the rule that it breaks, for example
    data_empty."""

    def __init__(self, code: str, message: str, *, row: int | None = None, column: str | None = None) -> None:
        super().__init__(message)
        self.data_code, self.row, self.column = code, row, column

    def info(self) -> ErrorInfo:
        return ErrorInfo(code=self.data_code, message=str(self), row=self.row, column=self.column)


class MalformedId(InvalidInput):
    code = "malformed_id"


class NotFound(HeadraceError):
    code = "not_found"


class JobNotFound(NotFound):
    code = "job_not_found"


class BatchNotFound(NotFound):
    code = "batch_not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class JobExpired(HeadraceError):
    code = "job_expired"


class JobUnreadable(HeadraceError):
    code = "job_unreadable"


class ModelUnreadable(HeadraceError):
    code = "model_unreadable"


class StateConflict(HeadraceError):
    code = "state_conflict"


class InUse(StateConflict):
    code = "in_use"


class SwitchSuperseded(StateConflict):
    code = "switch_superseded"


class SwitchRefused(StateConflict):
    code = "switch_refused"


class IdempotencyConflict(HeadraceError):
    code = "idempotency_key_reused"


class QueueFull(HeadraceError):
    """retry_after_s: when there will be room again, as far as that is known."""

    code = "queue_full"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ClaimLost(HeadraceError):
    code = "claim_lost"


class AttemptFailed(HeadraceError):
    """Raised by a handler to end its attempt with a typed failure."""

    code = "attempt_failed"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(message)
        self.failure = ErrorInfo(code=code, message=message, retryable=retryable, row=row, column=column)

    def info(self) -> ErrorInfo:
        return self.failure


class WorkerUnfit(AttemptFailed):
    """Raised by a handler whose device is beyond repair within this process, as after a sticky CUDA error."""

    code = "device_failed"

    def __init__(self, message: str = "the worker's device no longer runs what it ran before") -> None:
        super().__init__(self.code, message, retryable=True)


class BackendUnavailable(HeadraceError):
    code = "backend_unavailable"
    retryable = True


class CallRefused(BackendUnavailable):
    """A script failed, a key holds what Headrace did not write, or this user lacks a permission. If
    the call was for many jobs, one of them may be the cause: a call for each job finds it."""
