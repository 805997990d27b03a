"""How an attempt ends, from what its handler raised or from the reason it was stopped. Only this module decides about
retries."""

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
_OF_THE_HOST = STORE_FAULTS | {INTERNAL, NO_PROCESS}
TIMEOUT = ErrorInfo(code="timeout", message="the attempt ran longer than the job's timeout_s")


def error_of(error: Exception) -> ErrorInfo:
    """The error that the API may show. An unexpected exception may say anything, so only its type is named."""
    # A task group wraps what one of its tasks raised.
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, HeadraceError):
        info = error.info()
        # A file name may contain bytes that JSON cannot hold.
        return msgspec.structs.replace(info, message=info.message.encode("utf-8", "replace").decode("utf-8"))
    return ErrorInfo(code=INTERNAL, message=f"the worker failed with {type(error).__name__}", retryable=True)


def is_of_the_host(error: ErrorInfo) -> bool:
    """Whether the next job would fail in the same way here."""
    return error.code in _OF_THE_HOST


def ends_the_worker(error: ErrorInfo) -> bool:
    """Whether every job would fail in the same way until this process is another."""
    return error.code == WorkerUnfit.code


def outcome_of_error(error: ErrorInfo, policy: RetryPolicy, *, failures: int) -> Outcome:
    """failures: attempts that had failed before this one."""
    if error.retryable and policy.allows_another(failures + 1):
        return Retry(error, policy.delay_s(failures + 1, _RNG))
    return Failure(error)


def outcome_of_stop(reason: StopReason | None) -> Outcome | None:
    """For an attempt that ended without an answer of its own; None where nothing may be written any more."""
    match reason:
        case StopReason.CANCELLED:
            return Cancellation()
        case StopReason.TIMED_OUT:
            return Failure(TIMEOUT)
        case StopReason.PAUSED | StopReason.DRAINING | None:
            return Release()
        case StopReason.CLAIM_LOST:
            return None
