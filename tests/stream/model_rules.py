"""What workers do, in any order, retries and stale claims included.

Numbers in a rule pick one of the jobs or claims so far.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from shared_schemas.codec import encoded
from shared_schemas.ids import JobId
from shared_schemas.specs import Priority
from shared_schemas.stream.attempt_writer import Batch, Settlement
from shared_schemas.stream.claims import Claim
from shared_schemas.stream.keys import LANES, Lane
from shared_schemas.stream.workers import worker_facts

from tests.stream.model import Answer, ClaimCall
from tests.stream.model_callers import (
    DAY_S,
    ENDINGS,
    EVENTS,
    LATER_S,
    WORKERS,
    any_claim,
    twice,
    workers,
)
from tests.stream.model_check import check
from tests.stream.model_lanes import SHARED, Entry
from tests.stream.model_requests import RequestRules
from tests.support.queue_bench import BAD
from tests.support.workers import INFERENCE


class CallerRules(RequestRules):
    """Claiming, reading, recording, renewing, settling."""

    @initialize(n=st.integers(0, 4), slots=st.integers(0, 3))
    def begin(self, n: int, slots: int) -> None:
        """Most stories begin with running jobs. Otherwise few stories would contain attempts."""
        for _ in range(n):
            self.submit(Priority.NORMAL, None, [], None, 7 * DAY_S, None, "", None, False)
        self.claim("b", slots, True, True, True, False)

    @rule(name=workers, slots=st.integers(0, 3), remembers=st.booleans(), named=twice, gets=st.booleans(), again=twice)
    def claim(self, name: str, slots: int, remembers: bool, named: bool, gets: bool, again: bool) -> None:
        """remembers: the worker knows which jobs it runs. named: it passes them as `held`. gets: it gets the answer;
        else the answer is lost, and `recover` may find its entries again."""
        self.n_calls += 1
        claims, token = self.bench.claims[name], f"t{self.n_calls}"
        runs = dict(self.runs[name]) if remembers else {}
        held = runs if named else None
        entries, self.hands[name] = self.hands[name], []
        handed = [self._entry(*handed) for handed in entries]
        begun: list[Claim] = []

        async def call() -> tuple[list[Answer], bool, bool]:
            begun[:] = await claims.claim(slots, token=token, held=held, is_busy=bool(runs), entries=entries)
            assert all(claim.fence.startswith(f"{claim.attempt}-") for claim in begun)
            assert len({claim.job_id for claim in begun}) == len(begun)
            return self._answers(begun), claims.wants_idle_worker, claims.needs_recovery

        def expected() -> tuple[list[Answer], bool, bool]:
            return self.model.claim(ClaimCall(name, slots, WORKERS[name], token, held, runs), handed)

        self.both(call, expected, again=again)
        self.runs[name] = runs
        if gets:
            self.claims += begun
            self.runs[name] |= {claim.job_id: claim.fence for claim in begun}

    @rule(name=workers, slots=st.integers(1, 3), remembers=st.booleans(), gets=st.booleans())
    def claim_ahead(self, name: str, slots: int, remembers: bool, gets: bool) -> None:
        """With the claim behind a read of what is there or, if there is nothing, of a new job."""
        claims, lanes = self.bench.claims[name], self.model.lanes
        runs = dict(self.runs[name]) if remembers else {}
        names = SHARED if runs else LANES
        if lanes.have_groups(names) and not lanes.any_undelivered(names):
            self.submit(Priority.NORMAL, None, [], None, 7 * DAY_S, None, "", None, False)
            # The model learns the new entry's id.
            check(self.bench.raw, INFERENCE, self.model, WORKERS)
        self.n_calls += 1
        token, newest = f"t{self.n_calls}", dict(claims.newest)
        begun: list[Claim] = []

        async def call() -> tuple[list[Answer], bool, bool, list[tuple[str, str]]]:
            left, begun[:] = await claims.wait_to_claim(slots, token=token, timeout_s=1.0, is_idle=not runs)
            self.hands[name] = left
            found = [(lane, job_id) for lane, _, job_id in left]
            return self._answers(begun), claims.wants_idle_worker, claims.needs_recovery, found

        def expected() -> tuple[list[Answer], bool, bool, list[tuple[str, str]]]:
            handed = lanes.wait(name, names)
            found = [entry for lane in names for entry in lanes[lane].behind(name, newest.get(lane, "0-0"))]
            asked = ClaimCall(name, slots, WORKERS[name], token, None, runs)
            answers, wants_idle_worker, unsure = self.model.claim_ahead(asked, found if handed else [])
            entries = {self.model.jobs[JobId(answer[0])].entry for answer in answers}
            left = [(entry.lane, entry.job_id) for entry in handed if entry not in entries]
            return answers, wants_idle_worker, unsure, left

        self.both(call, expected)
        self.runs[name] = runs
        if gets:
            self.claims += begun
            self.runs[name] |= {claim.job_id: claim.fence for claim in begun}
        else:
            self.hands[name] = []

    @staticmethod
    def _answers(claims: list[Claim]) -> list[Answer]:
        return [
            (c.job_id, c.lane, c.fence, c.failures, c.crashes, c.cancel_requested, c.pause_requested, c.must_run_alone)
            for c in claims
        ]

    def _entry(self, lane: str, entry_id: str, job_id: str) -> Entry:
        job, found = self.model.jobs.get(JobId(job_id)), self.model.lanes.find(lane, entry_id)
        if found is None and job is not None and job.entry is not None and job.entry.id == entry_id:
            found = job.entry
        return found if found is not None and job_id else Entry(Lane(lane), JobId(job_id))

    @rule(name=workers, is_idle=st.booleans(), recovers=st.booleans())
    def read(self, name: str, is_idle: bool, recovers: bool) -> None:
        """What it had in hand before is forgotten: a worker that dies before it begins what it was handed."""
        claims, lanes, names = self.bench.claims[name], self.model.lanes, LANES if is_idle else SHARED
        if recovers:
            self._take(name, claims.recover, lanes.recover)
        elif not lanes.have_groups(names) or lanes.any_undelivered(names):
            self._take(name, lambda: claims.wait(timeout_s=1.0, is_idle=is_idle), lambda name: lanes.wait(name, names))

    def _take(
        self,
        name: str,
        read: Callable[[], Awaitable[list[tuple[str, str, str]]]],
        expected: Callable[[str], list[Entry]],
    ) -> None:
        async def call() -> list[tuple[str, str | None]]:
            self.hands[name] = await read()
            # Of an entry that was deleted while it was pending, Redis 6.2 gives no fields.
            return [(lane, job_id) for lane, _, job_id in self.hands[name] if job_id]

        self.both(call, lambda: [(entry.lane, entry.job_id) for entry in expected(name)])

    @precondition(lambda self: self.claims)
    @rule(
        ns=st.lists(any_claim, min_size=1, max_size=3),
        first=st.integers(0, 2),
        sorts=st.lists(st.sampled_from(list(EVENTS)), max_size=3),
        outcome=st.none() | st.sampled_from(list(ENDINGS)),
        again=twice,
    )
    def work(self, ns: list[int], first: int, sorts: list[str], outcome: str | None, again: bool) -> None:
        """Record events of claims, or end them with these as the last; stale claims and the same one twice included."""
        claims = [self.claim_at(n) for n in ns]
        batches = [Batch(claim, first, [encoded(EVENTS[sort]) for sort in sorts]) for claim in claims]
        if outcome is None:
            self.both(
                lambda: self.bench.writer.record(batches),
                lambda: [self.model.record(claim.job_id, claim.fence, first, sorts) for claim in claims],
                again=again,
            )
        else:
            self.end(batches, outcome, sorts, again=again)

    def end(self, batches: list[Batch], outcome: str, sorts: list[str], *, again: bool = False) -> None:
        delay = LATER_S if outcome == "retry_later" else 0.0

        def expected() -> list[bool]:
            return [
                self.model.settle(
                    batch.claim.job_id,
                    batch.claim.fence,
                    outcome,
                    first=batch.first,
                    events=sorts,
                    delay=delay,
                    error=BAD.code,
                )
                for batch in batches
            ]

        settlements = [Settlement(batch, ENDINGS[outcome]) for batch in batches]
        self.both(lambda: self.bench.writer.settle(settlements), expected, again=again)

    @rule(name=workers, ns=st.lists(any_claim, max_size=3), registers=st.booleans(), again=twice)
    def renew(self, name: str, ns: list[int], registers: bool, again: bool) -> None:
        """Of any claims, those of other workers and stale ones included."""
        claims = [self.claim_at(n) for n in ns if self.claims]
        fences = {claim.job_id: claim.fence for claim in claims}
        self.both(
            lambda: self.renewed(name, fences, registers=registers),
            lambda: self.model.renew(name, fences, registers=registers),
            again=again,
        )

    async def renewed(
        self, name: str, fences: dict[JobId, str], *, registers: bool = False
    ) -> dict[JobId, tuple[bool, bool, bool]]:
        facts = worker_facts(
            host="h", pid=1, slots=1, started_at=datetime.fromtimestamp(0, UTC), state="running", jobs=(), facts={}
        )
        renewals = self.bench.leases[name].renew(fences, facts if registers else {})
        return {job_id: msgspec.structs.astuple(renewal) for job_id, renewal in renewals.items()}  # type: ignore[misc]

    def leave(self, name: str) -> None:
        self.both(self.bench.claims[name].close, lambda: self.model.leave(name))
        self.bench.run(self.bench.claims[name].open())
        self.model.lanes.open()
