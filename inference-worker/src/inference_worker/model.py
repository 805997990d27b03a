"""A loaded model: its manifest, its session, its engine and its task. It knows no other model."""

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed, HeadraceError
from shared_schemas.models import Model, ModelDevice, ModelManifest, ModelRef
from shared_schemas.store.files import ArtifactCorrupt, ArtifactMissing, ArtifactStore

from inference_worker.engines.batcher import BatchLimits
from inference_worker.engines.batching import BatchingEngine
from inference_worker.engines.decoding.engine import DecodingEngine
from inference_worker.engines.invariance import ALWAYS, UNKNOWN, Invariance, combined, probed, sample_rows
from inference_worker.engines.session import OrtSession, Stop, gpu_of
from inference_worker.onnx_file import check_is_one_file, check_size
from inference_worker.settings import Settings
from inference_worker.tasks import TASKS
from inference_worker.tasks.task import Load, ModelTask
from inference_worker.tasks.text_generation import TextGeneration
from inference_worker.tasks.written_text import WrittenText
from inference_worker.tensors import example_row

_WARM_UP_S = 60.0
# Of a dimension that varies besides the batch, such as that of a text.
_PROBED_LENGTHS = (16, 64)


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A model that can run."""

    ref: ModelRef
    manifest: ModelManifest
    session: OrtSession
    engine: BatchingEngine | DecodingEngine
    task: ModelTask[Any]
    # ONNX Runtime could not use the GPU of the worker, and runs the model on the CPU.
    is_off_its_gpu: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """What the answers of this model depend on, besides the model itself."""
        own = self.engine.facts if isinstance(self.engine, DecodingEngine) else {}
        return self.session.facts | own

    async def warm_up(self) -> None:
        """Run the model once if its task allows it, so that its first job does not wait for allocations. AttemptFailed
        model_unsupported if the run fails, or its outputs do not fit the task."""
        if not self.task.takes_ones or isinstance(self.engine, DecodingEngine):
            return
        image = self.manifest.image
        shape = None if image is None else image.shape
        row = example_row(self.session.inputs, longest=self.manifest.context_length, shape=shape)
        try:
            with anyio.fail_after(_WARM_UP_S):
                # Alone, because nobody else comes to fill a batch.
                outputs = await self.engine.infer(row, alone=True)
        except (HeadraceError, TimeoutError) as error:
            raise AttemptFailed("model_unsupported", "the model failed its first run") from error
        self.task.check_first_outputs(outputs)


def open_model(model: Model, store: ArtifactStore, settings: Settings) -> LoadedModel:
    """Verify the files and load them. Blocks. AttemptFailed: model_unavailable and device_unavailable (both
    retryable), model_corrupt, model_unsupported."""
    manifest = model.manifest
    is_on_cpu = manifest.device == "cpu" or manifest.decoder is not None
    device, limits = "cpu" if is_on_cpu else settings.device, limits_of(manifest, settings.batching)
    has_gpu = gpu_of(device) is not None
    _check_is_on_gpu(manifest.device, has_gpu)
    check_size(manifest.onnx.n_bytes)
    path = verified(store, manifest.onnx)
    check_is_one_file(path)
    session = OrtSession(path, device=device, intra_op_threads=manifest.threads or settings.intra_op_threads)
    # ONNX Runtime falls back to the CPU without an error.
    _check_is_on_gpu(manifest.device, session.is_on_gpu)
    if manifest.decoder is not None:
        decoder, writing = open_decoder(session, manifest, settings, partial(verified, store))
        return LoadedModel(ref=model.ref, manifest=manifest, session=session, engine=decoder, task=writing)
    engine = BatchingEngine(
        session,
        limits,
        run_timeout_s=settings.run_timeout_s,
        invariance=_invariance(session, manifest, limits, settings.probe_s),
    )
    task = TASKS[manifest.task](manifest, session, engine, partial(verified, store))
    return LoadedModel(
        ref=model.ref,
        manifest=manifest,
        session=session,
        engine=engine,
        task=task,
        is_off_its_gpu=has_gpu and not session.is_on_gpu,
    )


def open_decoder(
    session: OrtSession, manifest: ModelManifest, settings: Settings, load: Load
) -> tuple[DecodingEngine, WrittenText]:
    """Blocks, for some runs of the model. AttemptFailed model_unsupported if one of them fails, or as the task."""
    if TASKS[manifest.task] is not TextGeneration or manifest.context_length is None:
        raise AttemptFailed("model_unsupported", "a decoder needs a task that writes texts, and a context length")
    try:
        engine = DecodingEngine(
            session,
            settings.decoding,
            context_length=manifest.context_length,
            run_timeout_s=settings.run_timeout_s,
            is_tried=settings.probe_s > 0.0,
        )
    except AttemptFailed as error:
        if error.info().code != "model_failed":
            raise
        raise AttemptFailed("model_unsupported", "the model failed its first run") from error
    return engine, WrittenText(manifest, engine, load)


def limits_of(manifest: ModelManifest, limits: BatchLimits) -> BatchLimits:
    """limits: of the worker -> those of the model."""
    batching = manifest.batching
    if batching is None:
        return limits
    if not batching.batchable:
        return msgspec.structs.replace(limits, max_batch=1)
    return msgspec.structs.replace(
        limits,
        max_batch=limits.max_batch if batching.max_batch is None else min(limits.max_batch, batching.max_batch),
        max_wait_ms=limits.max_wait_ms if batching.max_wait_ms is None else batching.max_wait_ms,
    )


def _check_is_on_gpu(wanted: ModelDevice, is_on_gpu: bool) -> None:
    """wanted: by the manifest. AttemptFailed."""
    if wanted == "cuda" and not is_on_gpu:
        raise AttemptFailed(
            "device_unavailable", "the model's manifest asks for cuda, and this worker runs on the CPU", retryable=True
        )


def _invariance(session: OrtSession, manifest: ModelManifest, limits: BatchLimits, within_s: float) -> Invariance:
    """Blocks, for ten times within_s of real time at most."""
    # Without a batch axis nobody knows which dimension counts rows, so each input runs alone.
    if limits.max_batch == 1 or (not TASKS[manifest.task].takes_ones and manifest.batch_axis is None):
        return ALWAYS
    longest = manifest.context_length or max(_PROBED_LENGTHS)
    varies = any(isinstance(size, str) for spec in session.inputs for size in (spec.shape or ())[1:])
    lengths = sorted({min(length, longest) for length in _PROBED_LENGTHS}) if varies else [1]
    found, stop = list[Invariance](), Stop()
    alarm = threading.Timer(10 * within_s, stop.now)
    alarm.start()
    try:
        for length in lengths:
            one = sample_rows(session.inputs, 1, varying=length)
            if not one or not within_s:
                return UNKNOWN
            rows = sample_rows(session.inputs, limits.room(max(array.size for array in one.values())), varying=length)
            if rows is None:
                return UNKNOWN
            # The time of this thread, because a busy machine would change the result.
            share_s = within_s / len(lengths)
            found.append(probed(partial(session.run, stop=stop), rows, within_s=share_s, clock=time.thread_time))
    finally:
        alarm.cancel()
    return combined(found)


def verified(store: ArtifactStore, ref: ArtifactRef) -> Path:
    """The path of a file whose contents are those that it is named by. Blocks. AttemptFailed."""
    try:
        return store.verify(ref)
    except (ArtifactMissing, OSError) as error:
        # On a shared file system the file may not have arrived yet.
        raise AttemptFailed("model_unavailable", "the model's file is not in the store", retryable=True) from error
    except ArtifactCorrupt as error:
        raise AttemptFailed("model_corrupt", "the model's file does not have the digest it is named by") from error
