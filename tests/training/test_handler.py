"""Attempts in real child processes: what they publish, how they stop, and how they die."""

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import psutil
import pytest
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Checkpointed, JobEvent, Logged, Measured, Produced
from shared_schemas.ids import JobId
from shared_schemas.job import Checkpoint
from shared_schemas.models import ModelManifest, ModelRef, TrainingResult
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import TrainingSpec
from training_worker.handler import TrainingHandler, default_name, digest_of
from training_worker.settings import TrainingSettings
from worker_runtime import StopReason

from tests.support.attempts import CollectingAttempt
from tests.support.odd_recipes import ROOT, OddHyperparameters, install
from tests.support.training import TINY, assignment, fitted, measured, write_table, write_texts

FAILING = ("hanging", "killed", "exiting", "raising", "outofmemory", "forging")
ODD = ("Hanging", "Killed", "Exiting", "Raising", "OutOfMemory", "Printing", "Forging")
# A child imports torch when it starts, which takes long on a busy machine.
STARTED_S = 60.0
FREED_WITHIN_S = 2.0
LONGER = msgspec.structs.replace(TINY, epochs=100)


class Published:
    """Receives what a handler publishes, in place of a registry."""

    def __init__(self) -> None:
        self.manifests: dict[str, ModelManifest] = {}
        self.fences: list[str] = []
        self.checkpoints: dict[str, Checkpoint] = {}

    async def publish(self, name: str, job_id: JobId, fence: str, manifest: ModelManifest) -> ModelRef:
        self.manifests[name] = manifest
        self.fences.append(fence)
        return ModelRef(name, len(self.fences))

    async def find_checkpoint(self, job_id: JobId) -> Checkpoint | None:
        return self.checkpoints.get(job_id)


@pytest.fixture
def odd_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the recipes of tests.support.odd_recipes visible to a child, by entry points like those of a
    user's package."""
    monkeypatch.setenv("PYTHONPATH", install(tmp_path, ODD))


def handler_for(
    root: Path,
    published: Published,
    *,
    stall_timeout_s: float = 60.0,
    start_timeout_s: float = 600.0,
    niceness: int = 0,
) -> TrainingHandler:
    settings = TrainingSettings(
        data_root=str(root),
        artifacts_root=str(root / "artifacts"),
        device="cpu",
        threads=1,
        stall_timeout_s=stall_timeout_s,
        start_timeout_s=start_timeout_s,
        niceness=niceness,
    )
    return TrainingHandler(settings, published.publish, published.find_checkpoint)


def attempt_at(root: Path, model_type: str = "mlp", *, checkpoint: Checkpoint | None = None,
               replay_of: JobId | None = None, **spec: object) -> CollectingAttempt:  # fmt: skip
    write_table(root / "table.csv")
    wanted = {
        "data_path": "/data/table.csv",
        "seed": 3,
        "hyperparameters": TINY if model_type not in FAILING else OddHyperparameters(mark=str(root / "mark")),
        "feature_columns": ("x", "z"),
    }
    return CollectingAttempt(
        TrainingSpec(model_type=model_type, **(wanted | spec)),  # type: ignore[arg-type]
        checkpoint=checkpoint,
        replay_of=replay_of,
    )


def lines_of(attempt: CollectingAttempt) -> list[str]:
    return [event.line for event in attempt.events if isinstance(event, Logged)]


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "training_worker.child" in " ".join(child.cmdline())]


def session_niceness(pid: int) -> int | None:
    """None if the kernel does not group processes by session."""
    group = Path(f"/proc/{pid}/autogroup")
    return int(group.read_text().rpartition(" ")[2]) if group.exists() else None


@asynccontextmanager
async def cancelled_at_the_end(handler: TrainingHandler, attempt: CollectingAttempt) -> AsyncIterator[None]:
    """Runs the attempt until the block ends, then cancels it and waits until it has ended."""
    async with anyio.create_task_group() as group:
        group.start_soon(handler.run, attempt)
        yield
        began = time.monotonic()
        group.cancel_scope.cancel()
    assert time.monotonic() - began < FREED_WITHIN_S


