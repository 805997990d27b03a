"""The real callers of every script of a queue, and how the same call is made of them and of the model."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from shared_schemas.events import Emitted, JobEvent, Measured, Progressed
from shared_schemas.ids import JobId
from shared_schemas.outcome import Outcome, Retry
from shared_schemas.stream.attempt_writer import AttemptWriter
from shared_schemas.stream.claims import Claim, Claims
from shared_schemas.stream.connection import connect, connect_for_thread, connect_one
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.leases import Leases
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.recovery import Recovery, SilentJob
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.schedule import Schedule
from shared_schemas.stream.submission import Submitter
from shared_schemas.stream.workers import Workers

from tests.stream.model import QueueModel
from tests.stream.model_registry import RegistryModel
from tests.support.queue_bench import BAD, OUTCOMES
from tests.support.redis_server import RedisServer
from tests.support.shims import Shim
from tests.support.workers import INFERENCE

# How many attempts each runs at once: one that runs one alone proves who is poison.
WORKERS, MODELS = {"a": 1, "b": 3, "c": 3}, ("m", "n")
EVENTS: dict[str, JobEvent] = {
    "output": Emitted(chunk="x"),
    "progress": Progressed(fraction=0.5, step=1),
    "metric": Measured(split="train", step=1, values={"loss": None}),
}
# Spans end on 500 s and steps of the clock on 1000 s, so no few seconds of real time decide anything.
SPANS, STEPS, LEASE_S, LATER_S, DAY_S = (
    (-500.0, 1500.0, 5500.0),
    (-7000, -2000, -1000, 1000, 2000, 7000),
    2700.0,
    1500.0,
    86_400.0,
)
# What a call takes in the model, far below any span.
FARTHEST_S, CALL_S = 9_000.0, 0.001
ENDINGS: dict[str, Outcome] = {**OUTCOMES, "retry_later": Retry(BAD, LATER_S)}

any_job = any_claim = st.integers(0, 30)
workers, twice = st.sampled_from(list(WORKERS)), st.booleans()


class Bench:
    """The real callers of one queue, on a loop of their own."""

    def __init__(self, url: str) -> None:
        settings = RedisSettings(redis_url=url)
        self.runner, self.raw = asyncio.Runner(), redis.Redis.from_url(url, protocol=2)
        self.raw.flushall()
        self.client, self.reader = connect(settings), connect_one(settings, retries=0)
        self.thread, self.nodes = connect_for_thread(settings), Nodes(self.client)
        self.submitter, self.jobs = Submitter(self.nodes), Jobs(self.nodes)
        self.control, self.workers = JobControl(self.nodes), Workers(self.nodes)
        self.registry = ModelRegistry(self.nodes)
        self.writer = AttemptWriter(self.nodes, INFERENCE)
        self.schedule = Schedule(self.nodes, INFERENCE)
        self.recoveries = [Recovery(self.nodes, INFERENCE) for _ in range(2)]
        self.claims = {
            name: Claims(self.nodes, self.reader, INFERENCE, worker=name, lease_s=LEASE_S, capacity=capacity)
            for name, capacity in WORKERS.items()
        }
        self.leases = {name: Leases(self.thread, INFERENCE, worker=name, lease_s=LEASE_S) for name in WORKERS}
        self.run(self.claims["a"].open())

    def run(self, call: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await call

        return self.runner.run(wait())

    def close(self) -> None:
        self.run(self.client.aclose())
        self.run(self.reader.aclose())
        self.raw.close()
        self.thread.close()
        self.runner.close()


class Machine(RuleBasedStateMachine):
    """server, shim: set by the test. shim None: the clock cannot be stepped, and nothing waits for a time."""

    server: ClassVar[RedisServer]
    shim: ClassVar[Shim | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.offset_s = 0.0
        self._set_clock(0.0)
        self.bench, self.model = Bench(self.server.url), QueueModel(lease=LEASE_S)
        self.models = RegistryModel(self.model.jobs)
        self.seen: list[SilentJob] = []
        self.claims: list[Claim] = []
        self.runs: dict[str, dict[JobId, str]] = {name: {} for name in WORKERS}
        self.hands: dict[str, list[tuple[str, str, str]]] = {name: [] for name in WORKERS}
        self.n_calls, self.is_whole = 0, True

    def claim_at(self, n: int) -> Claim:
        """Counted from the newest."""
        return self.claims[-1 - n % len(self.claims)]

    def _set_clock(self, offset_s: float) -> None:
        if self.shim is not None:
            self.shim.set_clock(offset_s)
            self.server.await_clock(offset_s)

    def both(self, call: Callable[[], Awaitable[Any]], expected: Callable[[], Any], *, again: bool = False) -> Any:
        """The call, and the very same once more if `again`: each time the answer must be the model's."""
        self.is_whole = False
        for _ in range(1 + again):
            # So that what is due later comes later, as by a real clock.
            self.model.now += CALL_S
            found = self.bench.run(call())
            wanted = expected()
            assert found == wanted, f"answered {found}, expected {wanted}"
        return found
