"""The README's quick start in containers, word for word, and what happens to it when its parts are killed."""

import re
import secrets
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest
from shared_schemas.ids import JobKind, default_queue
from shared_schemas.stream.connection import RedisSettings, connect

from tests.chaos.checker import check
from tests.chaos.dump import is_at_rest, take
from tests.containers.stack import Stack
from tests.support.gateways import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

QUEUES = [default_queue(kind) for kind in JobKind]
# Long enough to be found at work: it ends when it is told to, or by itself, tens of seconds later.
EPOCHS = 2_000
TRAINING: dict[str, object] = {
    "model_type": "mlp",
    "data_path": "/data/wine.csv",
    "label_column": "cultivar",
    "output_model": "wine",
}
WINE = [14.2, 1.7, 2.4, 15.6, 127, 2.8, 3.1, 0.3, 2.3, 5.6, 1.0, 3.9, 1065]


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


async def test_jobs_spread_over_all_workers_of_a_part(stack: Stack, http: httpx.AsyncClient) -> None:
    await trained(http)
    stack.up(training_worker=2, inference_worker=3)
    await until_workers(http, 5)

    trainings = await all_done(http, "training", [TRAINING, TRAINING])
    # Whoever is free takes as many as it can: in which list the last of them comes to its turn is nobody's to say.
    inferences: set[object] = set()
    for _ in range(20):
        inferences |= await all_done(http, "inference", [{"model_id": "wine", "input_data": WINE}] * 100)
        if len(inferences) == 3:
            break

    assert len(trainings) == 2
    assert len(inferences) == 3


async def test_a_killed_container_loses_no_job(stack: Stack, http: httpx.AsyncClient, tmp_path: Path) -> None:
    long = {**TRAINING, "hyperparameters": {"epochs": EPOCHS}}
    job_id = (await http.post("/jobs/training", json=long)).raise_for_status().json()["job_id"]
    await until_event(http, job_id, "metric")
    [worker] = stack.containers("training-worker")

    stack.run("kill", "--signal", "KILL", worker)
    stack.run("start", worker)
    done = await ended(http, job_id)

    assert done["status"] == "succeeded"
    assert await ends(http, job_id) == ["worker_lost", "succeeded"]
    await nothing_is_lost(stack, tmp_path)


async def test_redis_is_restarted_under_load(stack: Stack, http: httpx.AsyncClient, tmp_path: Path) -> None:
    await trained(http)
    accepted: list[str] = []

    async def submit() -> None:
        for number in range(400):
            with anyio.move_on_after(20):
                reply = await insist(http, {"model_id": "wine", "input_data": WINE, "tags": [f"n-{number}"]})
                accepted.append(reply)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(submit)
        await until(lambda: len(accepted) > 200)
        [redis] = stack.containers("redis")
        stack.run("restart", redis)
    done = [await ended(http, job_id) for job_id in accepted]

    assert {job["status"] for job in done} == {"succeeded"}
    await nothing_is_lost(stack, tmp_path)


