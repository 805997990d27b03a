"""A real inference worker as a process, and models that are published for it without training."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from shared_schemas.ids import default_queue
from shared_schemas.kinds import JobKind
from shared_schemas.models import Model
from shared_schemas.outcome import Success
from shared_schemas.specs import TrainingSpec
from shared_schemas.stream.attempt_writer import AttemptWriter, Batch, Settlement
from shared_schemas.stream.claims import Claims
from shared_schemas.stream.registry import ModelRegistry

from tests.support.armed import ROOT
from tests.support.armed import command as armed_command
from tests.support.workers import Bench

MODULE = "inference_worker"
PUBLISHING = "inference_worker.publishing"
_TRAINING = default_queue(JobKind.TRAINING)


@contextmanager
def inference_process(
    redis_url: str,
    artifacts: Path,
    *,
    armed: tuple[str, str, int] | None = None,
    module: str = MODULE,
    **settings: object,
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, killed at the end of the block. armed: an action, the failpoint where it
    happens, and the number of times that the point must be reached. module: PUBLISHING for a worker
    that publishes."""
    environment = {
        **os.environ,
        "HEADRACE_REDIS_URL": redis_url,
        "HEADRACE_ARTIFACTS_ROOT": str(artifacts),
        "HEADRACE_DEVICE": "cpu",
        "HEADRACE_INTRA_OP_THREADS": "1",
        **{f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items()},
    }
    command = [sys.executable, "-m", module]
    if armed is not None:
        action, point, nth = armed
        command = armed_command(action, point, module, nth=nth)
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


async def publish(jobs: Bench, model: Model) -> str:
    """Stage the model and settle the job that made it, as a training worker does. -> its reference"""
    await jobs.submit(TrainingSpec(model_type="mlp", data_path="x.csv"), queue=_TRAINING)
    claims = Claims(jobs.nodes, jobs.client, _TRAINING, worker="trainer", lease_s=30.0)
    await claims.open()
    [claim] = await claims.claim(1, token="0" * 16)
    ref = await ModelRegistry(jobs.nodes).stage(
        name=model.name, job_id=claim.job_id, fence=claim.fence, manifest=model.manifest
    )
    writer = AttemptWriter(jobs.nodes, _TRAINING)
    assert await writer.settle([Settlement(Batch(claim, 0, ()), Success(msgspec.Raw(b"{}")))]) == [True]
    return str(ref)
