"""Starts a publishing worker: reads the environment once, builds the parts and runs until drained."""

import os
import sys
from pathlib import Path

import anyio
from shared_schemas.ids import JobId
from shared_schemas.models import ModelManifest, ModelRef
from shared_schemas.service.process import settings_checked
from shared_schemas.service.settings import from_environ
from shared_schemas.store.files import ArtifactStore, StoreUnwritable
from shared_schemas.stream.connection import connect
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.registry import ModelRegistry
from worker_runtime import Worker, configure_logs
from worker_runtime.process import run_process

from inference_worker.publishing.handler import PublishingHandler
from inference_worker.publishing.settings import PublishingSettings

_CLOSING_S = 2.0


async def serve(settings: PublishingSettings) -> None:
    ArtifactStore(Path(settings.artifacts_root))
    client = connect(settings)
    registry = ModelRegistry(Nodes(client))

    async def publish(name: str, job_id: JobId, fence: str, manifest: ModelManifest) -> ModelRef:
        return await registry.stage(name=name, job_id=job_id, fence=fence, manifest=manifest)

    try:
        await Worker(settings, PublishingHandler(settings, publish)).run()
    finally:
        with anyio.move_on_after(_CLOSING_S, shield=True):
            await client.aclose()


def main() -> None:
    try:
        with settings_checked("publishing-worker"):
            settings = from_environ(PublishingSettings, prefix="HEADRACE_", environ=os.environ)
            configure_logs(settings.log_format)
            run_process(serve, settings)
    except (OSError, StoreUnwritable) as error:
        sys.exit(f"publishing-worker: {error}")


if __name__ == "__main__":
    main()
