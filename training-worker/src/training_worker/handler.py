"""Runs a training job: makes the assignment for a child process, and publishes its model.

This module never imports torch. Only the child does. If the child crashes, the worker goes on.
"""

import hashlib
from collections.abc import Awaitable, Callable
from importlib.metadata import version

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Logged, Produced
from shared_schemas.ids import JobId, is_job_id, parse_job_id
from shared_schemas.job import Checkpoint
from shared_schemas.kinds import JobKind
from shared_schemas.models import ModelManifest, ModelRef, TrainingResult
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import TrainingSpec
from worker_runtime import Attempt

from training_worker.messages import Assignment, Finished, Refused, Stopped
from training_worker.naming import default_model_name
from training_worker.settings import TrainingSettings
from training_worker.supervision import End, Limits, supervise

Publish = Callable[[str, JobId, str, ModelManifest], Awaitable[ModelRef]]
FindCheckpoint = Callable[[JobId], Awaitable[Checkpoint | None]]


class TrainingHandler:
    """publish: (name, job id, fence, manifest) -> the reference of the new model version.
    find_checkpoint: (job id) -> the newest checkpoint of another job, which `resume_from` names."""

    kind = JobKind.TRAINING

    def __init__(
        self,
        settings: TrainingSettings,
        publish: Publish,
        find_checkpoint: FindCheckpoint,
        *,
        gpu_unused: str | None = None,
    ) -> None:
        """gpu_unused: why the GPU that is there is not used."""
        self._settings, self._publish, self._find_checkpoint = settings, publish, find_checkpoint
        self._gpu_unused = gpu_unused

    def describe(self) -> dict[str, str]:
        unused = {} if self._gpu_unused is None else {"gpu_unused": self._gpu_unused}
        return {"device": self._settings.device, "torch": version("torch")} | unused

    async def run(self, attempt: Attempt) -> Success | Release:
        """Train in a child process and publish the model. Release if the attempt was asked to stop.

        AttemptFailed with the error that the child reported; checkpoint_not_found if the job in
        resume_from has no checkpoint; no_process, worker_process_died, training_stalled or
        recipe_failed, all retryable, if the child failed."""
        spec = attempt.spec
        assert isinstance(spec, TrainingSpec)  # noqa: S101 - the queue's name says so
        assignment = await self._assignment(attempt, spec)
        limits = Limits(stall_s=self._settings.stall_timeout_s, start_s=self._settings.start_timeout_s)
        kept, niceness = self._settings.checkpoints_kept, self._settings.niceness
        end = await supervise(attempt, assignment, limits, checkpoints_kept=kept, niceness=niceness)
        while _lacks_checkpoint(end) and await self._has_moved(assignment):
            assignment = await self._assignment(attempt, spec)
            end = await supervise(attempt, assignment, limits, checkpoints_kept=kept, niceness=niceness)
        match end:
            case Stopped():
                return Release()
            case Refused(error=error):
                raise AttemptFailed(
                    error.code, error.message, retryable=error.retryable, row=error.row, column=error.column
                )
            case Finished() as finished:
                return await self._finish(attempt, spec, finished)

    async def _has_moved(self, assignment: Assignment) -> bool:
        """Whether the job in resume_from has a newer checkpoint by now. Then it has removed the one
        that this assignment names."""
        source = assignment.spec.resume_from
        if not assignment.starts_new_run or source is None:
            return False
        newest = await self._find_checkpoint(parse_job_id(source))
        return newest is not None and newest != assignment.checkpoint

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
            metric_events=self._settings.metric_events,
            owner=f"{attempt.job_id} {attempt.fence}",
        )

    async def _finish(self, attempt: Attempt, spec: TrainingSpec, finished: Finished) -> Success:
        """Publish the model, except for a replay. A replay is only compared with the job that it
        repeats, and must not become the newest version of the model."""
        model, manifest = None, finished.manifest
        if finished.series is not None:
            await attempt.record(Produced(name="metrics.ndjson", artifact=finished.series))
        if attempt.replay_of is None:
            name = spec.output_model or default_name(spec)
            model = str(await self._publish(name, attempt.job_id, attempt.fence, manifest))
            await attempt.record(Produced(name="model.onnx", artifact=manifest.onnx, model=model))
        else:
            await attempt.record(Logged(line="a replay publishes no model"))
        result = TrainingResult(
            model=model,
            task=manifest.task,
            metrics=manifest.metrics,
            baseline=manifest.baseline,
            steps=finished.steps,
            weights_sha256=manifest.weights_sha256,
            onnx_sha256=manifest.onnx.sha256,
        )
        return Success(msgspec.Raw(encode_json(result)), digest_of(manifest), finished.facts)


def _lacks_checkpoint(end: End) -> bool:
    """Whether the child found no file for the checkpoint that it should start from."""
    return isinstance(end, Refused) and end.error.code == "checkpoint_not_found"


def digest_of(manifest: ModelManifest) -> str:
    """sha256 over what a replay with the same seed must reproduce: weights and metrics."""
    repeatable = encode_json([manifest.weights_sha256, sorted(manifest.metrics.items())])
    return hashlib.sha256(repeatable).hexdigest()


def default_name(spec: TrainingSpec) -> str:
    return default_model_name(spec.model_type, spec.data_path)