async def test_an_attempt_publishes_a_model_and_reports_all_of_its_progress(
    tmp_path: Path, odd_recipes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_REDIS_URL", "redis://:secret@127.0.0.1:1/0")
    monkeypatch.setenv("HEADRACE_LOG_FORMAT", "json")
    published = Published()
    attempt = attempt_at(tmp_path, "printing")

    outcome = await handler_for(tmp_path, published).run(attempt)

    assert isinstance(outcome, Success)
    result = msgspec.json.decode(outcome.result, type=TrainingResult)
    manifest = published.manifests["printing-table"]
    assert published.fences == [attempt.fence]
    assert (result.model, result.task, result.steps) == ("printing-table@1", "tabular-regression", 10)
    assert (result.weights_sha256, result.onnx_sha256) == (manifest.weights_sha256, manifest.onnx.sha256)
    assert (result.metrics, result.baseline) == (manifest.metrics, manifest.baseline)
    assert outcome.digest == digest_of(manifest)
    assert [step for split, step, _ in measured(attempt.events) if split == "train"] == list(range(1, 11))
    [produced] = [event for event in attempt.events if isinstance(event, Produced)]
    assert (produced.model, produced.artifact) == ("printing-table@1", manifest.onnx)
    assert len(manifest.data_sha256) == len(manifest.code_sha256) == 64
    # What user code prints becomes log lines, and its environment gives no access to Redis.
    lines = lines_of(attempt)
    assert [line for line in lines if line.startswith("seen:")] == ["seen: HEADRACE_LOG_FORMAT"]
    assert "warned" in lines
    assert "a line without an end" in lines
    assert children() == []


async def test_a_replay_trains_the_same_and_publishes_nothing(tmp_path: Path) -> None:
    published = Published()
    handler = handler_for(tmp_path, published)
    first = attempt_at(tmp_path)
    again = attempt_at(tmp_path, replay_of=first.job_id)

    original, replay = await handler.run(first), await handler.run(again)

    assert isinstance(original, Success)
    assert isinstance(replay, Success)
    assert len(published.fences) == 1
    assert replay.digest == original.digest
    results = [msgspec.json.decode(outcome.result, type=TrainingResult) for outcome in (original, replay)]
    assert [result.model for result in results] == ["mlp-table@1", None]
    assert results[0].onnx_sha256 == results[1].onnx_sha256
    assert replay.facts == original.facts
    assert {"device", "threads", "processor", "torch", "data", "code"} == original.facts.keys()
    assert (original.facts["device"], original.facts["threads"]) == ("cpu", "1")
    assert not any(isinstance(event, Produced) for event in again.events)
    assert any("publishes no model" in line for line in lines_of(again))


async def test_a_typed_failure_of_the_data_keeps_its_row_and_column(tmp_path: Path) -> None:
    attempt = attempt_at(tmp_path)
    (tmp_path / "table.csv").write_text("x,z,y\n" + "1,2,0.5\n" * 8 + "1,two,0.5\n")

    with pytest.raises(AttemptFailed) as caught:
        await handler_for(tmp_path, Published()).run(attempt)

    info = caught.value.info()
    assert (info.code, info.row, info.column, info.retryable) == ("data_not_numeric", 9, "z", False)
    assert not any("Traceback" in line for line in lines_of(attempt))


async def test_a_child_that_fails_is_a_typed_failure(tmp_path: Path, odd_recipes: None) -> None:
    # Longer than a child takes to start. After that, the hanging one prints twenty lines a second.
    impatient = handler_for(tmp_path, Published(), stall_timeout_s=20.0)
    patient = handler_for(tmp_path, Published(), stall_timeout_s=150.0)
    failures: dict[str, tuple[str, str, bool]] = {}
    attempts = {
        model_type.lower(): attempt_at(tmp_path, model_type.lower()) for model_type in ODD if model_type != "Printing"
    }

    async def run(model_type: str) -> None:
        handler = impatient if model_type == "hanging" else patient
        with pytest.raises(AttemptFailed) as caught:
            await handler.run(attempts[model_type])
        info = caught.value.info()
        failures[model_type] = (info.code, info.message, info.retryable)

    async with anyio.create_task_group() as group:
        for model_type in attempts:
            if model_type != "hanging":
                group.start_soon(run, model_type)
    # Run alone, so that it has printed something before its timeout.
    await run("hanging")

    assert failures == {
        "hanging": ("training_stalled", "the training process made no step for 20 s", True),
        "killed": ("worker_process_died", "the training process was ended by SIGKILL", True),
        "exiting": ("worker_process_died", "the training process exited with 3", True),
        "raising": ("recipe_failed", "the training code failed with LookupError", True),
        "outofmemory": ("out_of_memory", "the training process ran out of memory", False),
        "forging": ("worker_process_died", "the training process was ended by SIGKILL", True),
    }
    assert "still here" in lines_of(attempts["hanging"])
    assert not any("secret of the data" in line for attempt in attempts.values() for line in lines_of(attempt))
    assert children() == []


async def test_cancelling_frees_the_child_and_all_that_it_has_started_at_once(
    tmp_path: Path, odd_recipes: None
) -> None:
    attempt = attempt_at(tmp_path, "hanging")

    async with cancelled_at_the_end(handler_for(tmp_path, Published()), attempt):
        await attempt.until(lambda events: "still here" in lines_of(attempt), within_s=STARTED_S)
        pids = [int(pid) for pid in (tmp_path / "mark").read_text().split()]
        assert all(psutil.pid_exists(pid) for pid in pids)

    assert len(pids) == 2
    assert children() == []
    for pid in pids:
        # This process is not the parent of the grandchild, so another process reaps it.
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_child_and_what_it_starts_give_way_to_other_processes(tmp_path: Path, odd_recipes: None) -> None:
    attempt = attempt_at(tmp_path, "hanging")
    ours = os.getpriority(os.PRIO_PROCESS, 0)

    async with cancelled_at_the_end(handler_for(tmp_path, Published(), niceness=13), attempt):
        await attempt.until(lambda events: "still here" in lines_of(attempt), within_s=STARTED_S)
        pids = [int(pid) for pid in (tmp_path / "mark").read_text().split()]
        threads = [thread.id for thread in psutil.Process(pids[0]).threads()]
        nice = {os.getpriority(os.PRIO_PROCESS, each) for each in (*pids, *threads)}
        policies = {os.sched_getscheduler(each) for each in (*pids, *threads)}
        session = session_niceness(pids[0])

    assert nice == {max(13, ours)}
    assert policies == {os.SCHED_BATCH}
    assert session in (13, None)
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours


async def test_cancelling_while_the_child_still_starts_leaves_nothing(tmp_path: Path) -> None:
    handler, attempt = handler_for(tmp_path, Published()), attempt_at(tmp_path)

    async with cancelled_at_the_end(handler, attempt):
        with anyio.fail_after(STARTED_S):
            while not children():
                await anyio.lowlevel.checkpoint()

    assert children() == []


async def test_a_child_killed_from_outside_is_tried_again(tmp_path: Path, odd_recipes: None) -> None:
    attempt = attempt_at(tmp_path, "hanging")
    caught: list[AttemptFailed] = []

    async def run() -> None:
        try:
            await handler_for(tmp_path, Published()).run(attempt)
        except AttemptFailed as error:
            caught.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await attempt.until(lambda events: "still here" in lines_of(attempt), within_s=STARTED_S)
        [child] = children()
        child.send_signal(signal.SIGSEGV)

    assert [error.info().code for error in caught] == ["worker_process_died"]
    assert "SIGSEGV" in str(caught[0])
    assert caught[0].info().retryable


async def test_a_job_that_was_stopped_and_resumed_gives_the_same_model(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")
    published = Published()
    handler = handler_for(tmp_path, published)
    job: dict[str, object] = {"data_path": "texts.csv", "feature_columns": (), "hyperparameters": LONGER}

    first = attempt_at(tmp_path, "transformer", **job)
    released = await stopped_by(StopReason.DRAINING, handler, first)
    saved = [event for event in first.events if isinstance(event, Checkpointed)][-1]
    checkpoint = Checkpoint(step=saved.step, artifact=saved.artifact)
    second = attempt_at(tmp_path, "transformer", checkpoint=checkpoint, **job)
    finished = await handler.run(second)

    whole, events = fitted(assignment(tmp_path, model_type="transformer", seed=3, **job))
    assert isinstance(released, Release)
    assert isinstance(finished, Success)
    assert 0 < checkpoint.step < whole.steps
    assert measured(first.events) + measured(second.events) == measured(events)
    manifest = published.manifests["transformer-texts"]
    assert (manifest.weights_sha256, manifest.metrics) == (whole.weights_sha256, whole.metrics)


def has_measured(events: Sequence[JobEvent]) -> bool:
    return any(isinstance(event, Measured) for event in events)


async def stopped_by(
    reason: StopReason,
    handler: TrainingHandler,
    attempt: CollectingAttempt,
    *,
    when: Callable[[Sequence[JobEvent]], bool] = has_measured,
) -> Success | Release:
    outcomes: list[Success | Release] = []

    async def run() -> None:
        outcomes.append(await handler.run(attempt))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await attempt.until(when, within_s=STARTED_S)
        attempt.stop = reason
    [outcome] = outcomes
    return outcome


async def test_resume_from_a_job_without_a_checkpoint_fails_before_anything_is_started(tmp_path: Path) -> None:
    for source in ("training-01arz3ndektsv4rrffq69g5fav", "no job id"):
        attempt = attempt_at(tmp_path, resume_from=source)

        with pytest.raises(AttemptFailed) as caught:
            await handler_for(tmp_path, Published()).run(attempt)

        assert (caught.value.info().code, caught.value.info().retryable) == ("checkpoint_not_found", False)
        assert attempt.events == []


async def test_a_child_dies_with_its_supervisor(tmp_path: Path, odd_recipes: None) -> None:
    script = f"""
import anyio
from pathlib import Path
from tests.training.test_handler import Published, attempt_at, handler_for, lines_of
async def main():
    attempt = attempt_at(Path({str(tmp_path)!r}), "hanging")
    async with anyio.create_task_group() as group:
        group.start_soon(handler_for(Path({str(tmp_path)!r}), Published()).run, attempt)
        await attempt.until(lambda events: "still here" in lines_of(attempt), within_s={STARTED_S})
        print("ready", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""
    async with await anyio.open_process([sys.executable, "-c", script], cwd=ROOT, stderr=None) as supervisor:
        assert supervisor.stdout is not None
        with anyio.fail_after(STARTED_S):
            await supervisor.stdout.receive()
        child, grandchild = (psutil.Process(int(pid)) for pid in (tmp_path / "mark").read_text().split())

        supervisor.kill()
        _, alive = await anyio.to_thread.run_sync(lambda: psutil.wait_procs([child], timeout=5.0))

        # After the death of the supervisor, nothing ends processes that user code has started.
        grandchild.kill()
        assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_a_model_without_a_name_is_named_after_its_type_and_file() -> None:
    def name(data_path: str) -> str:
        return default_name(TrainingSpec(model_type="transformer", data_path=data_path))

    assert name("/data/train.csv") == "transformer-train"
    assert name("sets/Große Daten (2).csv") == "transformer-gro-e-daten-2"
    assert len(name("x" * 200)) == 63
