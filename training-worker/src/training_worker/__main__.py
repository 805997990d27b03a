"""Starts a training worker: reads the environment once, builds the parts and runs until drained."""

import asyncio
import os

import msgspec
import structlog
from shared_schemas.errors import JobExpired, JobNotFound
from shared_schemas.ids import JobId
from shared_schemas.job import Checkpoint
from shared_schemas.models import ModelManifest, ModelRef
from shared_schemas.service.process import settings_checked
from shared_schemas.service.settings import from_environ
from shared_schemas.stream.connection import connect
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.registry import ModelRegistry
from worker_runtime import Worker, configure_logs
from worker_runtime.process import run_process

from training_worker.collecting import collect_for_ever, sweep
from training_worker.device import device_of, why_not_on_gpu
from training_worker.handler import TrainingHandler
from training_worker.registering import capabilities
from training_worker.settings import TrainingSettings


async def serve(settings: TrainingSettings) -> None:
    gpu_unused = why_not_on_gpu(settings.device)
    if gpu_unused is not None:
        structlog.get_logger().warning("gpu_unused", reason=gpu_unused)
    # A device that is not there ends the process before it takes a job.
    settings = msgspec.structs.replace(settings, device=device_of(settings.device))
    sweep(settings)
    client = connect(settings)
    nodes = Nodes(client)
    registry, jobs = ModelRegistry(nodes), Jobs(nodes)

    async def publish(name: str, job_id: JobId, fence: str, manifest: ModelManifest) -> ModelRef:
        return await registry.stage(name=name, job_id=job_id, fence=fence, manifest=manifest)

    async def find_checkpoint(job_id: JobId) -> Checkpoint | None:
        try:
            return (await jobs.find(job_id)).checkpoint
        except (JobNotFound, JobExpired):
            return None

    handler = TrainingHandler(settings, publish, find_checkpoint, gpu_unused=gpu_unused)
    worker = Worker(settings, handler, capabilities=await capabilities())
    collecting = asyncio.create_task(collect_for_ever(settings, client, worker.queues))
    try:
        await worker.run()
    finally:
        collecting.cancel()
        await asyncio.wait([collecting])
        await client.aclose()


def main() -> None:
    with settings_checked("training-worker"):
        settings = from_environ(TrainingSettings, prefix="HEADRACE_", environ=os.environ)
        configure_logs(settings.log_format)
        run_process(serve, settings)
    structlog.get_logger().info("process_ended")


if __name__ == "__main__":
    main()
