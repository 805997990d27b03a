"""What submitters and readers do, in any order, retries included.

Numbers in a rule pick one of the jobs or claims so far.
"""

import time
from collections import Counter
from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from shared_schemas.attempts import attempts_of
from shared_schemas.batches import BatchState
from shared_schemas.codec import decode_event
from shared_schemas.errors import InUse, StateConflict
from shared_schemas.ids import JobId, created_ms, new_job_id
from shared_schemas.job import JobState
from shared_schemas.lifecycle import from_ms
from shared_schemas.specs import InferenceSpec, Priority, TrainingSpec
from shared_schemas.stream.batches import Batches
from shared_schemas.stream.dead_letters import DeadLetters
from shared_schemas.stream.idempotency import claim_keys
from shared_schemas.stream.keys import LANES, Lane
from shared_schemas.stream.queue_status import statuses_of
from shared_schemas.stream.removal import Removal
from shared_schemas.stream.submission import Made, Submission
from shared_schemas.stream.timeline import Timeline

from tests.stream.model_callers import (
    DAY_S,
    SPANS,
    Machine,
    any_job,
    twice,
    workers,
)
from tests.stream.model_jobs import ModelJob
from tests.support.gateways import TRAINING
from tests.support.workers import INFERENCE


class RequestRules(Machine):
    """Submitting, requesting, deleting, and looking at what there is."""

    def leave(self, name: str) -> None:
        """What a worker does, that a story of requests may ask for."""
        raise NotImplementedError

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
