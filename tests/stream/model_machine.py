"""Drives every script through its real Python caller and a model through the same verbs: their answers must agree.

After each step all that Redis keeps is held against the model, and at the end of each story every job must be one that
can be brought to an end.
"""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from shared_schemas.errors import ClaimLost, InUse, ModelNotFound
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.models import ModelRef
from shared_schemas.stream import keys
from shared_schemas.stream.attempt_writer import Batch, Settlement
from shared_schemas.stream.claims import Claims
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.recovery import SilentJob
from shared_schemas.stream.removal import Removal

from tests.stream.model_callers import (
    ENDINGS,
    FARTHEST_S,
    LEASE_S,
    MODELS,
    SPANS,
    STEPS,
    WORKERS,
    any_claim,
    any_job,
    twice,
    workers,
)
from tests.stream.model_check import check
from tests.stream.model_rules import CallerRules
from tests.support.gateways import a_manifest
from tests.support.workers import INFERENCE


class ScriptMachine(CallerRules):
    """Housekeeping, the model registry, and the faults."""

    # Housekeeping.

    @rule(looks=st.booleans())
    def reclaim(self, looks: bool) -> None:
        """By two at once, of what they see now or saw some time ago: at most one may take a job."""

        async def look() -> list[tuple[JobId, str, int]]:
            self.seen = await self.bench.recoveries[0].silent_jobs(lease_s=LEASE_S)
            return sorted((s.job_id, s.fence, s.beat) for s in self.seen)

        async def call() -> list[list[str]]:
            answers = await asyncio.gather(*(recovery.reclaim(self.seen) for recovery in self.bench.recoveries))
            return [sorted(pair) for pair in zip(*answers, strict=True)]

        def expected() -> list[list[str]]:
            # One after the other whole, as scripts are; which of the two is first does not matter.
            answers = [[self.model.reclaim(s.job_id, s.fence, s.beat) for s in self.seen] for _ in range(2)]
            return [sorted(pair) for pair in zip(*answers, strict=True)]

        if looks:
            self.both(look, lambda: sorted(self.model.silent_jobs()))
        else:
            self.both(call, expected)

    @precondition(lambda self: self.model.leases)
    @rule(n=any_job, speaks_up=st.booleans(), heir=st.none() | workers)
    def worker_dies(self, n: int, speaks_up: bool, heir: str | None) -> None:
        """Silent for long enough on the clock of whoever reclaims, whatever Redis' own says, but for one that renews in
        the last moment. heir: who claims next, while the claim of before is still known."""
        job_id = list(self.model.leases)[n % len(self.model.leases)]
        job = self.model.jobs[job_id]
        fence, worker, silent = job.fence or "", job.worker or "", SilentJob(job_id, job.fence or "", job.beat)
        if speaks_up:
            self.both(
                lambda: self.renewed(worker, {job_id: fence}),
                lambda: self.model.renew(worker, {job_id: fence}, registers=False),
            )
        self.both(
            lambda: self.bench.recoveries[0].reclaim([silent]),
            lambda: [self.model.reclaim(silent.job_id, silent.fence, silent.beat)],
        )
        if heir is not None:
            self.claim(heir, 3, True, True, True, False)

    @rule(again=twice)
    def promote(self, again: bool) -> None:
        async def call() -> tuple[int, int]:
            promotion = await self.bench.schedule.promote()
            return promotion.promoted, promotion.expired

        self.both(call, self.model.promote, again=again)

    @rule(verb=st.sampled_from(("sweep", "repair", "redeliver")), name=workers, again=twice)
    def mend(self, verb: str, name: str, again: bool) -> None:
        bench, recovery, model = self.bench, self.bench.recoveries[0], self.model
        if verb == "redeliver":
            self.both(lambda: recovery.redeliver(idle_s=0.0, worker=name), lambda: model.redeliver(name), again=again)
        else:
            verbs = bench.schedule if verb == "sweep" else recovery
            self.both(getattr(verbs, verb), getattr(model, verb), again=again)

    # The registry.

    @precondition(lambda self: self.claims)
    @rule(name=st.sampled_from(MODELS), n=any_claim, succeeds=st.booleans(), again=twice)
    def stage(self, name: str, n: int, succeeds: bool, again: bool) -> None:
        claim = self.claim_at(n)

        async def call() -> int | None:
            try:
                ref = await self.bench.registry.stage(
                    name=name, job_id=claim.job_id, fence=claim.fence, manifest=a_manifest()
                )
            except ClaimLost:
                return None
            return ref.version  # type: ignore[return-value]

        self.both(call, lambda: self.models.stage(name, claim.job_id, claim.fence), again=again)
        if succeeds:
            self.end([Batch(claim, 0, ())], "success", [])

    @rule(
        name=st.sampled_from(MODELS),
        n=any_job,
        alias=st.sampled_from(("latest", "best")),
        version=st.integers(1, 3),
        deletes=st.booleans(),
    )
    def look_models_up(self, name: str, n: int, alias: str, version: int, deletes: bool) -> None:
        registry = self.bench.registry

        async def found(call: Awaitable[Any]) -> Any:
            try:
                return await call
            except ModelNotFound:
                return None

        async def resolved(model_id: str) -> tuple[str, int] | None:
            model = await found(registry.resolve(model_id))
            return model and (model.name, model.version)

        async def versions() -> list[int]:
            listed = await found(registry.versions(name))
            return [] if listed is None else [model.version for model in listed.models]

        async def is_set() -> bool:
            return await found(registry.set_alias(name, "best", version)) is not None

        async def is_deleted() -> str:
            try:
                await Removal(self.bench.nodes).delete_version(ModelRef(name, version), queues=[INFERENCE])
            except ModelNotFound:
                return "not found"
            except InUse:
                return "in use"
            return "deleted"

        async def pinned() -> list[tuple[str, int] | None]:
            refs = await registry.pin(model_ids)
            return [(ref.name, ref.version) if isinstance(ref, ModelRef) else None for ref in refs]

        self.both(versions, lambda: self.models.versions(name))
        if deletes:
            self.both(is_deleted, lambda: self.models.delete(name, version))
        else:
            self.both(is_set, lambda: self.models.set_alias(name, "best", version))
        model_ids = [name, f"{name}@{alias}", *(self.model.job_at(n).id for _ in range(1) if self.model.jobs)]
        self.both(pinned, lambda: [self.models.resolve(model_id) for model_id in model_ids])
        for model_id in model_ids:
            self.both(partial(resolved, model_id), partial(self.models.resolve, model_id))

    # Faults.

    @precondition(lambda self: self.shim is not None)
    @rule(step=st.sampled_from(STEPS))
    def step_clock(self, step: int) -> None:
        offset_s = max(-FARTHEST_S, min(FARTHEST_S, self.offset_s + step))
        self.model.now += offset_s - self.offset_s
        self.offset_s = offset_s
        self._set_clock(offset_s)

    @rule(
        kind=st.sampled_from(("trim", "delete", "destroy", "skip", "consumer", "leases")),
        lane=st.sampled_from(Lane),
        name=workers,
    )
    def break_stream(self, kind: str, lane: Lane, name: str) -> None:
        raw, stream, model = self.bench.raw, keys.ready(INFERENCE, lane), self.model.lanes[lane]
        match kind:
            case "trim":
                raw.xtrim(stream, maxlen=0, approximate=False)
                model.entries = []
            case "delete":
                raw.delete(stream)
                model.entries = []
                model.destroy_group()
            case "destroy" if model.has_group:
                raw.xgroup_destroy(stream, keys.GROUP)
                model.destroy_group()
            case "skip" if model.has_group:
                raw.xgroup_destroy(stream, keys.GROUP)
                raw.xgroup_create(stream, keys.GROUP, id="$")
                model.create_group(at_end=True)
            case "consumer" if model.has_group:
                raw.xgroup_delconsumer(stream, keys.GROUP, name)
                model.pending = {entry: holder for entry, holder in model.pending.items() if holder != name}
            case "leases":
                raw.delete(keys.leases(INFERENCE))
                self.model.leases.clear()

    @invariant()
    def redis_keeps_what_the_model_keeps(self) -> None:
        check(self.bench.raw, INFERENCE, self.model, WORKERS)
        self.is_whole = True

    def teardown(self) -> None:
        try:
            if self.is_whole:
                self._bring_all_to_an_end()
        finally:
            self.bench.close()

    def _bring_all_to_an_end(self) -> None:
        """Whatever has happened: once the faults stop, every job can be brought to an end."""
        bench, schedule, recovery = self.bench, self.bench.schedule, self.bench.recoveries[0]
        last = Claims(bench.nodes, bench.reader, INFERENCE, worker="z", lease_s=LEASE_S)
        bench.run(last.open())
        self._set_clock(2 * FARTHEST_S + LEASE_S + max(SPANS))
        bench.run(recovery.repair())
        bench.run(recovery.reclaim(bench.run(recovery.silent_jobs(lease_s=LEASE_S))))
        for job_id in self.model.jobs:
            if bench.run(bench.jobs.states([job_id]))[job_id] is JobState.PAUSED:
                bench.run(bench.control.resume(job_id))
        for n in range(3 + len(self.model.jobs)):
            bench.run(schedule.promote())
            bench.run(recovery.redeliver(idle_s=0.0, worker="z"))
            bench.run(recovery.repair())
            for claim in bench.run(last.claim(100, token=f"last{n}")):
                assert bench.run(bench.writer.settle([Settlement(Batch(claim, 0, ()), ENDINGS["success"])])) == [True]
        states = bench.run(bench.jobs.states(list(self.model.jobs)))
        assert all(state.is_terminal for state in states.values()), states
        for lane in Lane:
            pending = bench.raw.xpending_range(keys.ready(INFERENCE, lane), keys.GROUP, "-", "+", 10)
            assert pending == [], (lane, pending, bench.raw.xrange(keys.ready(INFERENCE, lane)))
