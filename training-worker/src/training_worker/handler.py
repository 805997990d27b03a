"""The supervisor of one attempt: spawns the child, relays what it reports, turns its end into an outcome.

It never imports torch: that is the child's, which may crash without taking the worker along.
"""

import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import PurePath

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.text import TextReceiveStream
from shared_schemas.codec import encode_json
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Logged, Produced
from shared_schemas.ids import JobId, JobKind, is_job_id, parse_job_id
from shared_schemas.job import Checkpoint
from shared_schemas.models import ModelManifest, ModelRef, TrainingResult
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import TrainingSpec
from worker_runtime import Attempt, StopReason

from training_worker.messages import (
    HEADER_BYTES,
    Assignment,
    Finished,
    Refused,
    Stop,
    Stopped,
    body_length,
    decode_report,
    frame,
)
from training_worker.settings import TrainingSettings

REAP_S = 5.0
_SECRET = re.compile(r"HEADRACE_REDIS|PASSWORD|SECRET|TOKEN", re.IGNORECASE)
_NAME = re.compile(r"[^a-z0-9._-]+")

Publish = Callable[[str, JobId, str, ModelManifest], Awaitable[ModelRef]]
FindCheckpoint = Callable[[JobId], Awaitable[Checkpoint | None]]
End = Finished | Refused | Stopped


class TrainingHandler:
    """publish: (name, job id, fence, manifest) -> the reference it will be served under. find_checkpoint: of another
    job, for resume_from."""

    kind = JobKind.TRAINING

    def __init__(self, settings: TrainingSettings, publish: Publish, find_checkpoint: FindCheckpoint) -> None:
        self._settings, self._publish, self._find_checkpoint = settings, publish, find_checkpoint

    def describe(self) -> dict[str, str]:
        return {"device": self._settings.device, "torch": version("torch")}

    async def run(self, attempt: Attempt) -> Success | Release:
        """AttemptFailed with the child's own error, or worker_process_died, training_stalled."""
        spec = attempt.spec
        assert isinstance(spec, TrainingSpec)  # noqa: S101 - the queue's name says so
        assignment = await self._assignment(attempt, spec)
        match await self._train(attempt, assignment):
            case Stopped():
                return Release()
            case Refused(error=error):
                raise AttemptFailed(
                    error.code, error.message, retryable=error.retryable, row=error.row, column=error.column
                )
            case Finished(manifest=manifest, steps=steps):
                return await self._finish(attempt, spec, manifest, steps)

    async def _assignment(self, attempt: Attempt, spec: TrainingSpec) -> Assignment:
        checkpoint, starts_new_run = attempt.checkpoint, False
        if checkpoint is None and spec.resume_from is not None:
            source = spec.resume_from
            checkpoint = await self._find_checkpoint(parse_job_id(source)) if is_job_id(source) else None
            starts_new_run = True
            if checkpoint is None:
                raise AttemptFailed("checkpoint_not_found", "the job in resume_from has no checkpoint")
        return Assignment(
            spec=spec,
            seed=spec.seed if spec.seed is not None else 0,
            data_root=self._settings.data_root,
            artifacts_root=self._settings.artifacts_root,
            device=self._settings.device,
            threads=self._settings.threads,
            checkpoint=checkpoint,
            starts_new_run=starts_new_run,
        )

    async def _finish(self, attempt: Attempt, spec: TrainingSpec, manifest: ModelManifest, steps: int) -> Success:
        name = spec.output_model or default_name(spec)
        model = await self._publish(name, attempt.job_id, attempt.fence, manifest)
        await attempt.record(Produced(name="model.onnx", artifact=manifest.onnx, model=str(model)))
        result = TrainingResult(
            model=str(model),
            task=manifest.task,
            metrics=manifest.metrics,
            baseline=manifest.baseline,
            steps=steps,
            weights_sha256=manifest.weights_sha256,
            onnx_sha256=manifest.onnx.sha256,
        )
        repeatable = encode_json([manifest.weights_sha256, sorted(manifest.metrics.items())])
        return Success(msgspec.Raw(encode_json(result)), hashlib.sha256(repeatable).hexdigest())

    async def _train(self, attempt: Attempt, assignment: Assignment) -> End:
        async with _child(assignment) as child, anyio.create_task_group() as group:
            watchdog = _Watchdog(self._settings.stall_timeout_s)
            group.start_soon(_relay_lines, child, attempt, watchdog)
            group.start_soon(_pass_on_stop, child, attempt)
            group.start_soon(watchdog.watch, child)
            end = await _relay_reports(child, attempt, watchdog)
            group.cancel_scope.cancel()
        if watchdog.has_bitten:
            raise AttemptFailed(
                "training_stalled",
                f"the training process reported nothing for {self._settings.stall_timeout_s:g} s",
                retryable=True,
            )
        if end is None:
            raise AttemptFailed("worker_process_died", f"the training process {_how(child.returncode)}", retryable=True)
        return end


