"""One claim from begin to settle: decode, run under the deadline, classify, settle."""

import time

import anyio
import msgspec
import structlog
from shared_schemas.codec import decode_spec
from shared_schemas.errors import ErrorInfo
from shared_schemas.outcome import Cancellation, Failure, Outcome, Release
from shared_schemas.stream.claims import Batch, Claim, Settlement

from worker_runtime.attempt import RunningAttempt
from worker_runtime.classify import error_of, outcome_of_error, outcome_of_stop
from worker_runtime.handler import Handler, StopReason
from worker_runtime.holding import Held
from worker_runtime.recording import Recorder
from worker_runtime.settling import Settler


class Runner:
    """consecutive_failures: attempts in a row that ended as an internal failure; a worker that fails everything must
    not win all the work."""

    def __init__(self, handler: Handler, held: Held, recorder: Recorder, settler: Settler, *, worker: str) -> None:
        self._handler, self._held, self._recorder, self._settler = handler, held, recorder, settler
        self._worker = worker
        self.consecutive_failures = 0

    def begin(self, claim: Claim) -> RunningAttempt | None:
        """Take the claim's slot. None if its spec cannot be read."""
        try:
            spec = decode_spec(claim.spec)
        except msgspec.DecodeError:
            return None
        attempt = RunningAttempt(claim, spec, worker=self._worker, ring=self._recorder.ring)
        self._held.take(attempt)
        return attempt

    async def refuse(self, claim: Claim) -> None:
        """End an attempt whose spec cannot be read, forged or damaged as it must be."""
        structlog.get_logger().warning("spec_unreadable", job_id=claim.job_id, worker=self._worker)
        error = ErrorInfo(code="invalid_spec", message="the job's specification cannot be read")
        await self._settler.settle(Settlement(Batch(claim, 0, ()), Failure(error)))

    async def run(self, attempt: RunningAttempt, *, draining: bool) -> None:
        began = time.monotonic()
        attempt.log.info("attempt_begun", queue=attempt.claim.queue)
        try:
            outcome = await self._outcome(attempt, draining=draining)
            if outcome is None:
                attempt.log.warning("claim_lost", run_s=round(time.monotonic() - began, 3))
                return
            accepted = await self._settler.settle(Settlement(attempt.last_batch(), outcome))
            attempt.log.info(
                "attempt_settled" if accepted else "settle_refused",
                outcome=type(outcome).__name__.lower(),
                run_s=round(time.monotonic() - began, 3),
                **_details(outcome),
            )
        finally:
            self._held.let_go(attempt)

    async def _outcome(self, attempt: RunningAttempt, *, draining: bool) -> Outcome | None:
        if attempt.claim.cancel_requested:
            return Cancellation()
        if attempt.claim.pause_requested or draining:
            return Release()
        result: Outcome | ErrorInfo | None = None
        with attempt.scope:
            with anyio.move_on_after(attempt.spec.timeout_s) as limit:
                try:
                    result = await self._handler.run(attempt)
                except Exception as error:  # the boundary where any failure of a handler becomes a typed one
                    result = error_of(error)
                    if result.code == "internal":
                        attempt.log.exception("handler_failed")
            if limit.cancelled_caught:
                attempt.ask(StopReason.TIMED_OUT)
        if attempt.stop is StopReason.CLAIM_LOST:
            return None
        if isinstance(result, ErrorInfo):
            if attempt.stop in (StopReason.CANCELLED, StopReason.TIMED_OUT):
                return outcome_of_stop(attempt.stop)
            self.consecutive_failures = self.consecutive_failures + 1 if result.code == "internal" else 0
            return outcome_of_error(result, attempt.spec.retry, failures=attempt.claim.failures)
        if result is not None:
            self.consecutive_failures = 0
            return result
        return outcome_of_stop(attempt.stop) if attempt.stop is not None else Release()


def _details(outcome: Outcome) -> dict[str, object]:
    error: ErrorInfo | None = getattr(outcome, "error", None)
    return {} if error is None else {"code": error.code, "message": error.message}
