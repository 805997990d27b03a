"""How far `eta_s` of GET /jobs/{id}/status is from what happens: the relative error of the time until
a queued job starts, asked once 100 jobs have ended since the last one was stored.

    uv run --group bench python -m benchmarks.estimates [--jobs N] [--seed N]

Workers and the gateway are processes of their own. Before each burst, some jobs run one at a time:
a pace must not come from a time in which nothing waits. `by count` is the error of a simpler rule,
the jobs in front of it divided by those 100 per second.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import anyio
import httpx
from rich.console import Console
from rich.table import Table
from shared_schemas.ids import JobId, job_ids_from
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec, Priority
from shared_schemas.store.files import ArtifactStore
from shared_schemas.stream.connection import connect
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.submission import Submission

from benchmarks.server import Bench, bench_redis
from benchmarks.serving.models import LARGE, N_FEATURES, ROW
from tests.support import workers
from tests.support.gateways import running_gateway
from tests.support.inference_process import inference_process, publish
from tests.support.onnx_models import a_model
from tests.support.worker_process import worker_process

ENDED, ALONE, ASKED, MEAN_S, DEADLINE_S = 100, 10, 100, 0.02, 300.0
Specs = Callable[[random.Random, int, str], list[InferenceSpec]]


def _resting(seconds: Callable[[random.Random], float], priorities: Sequence[Priority] = (Priority.NORMAL,)) -> Specs:
    def specs(rng: random.Random, n: int, _: str) -> list[InferenceSpec]:
        return [InferenceSpec(model_id="m", input_data=seconds(rng), priority=rng.choice(priorities)) for _ in range(n)]

    return specs


def _rows(_: random.Random, n: int, model: str) -> list[InferenceSpec]:
    features = {f"f{i}": float(value) for i, value in enumerate(ROW)}
    return [InferenceSpec(model_id=model, input_data=features) for _ in range(n)]


def _two_workers(bench: Bench, slots: int) -> AbstractContextManager[Any]:
    stack = ExitStack()
    for _ in range(2):
        stack.enter_context(worker_process(bench.url, "rest", slots=slots))
    return stack


# What the jobs are, and what runs them. A model gets ten times as many jobs, because it runs many at once.
CASES: dict[str, tuple[Specs, Callable[[Bench], AbstractContextManager[Any]], int]] = {
    "even jobs, one slot": (_resting(lambda _: MEAN_S), lambda bench: worker_process(bench.url, "rest", slots=1), 1),
    "even jobs, 8 slots": (_resting(lambda _: MEAN_S), lambda bench: worker_process(bench.url, "rest", slots=8), 2),
    "uneven jobs, 2 workers of 4 slots": (
        _resting(lambda rng: rng.expovariate(1 / MEAN_S)),
        lambda bench: _two_workers(bench, 4),
        2,
    ),
    "three priorities, 4 slots": (
        _resting(lambda rng: rng.uniform(0.2, 1.8) * MEAN_S, tuple(Priority)),
        lambda bench: worker_process(bench.url, "rest", slots=4),
        2,
    ),
    "an ONNX model of 8.5 M parameters": (
        _rows,
        lambda bench: inference_process(bench.url, bench.folder / "artifacts", log_format="json"),
        10,
    ),
}


async def measure(name: str, n: int, rng: random.Random) -> tuple[list[float], list[float]]:
    """-> the relative error of each estimate, and that of the simpler rule"""
    specs_of, running, factor = CASES[name]
    with bench_redis() as bench, running_gateway(bench.url, bench.folder) as gateway:
        client = connect(RedisSettings(redis_url=bench.url))
        side = workers.Bench(client)
        model = await publish(side, _model(bench)) if specs_of is _rows else "m"
        with running(bench):
            await side.until_workers(2 if "2 workers" in name else 1)
            for spec in specs_of(rng, ALONE, model):
                await side.done(await side.submit(spec), deadline_s=DEADLINE_S)
            specs = specs_of(rng, n * factor, model)
            first_id = workers.a_submission(specs[0]).job_id
            # In the order in which they are stored, as the ids of a list are.
            ids = job_ids_from(first_id, len(specs))
            submissions = [Submission(job_id=job_id, spec=spec) for job_id, spec in zip(ids, specs, strict=True)]
            for first in range(0, len(submissions), 200):
                await side.submitter.submit_many(submissions[first : first + 200])
            before, began = await _ended(side), time.time()
            seen = await _until_ended(side, before + ENDED)
            rate = (seen - before) / (time.time() - began)
            left = ids[seen - ALONE :]
            asked = await _ask(gateway.url, rng.sample(left, min(ASKED, len(left))))
            await _until_ended(side, ALONE + len(submissions))
            errors, simple = [], []
            for job_id, (at, eta_s, position) in asked.items():
                started = (await side.jobs.find(job_id)).started_at
                assert started is not None
                took_s = started.timestamp() - at
                if took_s > 0:
                    errors.append(abs(eta_s - took_s) / took_s)
                    simple.append(abs(position / rate - took_s) / took_s)
        await client.aclose()
    return errors, simple


def _model(bench: Bench) -> Any:
    store = ArtifactStore(bench.folder / "artifacts")
    features = [f"f{i}" for i in range(N_FEATURES)]
    return a_model(
        store, LARGE.write(bench.folder).read_bytes(), name="table", task="tabular-regression", features=features
    )


async def _ended(side: workers.Bench) -> int:
    [status] = [each for each in await side.queue_queries.statuses() if each.name == workers.INFERENCE]
    return status.jobs[JobState.SUCCEEDED]


async def _until_ended(side: workers.Bench, n: int) -> int:
    """-> how many had ended"""
    with anyio.fail_after(DEADLINE_S):
        while (ended := await _ended(side)) < n:  # noqa: ASYNC110 - a notification for each job would slow them
            await anyio.sleep(0.01)
    return ended


async def _ask(url: str, job_ids: Sequence[JobId]) -> dict[JobId, tuple[float, float, int]]:
    """-> for each job that is queued, when it was asked for, eta_s and queue_position"""
    found: dict[JobId, tuple[float, float, int]] = {}
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        for job_id in job_ids:
            at = time.time()
            status = (await http.get(f"/jobs/{job_id}/status")).json()
            if status["eta_s"] is not None and status["status"] == JobState.QUEUED:
                found[job_id] = (at, status["eta_s"], status["queue_position"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.estimates", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2)))
    given = parser.parse_args()
    table = Table("jobs", "asked", "median error", "90 %", "by count", title=f"seed {given.seed}")
    for name in CASES:
        errors, simple = anyio.run(measure, name, given.jobs, random.Random(given.seed))  # noqa: S311 - no secret
        shown = [statistics.median(errors), statistics.quantiles(errors, n=10)[-1], statistics.median(simple)]
        table.add_row(name, str(len(errors)), *(f"{error:.1%}" for error in shown))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