class _Watchdog:
    def __init__(self, timeout_s: float) -> None:
        self._timeout_s, self._heard_at, self.has_bitten = timeout_s, time.monotonic(), False

    def hear(self) -> None:
        self._heard_at = time.monotonic()

    async def watch(self, child: Process) -> None:
        # Every report moves the time to wait for; there is no event to wait for instead.
        while (left_s := self._heard_at + self._timeout_s - time.monotonic()) > 0:  # noqa: ASYNC110
            await anyio.sleep(left_s)
        self.has_bitten = True
        _kill(child)


@asynccontextmanager
async def _child(assignment: Assignment) -> AsyncIterator[Process]:
    """A child that has its assignment. When the block is left, however it is left, no process of it remains."""
    environment = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    child = await anyio.open_process(
        [sys.executable, "-m", "training_worker.child", str(os.getpid())],
        start_new_session=True,
        env=environment,
    )
    try:
        assert child.stdin is not None  # noqa: S101 - a pipe by default
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenPipeError):
            await child.stdin.send(frame(assignment))
        yield child
    finally:
        _kill(child)
        with anyio.move_on_after(REAP_S, shield=True):
            await child.aclose()


async def _relay_reports(child: Process, attempt: Attempt, watchdog: _Watchdog) -> End | None:
    """None if the pipe ended without an end being told."""
    assert child.stdout is not None  # noqa: S101 - a pipe by default
    source = BufferedByteReceiveStream(child.stdout)
    while True:
        try:
            header = await source.receive_exactly(HEADER_BYTES)
            report = decode_report(await source.receive_exactly(body_length(header)))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            with anyio.move_on_after(REAP_S):
                await child.wait()
            return None
        except (msgspec.MsgspecError, ValueError):
            # Whatever wrote this is not our child any more.
            return None
        watchdog.hear()
        if isinstance(report, Finished | Refused | Stopped):
            return report
        await attempt.record(report)


async def _relay_lines(child: Process, attempt: Attempt, watchdog: _Watchdog) -> None:
    assert child.stderr is not None  # noqa: S101 - a pipe by default
    rest = ""
    async for text in TextReceiveStream(child.stderr, errors="replace"):
        watchdog.hear()
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            await attempt.record(Logged(line=line))


async def _pass_on_stop(child: Process, attempt: Attempt) -> None:
    if await attempt.stopped() in (StopReason.DRAINING, StopReason.PAUSED):
        assert child.stdin is not None  # noqa: S101 - a pipe by default
        try:
            await child.stdin.send(frame(Stop()))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenPipeError):
            # It has ended by itself; its last report says how.
            return


def _kill(child: Process) -> None:
    """The child and whatever it has started: it leads a session of its own."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _how(returncode: int | None) -> str:
    if returncode is None:
        return "closed its pipe"
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"exited with {returncode}"


def default_name(spec: TrainingSpec) -> str:
    """<model_type>-<file name>, in the letters that a model's name may have."""
    name = _NAME.sub("-", f"{spec.model_type}-{PurePath(spec.data_path).stem}".lower())
    return name.strip("-._")[:63] or spec.model_type
