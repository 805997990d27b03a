"""Decides the outcome of an attempt that failed or was stopped, and whether it is retried.

No other module decides about retries. Knows no Redis.
"""

import random

import msgspec
from shared_schemas.errors import ErrorInfo, HeadraceError, WorkerUnfit
from shared_schemas.outcome import Cancellation, Failure, Outcome, Release, Retry
from shared_schemas.retry import RetryPolicy
from shared_schemas.store.files import STORE_FAULTS

from worker_runtime.handler import StopReason

_RNG = random.SystemRandom()

INTERNAL = "internal"
# The code that a handler uses when the machine can start no further process.
NO_PROCESS = "no_process"
_HOST_FAULTS = STORE_FAULTS | {INTERNAL, NO_PROCESS}
TIMEOUT = ErrorInfo(code="timeout", message="the attempt ran longer than the job's timeout_s")


def error_of(error: Exception) -> ErrorInfo:
    """The error that the API may show. The message of an unexpected exception could contain
    anything, so only its type is named."""
    # A task group wraps the exception of one of its tasks.
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, HeadraceError):
        info = error.info()
        # A file name may contain bytes that JSON cannot hold.
        return msgspec.structs.replace(info, message=info.message.encode("utf-8", "replace").decode("utf-8"))
    return ErrorInfo(code=INTERNAL, message=f"the worker failed with {type(error).__name__}", retryable=True)


def is_host_fault(error: ErrorInfo) -> bool:
    """Whether this machine is probably the cause, so that the next job would fail in the same
    way."""
    return error.code in _HOST_FAULTS


def ends_the_worker(error: ErrorInfo) -> bool:
    """Whether every job would fail in the same way until the process is replaced."""
    return error.code == WorkerUnfit.code


def outcome_of_error(error: ErrorInfo, policy: RetryPolicy, *, failures: int) -> Outcome:
    """failures: attempts that had failed before this one."""
    if error.retryable and policy.allows_another(failures + 1):
        return Retry(error, policy.delay_s(failures + 1, _RNG))
    return Failure(error)


def outcome_of_stop(reason: StopReason | None) -> Outcome | None:
    """The outcome of an attempt that was stopped before its handler returned; None if another
    attempt owns the job, so that nothing may be written."""
    match reason:
        case StopReason.CANCELLED:
            return Cancellation()
        case StopReason.TIMED_OUT:
            return Failure(TIMEOUT)
        case StopReason.PAUSED | StopReason.DRAINING | None:
            return Release()
        case StopReason.CLAIM_LOST:
            return None
