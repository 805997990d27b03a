"""Free slots become attempts: claim without waiting first, wait for an entry only when there is none."""

import secrets

import anyio
import structlog
from anyio.abc import TaskGroup
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.claims import Claims

from worker_runtime.attempt import RunningAttempt
from worker_runtime.backoff import Backoff
from worker_runtime.draining import Draining
from worker_runtime.hesitation import FAILED_JOBS, Hesitation
from worker_runtime.holding import Held
from worker_runtime.metrics import QueueMetrics
from worker_runtime.running import Runner
from worker_runtime.slots import Slots

WAIT_S, IDLE_WAIT_S = 1.0, 2.0
MANY_SLOTS = 16


class Claiming:
    """lock: shared by the queues of a worker, so that two never count the same free slot."""

    def __init__(
        self,
        claims: Claims,
        held: Held,
        runner: Runner,
        draining: Draining,
        hesitation: Hesitation,
        lock: anyio.Lock,
        metrics: QueueMetrics,
    ) -> None:
        self._claims, self._held, self._runner = claims, held, runner
        self._draining, self._hesitation, self._lock, self._metrics = draining, hesitation, lock, metrics
        self._slots = Slots(self._run)
        # Of many slots half, so that Redis hands over the one half while the other runs.
        self._at_once = held.slots if held.slots < MANY_SLOTS else held.slots // 2
        self._entries: list[tuple[str, str, str]] = []

    async def run(self, attempts: TaskGroup) -> None:
        backoff, must_recover = Backoff(), True
        while not self._draining.has_begun:
            # An entry in hand is given back where no slot is free, not kept from other workers.
            if not self._entries:
                if self._held.free <= 0:
                    await self._draining.unless(self._held.until_free)
                await self._hesitate()
            try:
                if self._runner.take_given_up() or must_recover:
                    must_recover = True
                    await self._claims.open()
                    self._entries = await self._claims.recover()
                    must_recover = False
                may_be_more = await self._claim(attempts)
                must_recover = self._claims.is_unsure
                if not (may_be_more or must_recover or self._draining.has_begun) and self._held.free > 0:
                    await self._wait()
                if not backoff.is_fresh:
                    structlog.get_logger().info("claiming_resumed", queue=self._claims.queue)
                backoff.reset()
            except BackendUnavailable as error:
                # An answer that was not read may have handed over entries or begun attempts.
                must_recover = True
                if backoff.is_fresh:
                    structlog.get_logger().warning("claiming_interrupted", queue=self._claims.queue, error=str(error))
                await self._draining.unless(anyio.sleep, backoff.next_s())
        if self._entries:
            await self._hand_back()

    async def _hesitate(self) -> None:
        delay_s = self._hesitation.due_s()
        if delay_s is not None:
            structlog.get_logger().error("claiming_suspended", failed_jobs=FAILED_JOBS, s=round(delay_s, 2))
            await self._draining.unless(anyio.sleep, delay_s)

    async def _claim(self, attempts: TaskGroup) -> bool:
        """-> whether there may be more: not where fewer were begun than could be."""
        async with self._lock:
            slots = 0 if self._draining.has_begun else min(max(0, self._held.free), self._at_once)
            if slots == 0 and not self._entries:
                return False
            claims = await self._claims.claim(
                slots,
                token=secrets.token_urlsafe(6),
                # Most calls meet nothing of which they would need to know whether it is held.
                held=self._held.fences() if self._entries else None,
                is_busy=bool(self._held.all()),
                entries=self._entries,
            )
            self._entries = []
            if claims:
                self._metrics.claim_size.observe(len(claims))
            for claim in claims:
                self._metrics.wait.observe(claim.waited_s)
                attempt = self._runner.begin(claim)
                if attempt is None:
                    self._runner.refuse(claim)
                else:
                    self._slots.start(attempt, attempts)
        return len(claims) == slots

    async def _run(self, attempt: RunningAttempt) -> None:
        await self._runner.run(attempt, draining=self._draining.has_begun)

    async def _wait(self) -> None:
        is_idle = not self._held.all()
        if self._claims.suspects_wait and not is_idle:
            # Not for longer: another worker may take the suspect meanwhile.
            with anyio.move_on_after(WAIT_S):
                await self._draining.unless(self._held.until_empty)
        elif not is_idle:
            self._entries = await self._claims.wait(timeout_s=WAIT_S, is_idle=False)
        else:
            # Nothing of its own changes while it runs nothing, and whatever becomes ready is handed over by this.
            # Another queue of the same worker may have begun something meanwhile.
            while not (self._entries or self._draining.has_begun or self._held.all()):
                self._entries = await self._claims.wait(timeout_s=IDLE_WAIT_S)

    async def _hand_back(self) -> None:
        try:
            await self._claims.claim(0, token=secrets.token_urlsafe(6), entries=self._entries)
        except BackendUnavailable:
            # They are delivered again once they have been idle for a lease.
            structlog.get_logger().warning("entries_left_behind", count=len(self._entries))
