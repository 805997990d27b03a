"""Runs one attempt: decodes the spec, runs the handler with a time limit, and hands in the outcome.

Knows no Redis: the recorder and the settler call it.
"""

import time
from collections.abc import Callable
from functools import partial

import anyio
import msgspec
from shared_schemas.codec import decode_spec
from shared_schemas.errors import ErrorInfo
from shared_schemas.outcome import Cancellation, Failure, Outcome, Release, Success
from shared_schemas.service.failpoints import failpoint
from shared_schemas.stream.attempt_writer import Batch, Settlement
from shared_schemas.stream.claims import Claim
from shared_schemas.stream.timeline import Timeline

from worker_runtime.active_attempts import ActiveAttempts
from worker_runtime.attempt import RunningAttempt
from worker_runtime.circuit_breaker import CircuitBreaker
from worker_runtime.handler import Handler, StopReason
from worker_runtime.instrument import QueueObserver
from worker_runtime.outcomes import (
    INTERNAL,
    ends_the_worker,
    error_of,
    is_host_fault,
    outcome_of_error,
    outcome_of_stop,
)
from worker_runtime.recording import Recorder
from worker_runtime.settling import Settler

# Results stay in the memory of Redis for a week. A larger result belongs in an artifact.
RESULT_BYTES = 16 * 1024 * 1024
RESULT_TOO_LARGE = ErrorInfo(code="result_too_large", message="the result is larger than 16 MiB")


class Runner:
    """The attempts of one queue."""

    def __init__(
        self,
        handler: Handler,
        active: ActiveAttempts,
        recorder: Recorder,
        settler: Settler,
        breaker: CircuitBreaker,
        observer: QueueObserver,
        *,
        give_up: Callable[[ErrorInfo], None],
        timeline: Timeline,
    ) -> None:
        """give_up: ends the worker, because it can run nothing any more."""
        self._handler, self._active, self._recorder, self._settler = handler, active, recorder, settler
        self._breaker, self._observer, self._give_up = breaker, observer, give_up
        self._timeline = timeline
        self._has_abandoned = False

    def begin(self, claim: Claim) -> RunningAttempt | None:
        """Start an attempt, which takes a slot. None if the spec of its job cannot be read."""
        try:
            spec = decode_spec(claim.spec)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        attempt = RunningAttempt(claim, spec, wake_recorder=self._recorder.wake, timeline=self._timeline)
        self._active.add(attempt)
        return attempt

    def refuse(self, claim: Claim) -> None:
        """Fail a job whose spec cannot be read, because it was forged or damaged."""
        self._observer.spec_unreadable(claim)
        error = ErrorInfo(code="invalid_spec", message="the job's specification cannot be read")
        self._settler.settle(Settlement(Batch(claim, 0, ()), Failure(error)), lambda _: None)

    async def run(self, attempt: RunningAttempt, *, draining: bool) -> None:
        """Return when the handler has ended. The attempt stays active until it is settled."""
        began = time.monotonic()
        failpoint("attempt_begun")
        outcome = await self._outcome(attempt, draining=draining)
        failpoint("handler_ended")
        if outcome is None:
            self._observer.claim_lost(attempt, time.monotonic() - began)
            self._has_abandoned = True
            self._active.remove(attempt)
            return
        self._active.mark_ending(attempt)
        self._settler.settle(
            Settlement(attempt.outbox.last_batch(), outcome),
            partial(self._end, attempt, outcome, time.monotonic() - began),
        )

    def _end(self, attempt: RunningAttempt, outcome: Outcome, run_s: float, accepted: bool) -> None:
        if accepted:
            self._observer.attempt_settled(attempt, outcome, run_s)
        else:
            self._observer.settle_refused(attempt, outcome, run_s)
        self._active.remove(attempt)
        failpoint("attempt_let_go")

    def pop_abandoned(self) -> bool:
        """Whether attempts have ended without a settlement since the last call. If no other worker
        runs such a job, it should be given back before it counts as a crash."""
        abandoned, self._has_abandoned = self._has_abandoned, False
        return abandoned

    async def _outcome(self, attempt: RunningAttempt, *, draining: bool) -> Outcome | None:
        if attempt.claim.cancel_requested:
            return Cancellation()
        if attempt.claim.pause_requested or draining:
            return Release()
        result: Outcome | ErrorInfo | None = None
        with attempt.scope:
            if attempt.spec.timeout_s is None:
                result = await self._result(attempt)
            else:
                with anyio.move_on_after(attempt.spec.timeout_s) as limit:
                    result = await self._result(attempt)
                if limit.cancel_called and attempt.stop is not StopReason.CANCELLED and not isinstance(result, Success):
                    attempt.ask(StopReason.TIMED_OUT)
        if isinstance(result, Success) and attempt.stop is not StopReason.CLAIM_LOST:
            self._breaker.succeeded()
            return result if len(bytes(result.result)) <= RESULT_BYTES else Failure(RESULT_TOO_LARGE)
        # After a cancellation, its reason says more than the error that the handler raised.
        if isinstance(result, ErrorInfo) and not attempt.scope.cancel_called:
            if ends_the_worker(result):
                self._give_up(result)
            elif is_host_fault(result):
                self._breaker.failed(attempt.job_id)
            else:
                self._breaker.succeeded()
            return outcome_of_error(result, attempt.spec.retry, failures=attempt.claim.failures)
        return outcome_of_stop(attempt.stop)

    async def _result(self, attempt: RunningAttempt) -> Outcome | ErrorInfo:
        try:
            return await self._handler.run(attempt)
        except Exception as error:  # the boundary where any failure of a handler becomes a typed one
            info = error_of(error)
            if info.code == INTERNAL:
                self._observer.handler_failed(attempt)
            return info
