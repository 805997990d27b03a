"""Claims jobs for free slots, and waits for an entry if there was none.

Knows no handler.
"""

import secrets
import time

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.claims import Claim, Claims

from worker_runtime.active_attempts import ActiveAttempts
from worker_runtime.attempt import RunningAttempt
from worker_runtime.attempt_tasks import AttemptTasks
from worker_runtime.circuit_breaker import FAILED_JOBS, CircuitBreaker
from worker_runtime.draining import Draining
from worker_runtime.instrument import QueueObserver
from worker_runtime.running import Runner

# How long to wait for an entry, in seconds: with running attempts, and without.
WAIT_S, IDLE_WAIT_S = 1.0, 2.0
# Turns of the event loop in which a short attempt can run, end and be sent for settlement.
TURNS = 2
MANY_SLOTS = 16
# If a job waited for longer than this, or the wait for it ended sooner, in seconds, others are probably waiting too.
ALONE_S, AT_ONCE_S = 0.002, 0.0005


class Claiming:
    """lock: shared by the queues of a worker, so that two queues never count the same free slot. is_only: the worker
    serves this queue alone."""

    def __init__(
        self,
        claims: Claims,
        active: ActiveAttempts,
        runner: Runner,
        draining: Draining,
        breaker: CircuitBreaker,
        lock: anyio.Lock,
        observer: QueueObserver,
        *,
        is_only: bool,
    ) -> None:
        self._claims, self._active, self._runner = claims, active, runner
        self._draining, self._breaker, self._lock, self._observer = draining, breaker, lock, observer
        self._tasks = AttemptTasks(self._run)
        # With many slots, claim half of them at once, so that Redis hands over one half while the other runs.
        self._at_once = active.slots if active.slots < MANY_SLOTS else active.slots // 2
        self._entries: list[tuple[str, str, str]] = []
        self._is_only, self._claims_ahead = is_only, False
        # Whether the last claim for new entries began any attempt.
        self._finds_more = False

    async def run(self, attempts: TaskGroup) -> None:
        backoff, must_recover, may_be_more = Backoff(), True, True
        while not self._draining.has_begun:
            # Entries that were read are given back if no slot is free, so that other workers get them.
            if not self._entries:
                if self._active.free <= 0:
                    await self._draining.wait_unless_draining(self._active.until_free)
                    may_be_more = True
                await self._pause_if_failing()
            try:
                if self._runner.pop_abandoned() or must_recover:
                    must_recover = True
                    await self._claims.open()
                    self._entries = await self._claims.recover()
                    must_recover, may_be_more = False, True
                if may_be_more or self._entries:
                    may_be_more = await self._claim(attempts)
                if (
                    not (may_be_more or self._claims.needs_recovery or self._draining.has_begun)
                    and self._active.free > 0
                ):
                    # Attempts that have just begun may end at once. They should be sent for
                    # settlement before this waits.
                    for _ in range(TURNS):
                        await checkpoint()
                    may_be_more = await self._wait(attempts)
                must_recover = self._claims.needs_recovery
                if not backoff.is_fresh:
                    self._observer.claiming_resumed()
                backoff.reset()
            except BackendUnavailable as error:
                # The lost answer may have delivered entries or begun attempts.
                must_recover = may_be_more = True
                if backoff.is_fresh:
                    self._observer.claiming_interrupted(error)
                await self._draining.wait_unless_draining(anyio.sleep, backoff.next_s())
        if self._entries:
            await self._hand_back()

    async def _pause_if_failing(self) -> None:
        delay_s = self._breaker.next_pause_s()
        if delay_s is not None:
            self._observer.claiming_suspended(FAILED_JOBS, delay_s)
            await self._draining.wait_unless_draining(anyio.sleep, delay_s)

    async def _claim(self, attempts: TaskGroup) -> bool:
        """-> whether more jobs may be ready. False if fewer were claimed than asked for."""
        async with self._lock:
            slots = 0 if self._draining.has_begun else min(max(0, self._active.free), self._at_once)
            if slots == 0 and not self._entries:
                return False
            had_entries = bool(self._entries)
            claims = await self._claims.claim(
                slots,
                token=secrets.token_urlsafe(6),
                # Only an entry that was delivered before can belong to a running attempt of this
                # worker.
                held=self._active.fences() if self._entries else None,
                is_busy=bool(self._active.all()),
                entries=self._entries,
            )
            self._entries = []
            self._finds_more = bool(claims) and not had_entries
            self._begin(claims, attempts)
        return len(claims) == slots

    def _begin(self, claims: list[Claim], attempts: TaskGroup) -> None:
        if claims:
            self._observer.jobs_claimed(claims)
        for claim in claims:
            attempt = self._runner.begin(claim)
            if attempt is None:
                self._runner.refuse(claim)
            else:
                self._tasks.start(attempt, attempts)

    async def _run(self, attempt: RunningAttempt) -> None:
        await self._runner.run(attempt, draining=self._draining.has_begun)

    async def _wait(self, attempts: TaskGroup) -> bool:
        """-> whether more jobs may be ready than this has claimed."""
        is_idle = not self._active.all()
        if self._claims.wants_idle_worker and not is_idle:
            # No longer than WAIT_S, because another worker may take the job that must run alone.
            with anyio.move_on_after(WAIT_S):
                await self._draining.wait_unless_draining(self._active.until_empty)
            return True
        if not is_idle:
            return await self._wait_for_entry(attempts, WAIT_S, is_idle=False)
        # While the worker runs nothing, only a new entry can change anything, and this wait
        # delivers it. But another queue of the same worker may have begun an attempt meanwhile.
        may_be_more = False
        while not (
            may_be_more
            or self._entries
            or self._claims.needs_recovery
            or self._draining.has_begun
            or self._active.all()
        ):
            may_be_more = await self._wait_for_entry(attempts, IDLE_WAIT_S, is_idle=True)
        return may_be_more

    async def _wait_for_entry(self, attempts: TaskGroup, timeout_s: float, *, is_idle: bool) -> bool:
        if self._claims_ahead:
            slots = min(self._active.free, self._at_once)
            asked_at = time.monotonic()
            self._entries, claims = await self._claims.wait_to_claim(
                slots, token=secrets.token_urlsafe(6), timeout_s=timeout_s, is_idle=is_idle
            )
            came_at_once = time.monotonic() - asked_at < AT_ONCE_S
            self._claims_ahead = bool(claims or self._entries)
            if self._finds_more and self._may_claim_beside(claims, slots):
                return await self._claim_more(claims, slots - len(claims), attempts)
            self._begin(claims, attempts)
            return bool(claims) and (came_at_once or any(claim.waited_s > ALONE_S for claim in claims))
        self._entries = await self._claims.wait(timeout_s=timeout_s, is_idle=is_idle)
        # The next wait carries a claim only if this one delivered entries: an idle worker would
        # send it in vain. A worker with several queues never does so, because each queue would
        # count the same free slots.
        self._claims_ahead = self._is_only and bool(self._entries)
        return bool(self._entries) or not is_idle

    def _may_claim_beside(self, claims: list[Claim], slots: int) -> bool:
        return (
            0 < len(claims) < slots
            and not any(claim.must_run_alone for claim in claims)
            and not (self._entries or self._claims.wants_idle_worker or self._claims.needs_recovery)
            and not self._draining.has_begun
        )

    async def _claim_more(self, claims: list[Claim], slots: int, attempts: TaskGroup) -> bool:
        """Claim what waits beside these, and begin all of them together, so that they share a batch. -> whether still
        more jobs may be ready."""
        try:
            more = await self._claims.claim(slots, token=secrets.token_urlsafe(6), is_busy=True)
        finally:
            # In Redis these have begun, whatever became of the call.
            self._begin(claims, attempts)
        self._finds_more = bool(more)
        self._begin(more, attempts)
        return len(more) == slots

    async def _hand_back(self) -> None:
        try:
            await self._claims.claim(
                0, token=secrets.token_urlsafe(6), held=self._active.fences(), entries=self._entries
            )
        except BackendUnavailable:
            # Another worker gets them once they have been idle for a lease.
            self._observer.entries_left_behind(len(self._entries))
