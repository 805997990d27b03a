"""Runs a publishing job: has the file checked, and stages the model. Knows no ONNX."""

import hashlib
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.errors import SpecRejected
from shared_schemas.events import Logged, Produced, Progressed
from shared_schemas.ids import JobId
from shared_schemas.kinds import JobKind
from shared_schemas.models import ModelManifest, ModelRef, PublishingResult
from shared_schemas.outcome import Success
from shared_schemas.specs import PublishingSpec
from worker_runtime import Attempt

from inference_worker.publishing.messages import Assignment
from inference_worker.publishing.settings import PublishingSettings
from inference_worker.publishing.supervision import check

Publish = Callable[[str, JobId, str, ModelManifest], Awaitable[ModelRef]]


class PublishingHandler:
    """publish: (name, job id, fence, manifest) -> the reference of the new model version, which is
    visible once the job has succeeded."""

    kind = JobKind.PUBLISHING

    def __init__(self, settings: PublishingSettings, publish: Publish) -> None:
        self._settings, self._publish = settings, publish

    def describe(self) -> dict[str, str]:
        return {"onnxruntime": _onnxruntime_version()}

    async def run(self, attempt: Attempt) -> Success:
        """AttemptFailed as supervision.check."""
        spec, settings = attempt.spec, self._settings
        if not isinstance(spec, PublishingSpec):
            raise SpecRejected("not a publishing job")
        found = await check(
            attempt,
            Assignment(
                onnx=spec.onnx,
                description=spec.manifest,
                artifacts_root=settings.artifacts_root,
                allowed_domains=settings.allowed_domains,
                memory_bytes=settings.probe_memory_bytes,
                timeout_s=settings.probe_timeout_s,
            ),
        )
        manifest = found.manifest
        if not found.ran:
            line = "the model takes no tensors of ones, so it was loaded and not run"
            await attempt.record(Logged(line=line, level="warning"))
        if manifest.device == "cuda":
            await attempt.record(Logged(line="the model asks for cuda; it was checked on the CPU"))
        model = None
        # A replay is only compared with the job that it repeats, and must not become the newest version.
        if attempt.replay_of is None:
            model = str(await self._publish(spec.name, attempt.job_id, attempt.fence, manifest))
            await attempt.record(Produced(name="model.onnx", artifact=manifest.onnx, model=model))
        else:
            await attempt.record(Logged(line="a replay publishes no model"))
        await attempt.record(Progressed(fraction=1.0, message="checked"))
        result = PublishingResult(
            model=model,
            task=manifest.task,
            onnx=manifest.onnx,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            opset=manifest.opset,
            ran=found.ran,
        )
        digest = hashlib.sha256(encode_json(manifest)).hexdigest()
        return Success(msgspec.Raw(encode_json(result)), digest, found.facts)


def _onnxruntime_version() -> str:
    """Without loading it."""
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