async def test_a_worker_off_the_network_for_longer_than_its_lease_ends_nothing_twice(
    stack: Stack, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    long = {**TRAINING, "hyperparameters": {"epochs": EPOCHS}}
    stack.up(training_worker=2)
    await until_workers(http, 3)
    job_id = (await http.post("/jobs/training", json=long)).raise_for_status().json()["job_id"]
    await until_event(http, job_id, "metric")
    [first] = await attempts(http, job_id)
    # A container's host name is the start of its id.
    container, network = str(first["worker"]).partition("-")[0], f"{stack.name}_default"

    stack.run("network", "disconnect", network, container)
    await until_event(http, job_id, "state", reason="worker_lost")
    stack.run("network", "connect", network, container)
    done = await ended(http, job_id)

    assert done["status"] == "succeeded"
    assert await ends(http, job_id) == ["worker_lost", "succeeded"]
    await until_workers(http, 3)
    await nothing_is_lost(stack, tmp_path)


async def test_scaling_down_drains(stack: Stack, http: httpx.AsyncClient, tmp_path: Path) -> None:
    stack.up(training_worker=2)
    await until_workers(http, 3)
    long = {**TRAINING, "hyperparameters": {"epochs": EPOCHS}}
    jobs = (await http.post("/jobs/training", json=[long, long])).raise_for_status().json()["jobs"]
    for job in jobs:
        await until_event(http, job["job_id"], "metric")

    stack.up(training_worker=1)
    done = [await ended(http, job["job_id"]) for job in jobs]

    assert {job["status"] for job in done} == {"succeeded"}
    # The one that was let go gave its attempt back, and it went on elsewhere.
    assert Counter([end for job in jobs for end in await ends(http, job["job_id"])]) == {"released": 1, "succeeded": 2}
    await nothing_is_lost(stack, tmp_path)


async def trained(http: httpx.AsyncClient) -> None:
    if (await http.get("/models/wine")).status_code != 200:
        job_id = (await http.post("/jobs/training", json=TRAINING)).raise_for_status().json()["job_id"]
        assert (await ended(http, job_id))["status"] == "succeeded"


async def all_done(http: httpx.AsyncClient, kind: str, specs: list[dict[str, object]]) -> set[object]:
    """-> the workers that did them"""
    accepted = (await http.post(f"/jobs/{kind}", json=specs)).raise_for_status().json()["jobs"]
    jobs = [await ended(http, job["job_id"]) for job in accepted]
    assert {job["status"] for job in jobs} == {"succeeded"}
    return {attempt["worker"] for job in jobs for attempt in await attempts(http, job["job_id"])}


async def attempts(http: httpx.AsyncClient, job_id: object) -> list[dict[str, object]]:
    return list((await http.get(f"/jobs/{job_id}/attempts")).raise_for_status().json()["attempts"])


async def ends(http: httpx.AsyncClient, job_id: str) -> list[object]:
    return [attempt["ended"] for attempt in await attempts(http, job_id)]


async def insist(http: httpx.AsyncClient, body: dict[str, object]) -> str:
    """Until it is accepted, as one job however often it is sent. -> its id"""
    key = secrets.token_hex(8)
    while True:
        try:
            reply = await http.post("/jobs/inference", json=body, headers={"Idempotency-Key": key})
            if reply.status_code == 202:
                return str(reply.json()["job_id"])
            assert reply.status_code == 503, reply.text
        except httpx.TransportError:
            pass
        await anyio.sleep(0.2)


async def ended(http: httpx.AsyncClient, job_id: str) -> dict[str, object]:
    await until_event(http, job_id, "done")
    return dict((await http.get(f"/jobs/{job_id}")).raise_for_status().json())


async def until_event(http: httpx.AsyncClient, job_id: str, name: str, *, reason: str = "") -> None:
    """It resumes, as any reader of events does."""
    last, event = 0, ""
    with anyio.fail_after(300):
        while True:
            try:
                async with http.stream("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": str(last)}) as reply:
                    # It has ended, and what was waited for never came.
                    assert reply.status_code == 200
                    async for line in reply.aiter_lines():
                        field, _, value = line.partition(": ")
                        if field == "id":
                            last = int(value)
                        elif field == "event":
                            event = value
                        elif field == "data" and event == name and reason in value:
                            return
            except httpx.TransportError:
                pass
            await anyio.sleep(0.2)


async def until_workers(http: httpx.AsyncClient, n: int) -> None:
    with anyio.fail_after(120):
        while len((await http.get("/workers")).json()["workers"]) != n:  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.2)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(120):
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.05)


async def nothing_is_lost(stack: Stack, folder: Path) -> None:
    """By the checker of the fault suite, of all that this stack has ever run."""
    client = connect(RedisSettings(redis_url=stack.administrator))
    try:
        with anyio.fail_after(120):
            while not all([await is_at_rest(client, queue) for queue in QUEUES]):  # noqa: ASYNC110 - as above
                await anyio.sleep(0.2)
        stack.run("cp", f"{stack.containers('inference-worker')[0]}:/artifacts", str(folder / "artifacts"))
        violations = check([], await take(client, QUEUES, since_ms=1, artifacts=folder / "artifacts"))
    finally:
        await client.aclose()
    assert [str(violation) for violation in violations] == []
