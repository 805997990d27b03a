"""A training worker of the build of this interpreter, and one training job whose events it records.

    python training_peer.py URL STEPS FOLDER

-> {"events": recorded, "worker_cpu_s": of the worker's own process from the submission to the job's
end}
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from shared_schemas.ids import default_queue, new_job_id
from shared_schemas.job import JobKind
from shared_schemas.specs import Hyperparameters, TrainingSpec
from shared_schemas.stream.connection import connect
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.submission import Submission, Submitter
from shared_schemas.stream.timeline import Timeline
from shared_schemas.stream.workers import Workers
from worker_runtime import RuntimeSettings

ROWS = 64
LOOK_S = 0.2


async def main(url: str, steps: int, folder: Path) -> None:
    rows = (f"{i % 7},{i % 5},{'a' if i % 2 else 'b'}\n" for i in range(ROWS))
    (folder / "table.csv").write_text("x,y,label\n" + "".join(rows))
    client = connect(RuntimeSettings(redis_url=url))
    submitter, jobs, workers = Submitter(Nodes(client)), Jobs(Nodes(client)), Workers(Nodes(client))
    queue = default_queue(JobKind.TRAINING)
    worker = psutil.Popen(
        [sys.executable, "-m", "training_worker"], env=_environment(url, folder), stderr=subprocess.DEVNULL
    )
    try:
        # This program polls, so that it does the same with two builds.
        while not await workers.count(queue):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        job_id = new_job_id(queue, now_ms=round(time.time() * 1000), entropy=os.urandom(10))
        cpu_s = _cpu_s(worker)
        await submitter.submit(Submission(job_id=job_id, spec=_spec(steps)))
        while not (job := await jobs.find(job_id)).state.is_terminal:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        _, events = await Timeline(Nodes(client)).bounds(job_id)
        assert job.error is None, job.error
        print(json.dumps({"events": events, "worker_cpu_s": _cpu_s(worker) - cpu_s}))
    finally:
        worker.terminate()
        worker.wait()
        await client.aclose()


def _spec(steps: int) -> TrainingSpec:
    small = Hyperparameters(
        epochs=100_000, max_steps=steps, batch_size=ROWS, width=8, layers=1, checkpoint_every_s=3600.0
    )
    return TrainingSpec(model_type="mlp", data_path="table.csv", label_column="label", hyperparameters=small, seed=1)


def _environment(url: str, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HEADRACE_REDIS_URL": url,
        "HEADRACE_DATA_ROOT": str(folder),
        "HEADRACE_ARTIFACTS_ROOT": str(folder / "artifacts"),
        "HEADRACE_DEVICE": "cpu",
        "HEADRACE_THREADS": "1",
        # Every build reports each step.
        "HEADRACE_METRIC_EVENTS": "1000000",
    }


def _cpu_s(process: psutil.Process) -> float:
    """The CPU time of the process itself, without the children that it has waited for."""
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
