"""What submitters and workers do, in any order, retries and stale claims included.

Numbers in a rule pick one of the jobs or claims so far.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from shared_schemas.attempts import attempts_of
from shared_schemas.batches import BatchState
from shared_schemas.codec import decode_event, encoded
from shared_schemas.errors import InUse, StateConflict
from shared_schemas.ids import JobId, created_ms, new_job_id
from shared_schemas.job import JobState
from shared_schemas.lifecycle import from_ms
from shared_schemas.specs import InferenceSpec, Priority, TrainingSpec
from shared_schemas.stream.attempt_writer import Batch, Settlement
from shared_schemas.stream.batches import Batches
from shared_schemas.stream.claims import Claim
from shared_schemas.stream.dead_letters import DeadLetters
from shared_schemas.stream.idempotency import claim_keys
from shared_schemas.stream.keys import LANES, Lane
from shared_schemas.stream.queue_status import statuses_of
from shared_schemas.stream.removal import Removal
from shared_schemas.stream.submission import Made, Submission
from shared_schemas.stream.timeline import Timeline
from shared_schemas.stream.workers import worker_facts

from tests.stream.model import Answer, ClaimCall
from tests.stream.model_callers import (
    DAY_S,
    ENDINGS,
    EVENTS,
    LATER_S,
    SPANS,
    WORKERS,
    Machine,
    any_claim,
    any_job,
    twice,
    workers,
)
from tests.stream.model_check import check
from tests.stream.model_jobs import ModelJob
from tests.stream.model_lanes import SHARED, Entry
from tests.support.gateways import TRAINING
from tests.support.queue_bench import BAD
from tests.support.workers import INFERENCE


class CallerRules(Machine):
    """Submitting, requesting, claiming, recording, renewing, settling."""

    @initialize(n=st.integers(0, 4), slots=st.integers(0, 3))
    def begin(self, n: int, slots: int) -> None:
        """Most stories begin with running jobs. Otherwise few stories would contain attempts."""
        for _ in range(n):
            self.submit(Priority.NORMAL, None, [], None, 7 * DAY_S, None, "", None, False)
        self.claim("b", slots, True, True, True, False)

    # Submitting and requesting.

    @rule(
        priority=st.sampled_from(Priority),
        run_in=st.sampled_from((None, None, *SPANS)),
        after=st.lists(any_job, max_size=2),
        deadline=st.sampled_from((None, None, 1500.0, 3500.0)),
        ttl=st.sampled_from((7 * DAY_S, 1500.0)),
        key=st.sampled_from((None, None, "k", "l")),
        fingerprint=st.sampled_from("fg"),
        retries=st.none() | any_job,
        again=twice,
    )
    def submit(
        self, priority: Priority, run_in: float | None, after: list[int], deadline: float | None, ttl: float,
        key: str | None, fingerprint: str, retries: int | None, again: bool,
    ) -> None:  # fmt: skip
        model, can_wait = self.model, self.shim is not None
        run_in, deadline, ttl = (run_in, deadline, ttl) if can_wait else (None, None, 7 * DAY_S)
        self.n_calls += 1
        job_id = new_job_id(INFERENCE, now_ms=1_000_000 + self.n_calls, entropy=bytes(10))
        parents = tuple(dict.fromkeys(model.job_at(n).id for n in after if model.jobs))
        retried = model.job_at(retries) if retries is not None and model.jobs else None
        retry_of = retried.id if retried is not None and retried.state is JobState.FAILED else None
        run_at = None if run_in is None else datetime.fromtimestamp(time.time() + self.offset_s + run_in, UTC)
        spec = InferenceSpec(
            model_id="m", input_data="x", priority=priority, run_at=run_at, depends_on=parents,
            start_deadline_s=deadline, result_ttl_s=ttl,
        )  # fmt: skip
        submission = Submission(
            job_id=job_id, spec=spec, idempotency_key=key, fingerprint=fingerprint, retry_of=retry_of
        )
        lane = Lane(priority.value)
        job = ModelJob(job_id, lane, lane, ttl, depends_on=parents)

        def expected() -> list[Made]:
            how, its_id = model.submit(
                job,
                run_at=None if run_in is None else model.now + run_in,
                deadline_after=deadline,
                key=key,
                fingerprint=fingerprint,
                retry_of=retry_of,
            )
            return [Made(how, its_id)]

        self.both(lambda: self.bench.submitter.submit_all(INFERENCE, [submission]), expected, again=again)

    @precondition(lambda self: self.model.jobs)
    @rule(verb=st.sampled_from(("cancel", "pause", "resume")), n=any_job, again=twice)
    def ask(self, verb: str, n: int, again: bool) -> None:
        job = self.model.job_at(n)

        async def call() -> JobState | None:
            try:
                return await getattr(self.bench.control, verb)(job.id)  # type: ignore[no-any-return]
            except StateConflict:
                return None

        self.both(call, lambda: getattr(self.model, verb)(job), again=again)

    @rule(
        verb=st.sampled_from(("look", "purge", "leave", "give_up", "delete", "claim_key")),
        name=workers,
        ns=st.lists(any_job, min_size=1, max_size=3),
        state=st.none() | st.sampled_from(JobState),
        limit=st.integers(1, 5),
    )
    def aside(self, verb: str, name: str, ns: list[int], state: JobState | None, limit: int) -> None:
        """One rule for what changes little, that stories be of the rest."""
        match verb:
            case "look":
                self.look(state, limit, ns[0])
            case "purge":
                self.purge(ns)
            case "delete" if self.model.jobs:
                self.delete(ns[0])
            case "claim_key":
                self.claim_key("kl"[ns[0] % 2], "fg"[limit % 2])
            case "leave":
                self.leave(name)
            case "give_up" if self.claims:
                # As a worker must that could not renew in time: it forgets that it runs the job.
                self.runs[name].pop(self.claim_at(ns[0]).job_id, None)

    def delete(self, n: int) -> None:
        job = self.model.job_at(n)

        async def call() -> str:
            try:
                await Removal(self.bench.nodes).delete_job(job.id, queues=[INFERENCE])
            except InUse:
                return "in use"
            except StateConflict:
                return "open"
            return "deleted"

        def expected() -> str:
            if refused := self.model.why_kept(job):
                return refused
            self.models.publish_settled()
            return self.model.delete(job)

        self.both(call, expected)

    def claim_key(self, key: str, fingerprint: str) -> None:
        """As the gateway does before it stores a job of another queue than that of the keys."""
        self.n_calls += 1
        job_id = new_job_id(TRAINING, now_ms=1_000_000 + self.n_calls, entropy=bytes(10))
        spec = TrainingSpec(model_type="m", data_path="d.csv")
        submission = Submission(job_id=job_id, spec=spec, idempotency_key=key, fingerprint=fingerprint)
        self.both(
            lambda: claim_keys(self.bench.nodes, [submission]),
            lambda: {0: self.model.claim_key(key, job_id, fingerprint)},
            again=True,
        )

    def look(self, state: JobState | None, limit: int, n: int) -> None:
        timeline, model = Timeline(self.bench.nodes), self.model

        async def listed() -> list[JobId]:
            found, before = list[JobId](), None
            while True:
                page = await self.bench.jobs.list_jobs(
                    INFERENCE, states=[state] if state else [], limit=limit, before=before
                )
                found += [row.id for row in page.jobs]
                if page.before is None:
                    return found
                before = JobId(page.before)

        async def attempts(job_id: JobId) -> object:
            events = [entry.data for entry in await timeline.read(job_id, after=0)]
            wanted = attempts_of([decode_event(event) for event in events])
            return attempts_of([decode_event(event) for event in await timeline.read_attempts(job_id)]) == wanted

        async def waits(job_id: JobId) -> bool:
            return await self.bench.jobs.waiting(job_id) is not None

        async def batch() -> tuple[int, int, BatchState]:
            """A batch without jobs, older than all jobs."""
            batches, base = Batches(self.bench.nodes), new_job_id(INFERENCE, now_ms=1, entropy=bytes(10))
            noted = await batches.note(base, lines=1, digest="d", models=b"{}", is_whole=True)
            status = await batches.status(base)
            return noted.lines, status.n_lines, status.status

        async def registered() -> set[str]:
            return {worker.name for worker in await self.bench.workers.registered(INFERENCE)}

        async def status() -> tuple[dict[str, int], dict[str, int], int, int, datetime | None]:
            [found] = await statuses_of(self.bench.nodes, [INFERENCE])
            return found.jobs, found.ready, found.dead, found.workers, found.oldest_queued_at

        def counted() -> tuple[dict[str, int], dict[str, int], int, int, datetime | None]:
            states = Counter(job.state for job in model.jobs.values())
            queued = [job for job in model.jobs.values() if job.state is JobState.QUEUED]
            ready = Counter(job.lane for job in queued)
            oldest = min((from_ms(created_ms(job.id)) for job in queued), default=None)
            alive = sum(end > model.now for end in model.workers.values())
            return (
                {s: states[s] for s in JobState},
                {lane: ready[lane] for lane in LANES},
                len(model.dead),
                alive,
                oldest,
            )

        in_state = [job.id for job in model.jobs.values() if state in (None, job.state)]
        self.both(listed, lambda: sorted(in_state, reverse=True))
        alive = {name for name, end in model.workers.items() if end > model.now and name in model.registrations}
        self.both(registered, lambda: alive)
        self.both(status, counted)
        self.both(batch, lambda: (1, 1, BatchState.COMPLETED))
        if model.jobs:
            job = model.job_at(n)
            self.both(lambda: attempts(job.id), lambda: True)
            self.both(lambda: waits(job.id), lambda: job.state is JobState.QUEUED)

    def purge(self, ns: list[int]) -> None:
        ids = list(dict.fromkeys(self.model.job_at(n).id for n in ns if self.model.jobs))
        letters = DeadLetters(self.bench.nodes)
        self.both(lambda: letters.purge(INFERENCE, ids), lambda: self.model.purge(ids), again=True)

    # Workers.

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
