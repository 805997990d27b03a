"""The README's quick start in containers, word for word, and what happens to it when its parts are killed."""

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest
from headrace import AsyncClient, NotFound
from shared_schemas.events import Measured, StateChanged
from shared_schemas.ids import JobId, default_queue
from shared_schemas.kinds import JobKind
from shared_schemas.specs import Hyperparameters, InferenceSpec, TrainingSpec
from shared_schemas.stream.connection import connect
from shared_schemas.stream.redis_settings import RedisSettings

from tests.chaos.checker import check
from tests.chaos.dump import is_at_rest, take
from tests.containers.stack import Stack
from tests.support.gateways import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

QUEUES = [default_queue(kind) for kind in JobKind]
WINE = TrainingSpec(model_type="mlp", data_path="/data/wine.csv", label_column="cultivar", output_model="wine")
# Long enough to be found at work.
LONG = msgspec.structs.replace(WINE, hyperparameters=Hyperparameters(epochs=2_000))
GLASS = InferenceSpec(model_id="wine", input_data=[14.2, 1.7, 2.4, 15.6, 127, 2.8, 3.1, 0.3, 2.3, 5.6, 1.0, 3.9, 1065])


def test_the_quick_start_works_word_for_word(stack: Stack) -> None:
    section = (ROOT / "README.md").read_text().partition("### In containers")[2].partition("\n### ")[0]
    commands = re.findall(r"^curl .*$", section, re.MULTILINE)
    assert len(commands) == 5
    job_id = ""
    for command in commands:
        ready = command.replace("localhost:8000", stack.url.removeprefix("http://")).replace("{job_id}", job_id)
        done = subprocess.run(
            ["sh", "-c", f"{ready} --fail-with-body -sS"], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, (ready, done.stdout, done.stderr)
        if found := re.search(r'"job_id":"([^"]+)"', done.stdout):
            job_id = found[1]
        if " -N " in ready:
            assert "event: done" in done.stdout
            assert '"state":"succeeded"' in done.stdout


async def test_jobs_spread_over_all_workers_of_a_part(stack: Stack, client: AsyncClient) -> None:
    stack.up(training_worker=2, inference_worker=3)

    # Whoever is free takes as many as it can: in which list the last of them comes to its turn is nobody's to say.
    trained = await workers_of_lists(client, [WINE] * 2, n=2)
    answered = await workers_of_lists(client, [GLASS] * 100, n=3)

    assert (len(trained), len(answered)) == (2, 3)


async def test_a_killed_container_loses_no_job(stack: Stack, client: AsyncClient, tmp_path: Path) -> None:
    job_id = await at_work(client)
    [worker] = stack.containers("training-worker")

    stack.run("kill", "--signal", "KILL", worker)
    stack.run("start", worker)

    await succeeded(client, [job_id])
    assert await ends(client, job_id) == ["worker_lost", "succeeded"]
    await nothing_is_lost(stack, tmp_path)


async def test_redis_is_restarted_under_load(stack: Stack, client: AsyncClient, tmp_path: Path) -> None:
    await trained(client)
    accepted: list[JobId] = []
    is_under_load = anyio.Event()

    async def submit() -> None:
        for _ in range(400):
            accepted.append((await client.submit_inference(GLASS)).job_id)
            if len(accepted) == 200:
                is_under_load.set()

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(submit)
        await is_under_load.wait()
        [redis] = stack.containers("redis")
        await anyio.to_thread.run_sync(stack.run, "restart", redis)

    assert len(set(accepted)) == 1600
    await succeeded(client, accepted)
    await nothing_is_lost(stack, tmp_path)


async def test_a_worker_off_the_network_for_longer_than_its_lease_ends_nothing_twice(
    stack: Stack, client: AsyncClient, tmp_path: Path
) -> None:
    job_id = await at_work(client)
    [first] = await client.attempts(job_id)
    # A container's host name is the start of its id.
    container, network = str(first.worker).partition("-")[0], f"{stack.name}_default"
    stack.up(training_worker=2)

    stack.run("network", "disconnect", network, container)
    async for event in client.events(job_id):
        if isinstance(event, StateChanged) and event.reason == "worker_lost":
            break
    stack.run("network", "connect", network, container)

    await succeeded(client, [job_id])
    assert await ends(client, job_id) == ["worker_lost", "succeeded"]
    # It works again, beside the other.
    both = [await at_work(client), await at_work(client)]
    await succeeded(client, both)
    assert len({attempt.worker for job_id in both for attempt in await client.attempts(job_id)}) == 2
    await nothing_is_lost(stack, tmp_path)


async def test_scaling_down_drains(stack: Stack, client: AsyncClient, tmp_path: Path) -> None:
    stack.up(training_worker=2)
    jobs = [await at_work(client), await at_work(client)]

    stack.up(training_worker=1)

    await succeeded(client, jobs)
    # The one that was let go gave its attempt back, and it went on elsewhere.
    assert Counter([end for job_id in jobs for end in await ends(client, job_id)]) == {"released": 1, "succeeded": 2}
    await nothing_is_lost(stack, tmp_path)


async def trained(client: AsyncClient) -> None:
    try:
        await client.model("wine")
    except NotFound:
        await succeeded(client, [(await client.submit_training(WINE)).job_id])


async def at_work(client: AsyncClient) -> JobId:
    """-> a training that has said how it goes"""
    job_id = (await client.submit_training(LONG)).job_id
    async for event in client.events(job_id):
        if isinstance(event, Measured):
            break
    return job_id


async def workers_of_lists(
    client: AsyncClient, specs: Sequence[TrainingSpec] | Sequence[InferenceSpec], *, n: int
) -> set[str | None]:
    """Of as many such lists as it takes until n have worked, twenty at most."""
    workers: set[str | None] = set()
    for _ in range(20):
        jobs = [submitted.job_id for submitted in await client.submit_list(specs)]
        await succeeded(client, jobs)
        workers |= {attempt.worker for job_id in jobs for attempt in await client.attempts(job_id)}
        if len(workers) == n:
            break
    return workers


async def succeeded(client: AsyncClient, jobs: Sequence[JobId]) -> None:
    assert {(await client.wait(job_id, timeout_s=300)).state for job_id in jobs} == {"succeeded"}


async def ends(client: AsyncClient, job_id: JobId) -> list[str | None]:
    return [attempt.ended for attempt in await client.attempts(job_id)]


async def nothing_is_lost(stack: Stack, folder: Path) -> None:
    """By the checker of the fault suite, of all that this stack has ever run."""
    client = connect(RedisSettings(redis_url=stack.administrator))
    try:
        assert all([await is_at_rest(client, queue) for queue in QUEUES])
        stack.run("cp", f"{stack.containers('inference-worker')[0]}:/artifacts", str(folder / "artifacts"))
        violations = check([], await take(client, QUEUES, since_ms=1, artifacts=folder / "artifacts"))
    finally:
        await client.aclose()
    assert [str(violation) for violation in violations] == []
