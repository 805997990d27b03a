"""A real gateway and Redis for a test, with workers in the test's own process that return what the
test says.

Knows no model: the workers use neither PyTorch nor ONNX Runtime. Users import it as
headrace.testing.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from headrace import Client, JobKind, StreamEvent
from rich.console import Console
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed, ErrorInfo
from shared_schemas.events import JobEvent
from shared_schemas.models import ModelManifest, TensorSpec
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import TrainingSpec
from shared_schemas.stream.connection import connect
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.registry import ModelRegistry
from worker_runtime import Attempt, RuntimeSettings, Worker

from headrace_local.logs import Log
from headrace_local.system import SystemConfig, free_port, running_system

_DEADLINE_S = 30.0


class Answer(msgspec.Struct, frozen=True):
    """What a scripted worker does in one attempt: it records the events, and ends with the error or
    the result."""

    result: Any = None
    error: ErrorInfo | None = None
    events: tuple[JobEvent, ...] = ()


def succeed(result: Any = None, *, events: Sequence[JobEvent] = ()) -> Answer:
    """The job succeeds. result: anything that JSON can hold."""
    return Answer(result=result, events=tuple(events))


def fail(code: str, message: str, *, events: Sequence[JobEvent] = ()) -> Answer:
    """The job fails for good."""
    return Answer(error=ErrorInfo(code=code, message=message), events=tuple(events))


def retry(code: str, message: str, *, events: Sequence[JobEvent] = ()) -> Answer:
    """The attempt fails. If the spec allows another attempt, that one takes the next answer."""
    return Answer(error=ErrorInfo(code=code, message=message, retryable=True), events=tuple(events))


class ScriptedWorker:
    """A worker whose attempts take the answers in the order given, and wait while there is none. A
    training job that succeeds publishes its output_model, as usual."""

    def __init__(self, kind: JobKind, portal: BlockingPortal, redis_url: str) -> None:
        self.kind = kind
        self._portal = portal
        self._settings = RuntimeSettings(redis_url=redis_url, worker_name=f"scripted-{kind}", slots=8)
        self._give, self._answers = anyio.create_memory_object_stream[Answer](float("inf"))

    def answer(self, *answers: Answer) -> None:
        for each in answers:
            self._portal.call(self._give.send_nowait, each)

    def describe(self) -> dict[str, str]:
        return {"device": "scripted"}

    async def run(self, attempt: Attempt) -> Success | Release:
        answer: Answer | None = None
        async with anyio.create_task_group() as group:

            async def release() -> None:
                await attempt.stopped()
                group.cancel_scope.cancel()

            group.start_soon(release)
            answer = await self._answers.receive()
            group.cancel_scope.cancel()
        if answer is None:
            return Release()
        for event in answer.events:
            await attempt.record(event)
        if answer.error is not None:
            raise AttemptFailed(answer.error.code, answer.error.message, retryable=answer.error.retryable)
        if isinstance(attempt.spec, TrainingSpec):
            await self._publish(attempt, attempt.spec)
        return Success(msgspec.Raw(msgspec.json.encode(answer.result)))

    async def _publish(self, attempt: Attempt, spec: TrainingSpec) -> None:
        if spec.output_model is None or attempt.replay_of is not None:
            return
        client = connect(self._settings)
        try:
            registry = ModelRegistry(Nodes(client))
            await registry.stage(
                name=spec.output_model, job_id=attempt.job_id, fence=attempt.fence, manifest=_any_text()
            )
        finally:
            await client.aclose()

    async def serve(self, started: Callable[[Worker], None]) -> None:
        worker = Worker(self._settings, self)
        started(worker)
        await worker.run(handle_signals=False)


class TestSystem:
    """client: connected to the gateway at url. training, inference: the
    workers, which take answers."""

    __test__ = False  # pytest would take it for a test, by its name

    def __init__(self, client: Client, training: ScriptedWorker, inference: ScriptedWorker) -> None:
        self.client, self.url = client, client.url
        self.training, self.inference = training, inference

    def publish(self, name: str) -> None:
        """Publish a model that takes any text, so that inference jobs can name it. This submits a
        training job, so no answer may be left for the training worker."""
        self.training.answer(succeed())
        job = self.client.submit_training(model_type="scripted", data_path="scripted.csv", output_model=name)
        self.client.result(job.job_id, timeout_s=_DEADLINE_S)

    def wait_for(
        self, job_id: str, found: Callable[[StreamEvent], bool], *, timeout_s: float = _DEADLINE_S
    ) -> StreamEvent:
        """The first event of the job for which `found` is true. LookupError if the job ends without
        one, WaitTimedOut."""
        for received in self.client.follow(job_id, timeout_s=timeout_s):
            if received.event is not None and found(received.event):
                return received.event
        raise LookupError("the job has ended without such an event")


@contextmanager
def running_test_system() -> Iterator[TestSystem]:
    """Start a private Redis, a gateway and a scripted worker for each kind of job. Stop them at the
    end, and remove their data. LocalError if they cannot be started."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-")))
        config = SystemConfig(
            data_dir=folder,
            environment={name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")},
            port=free_port(),
            workers={},
        )
        log = Log(Console(stderr=True), level="warning")
        system = stack.enter_context(running_system(config, log))
        portal = stack.enter_context(start_blocking_portal())
        workers = {kind: ScriptedWorker(kind, portal, system.redis_url) for kind in JobKind}
        for worker in workers.values():
            stack.enter_context(_serving(worker, portal))
        client = stack.enter_context(Client(system.url))
        yield TestSystem(client, workers[JobKind.TRAINING], workers[JobKind.INFERENCE])


@contextmanager
def _serving(scripted: ScriptedWorker, portal: BlockingPortal) -> Iterator[None]:
    started = list[Worker]()
    serving = portal.start_task_soon(partial(scripted.serve, started.append))
    try:
        yield
    finally:
        for worker in started:
            # The second call releases attempts that still wait for an answer.
            portal.call(worker.drain)
            portal.call(worker.drain)
        serving.result(_DEADLINE_S)


def _any_text() -> ModelManifest:
    file = ArtifactRef(sha256="0" * 64, n_bytes=1)
    tensor = TensorSpec(name="tokens", dtype="int64", shape=("batch", 16))
    return ModelManifest(
        task="text-classification", model_type="scripted", onnx=file, inputs=(tensor,), outputs=(tensor,)
    )
