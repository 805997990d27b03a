"""Starts an inference worker: reads the environment once and builds the parts."""

import os
import sys
from pathlib import Path

import anyio
import msgspec
import structlog
from shared_schemas.errors import ErrorInfo
from shared_schemas.service.logs import configure_logs
from shared_schemas.service.process import settings_checked
from shared_schemas.service.settings import from_environ
from shared_schemas.store.files import ArtifactStore
from shared_schemas.stream.connection import connect
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.result_cache import ResultCache
from worker_runtime.process import run_process
from worker_runtime.worker import Worker

from inference_worker.engines.session import device_of, why_not_on_gpu
from inference_worker.handler import InferenceHandler
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from inference_worker.switching import keep_pinned, prepare_switches

_CLOSING_S = 2.0


async def serve(settings: Settings) -> ErrorInfo | None:
    """Return once drained. -> the reason, if this process can run nothing any more and another one is needed."""
    gpu_unused = why_not_on_gpu(settings.device)
    if gpu_unused is not None:
        structlog.get_logger().warning("gpu_unused", reason=gpu_unused)
    # A device that is not there ends the process before it takes a job.
    settings = msgspec.structs.replace(settings, device=device_of(settings.device))
    redis = connect(settings)
    store = ArtifactStore(Path(settings.artifacts_root))
    try:
        nodes = Nodes(redis)
        registry = ModelRegistry(nodes)
        models = LoadedModels(registry.resolve, store, settings)
        handler = InferenceHandler(
            models,
            items_in_flight=settings.items_in_flight,
            device=settings.device,
            gpu_unused=gpu_unused,
            results=ResultCache(nodes, most=settings.cache_entries, age_s=settings.cache_age_s),
        )
        worker = Worker(settings, handler, models=lambda: models.held)
        models.call_on_change(worker.register_soon)
        async with models, anyio.create_task_group() as duties:
            duties.start_soon(prepare_switches, models, registry.wanted)
            duties.start_soon(keep_pinned, models, settings.pinned_models, registry.pin)
            await worker.run()
            duties.cancel_scope.cancel()
        return worker.unfit
    finally:
        with anyio.move_on_after(_CLOSING_S, shield=True):
            await redis.aclose()


def main() -> None:
    try:
        with settings_checked("inference-worker"):
            settings = from_environ(Settings, prefix="HEADRACE_", environ=os.environ)
            configure_logs(settings.log_format)
            unfit = run_process(serve, settings)
    except OSError as error:
        sys.exit(f"inference-worker: {error}")
    if unfit is not None:
        sys.exit(f"inference-worker: {unfit.message}")


if __name__ == "__main__":
    main()
