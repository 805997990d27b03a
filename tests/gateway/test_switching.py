"""How long an alias waits for workers, and which of several requests moves it. The workers of these tests are
registrations that load nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx
import pytest
from shared_schemas.ids import default_queue
from shared_schemas.job import HeldModel
from shared_schemas.kinds import JobKind
from shared_schemas.stream.connection import connect_for_thread
from shared_schemas.stream.leases import Leases
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.workers import worker_facts

from tests.support.gateways import MODEL, Driver, running_gateway

PATH = f"/models/{MODEL}/aliases/prod"


@contextmanager
def registered(redis_url: str, *models: HeldModel, state: str = "running") -> Iterator[None]:
    client = connect_for_thread(RedisSettings(redis_url=redis_url))
    facts = worker_facts(
        host="h", pid=1, slots=2, started_at=datetime.now(UTC), state=state, jobs=[], facts={}, models=models,
    )  # fmt: skip
    leases = Leases(client, default_queue(JobKind.INFERENCE), worker="idle", lease_s=30.0)
    leases.renew({}, facts)
    try:
        yield
    finally:
        leases.renew({}, {**facts, "models": "[]"})
        client.close()


def holds(version: int) -> HeldModel:
    return HeldModel(model=f"{MODEL}@{version}", state="ready", n_bytes=7)


async def two_versions(drive: Driver) -> None:
    for _ in range(2):
        await drive.publish()


async def aliased(http: httpx.AsyncClient) -> int:
    return int((await http.get(f"/models/{MODEL}/versions/prod")).json()["version"])


async def test_a_worker_that_never_loads_the_version_holds_up_the_alias_for_a_limited_time(
    drive: Driver, redis_url: str, tmp_path: Path
) -> None:
    await two_versions(drive)
    with running_gateway(redis_url, tmp_path, switch_timeout_s=0.3) as gateway:
        async with gateway.client() as http:
            with registered(redis_url, holds(1)):
                moved = await http.put(PATH, json={"version": 2})
            assert (moved.status_code, await aliased(http)) == (200, 2)
        waited = [line for line in gateway.log() if line["event"] == "switch_timed_out"]

    assert [(line["model"], line["alias"], line["workers"]) for line in waited] == [(f"{MODEL}@2", "prod", ["idle"])]


@pytest.mark.parametrize(
    ("models", "state"),
    [
        ((), "running"),
        ((HeldModel(model="other@1", state="ready"),), "running"),
        ((holds(1),), "draining"),
        ((holds(1), holds(2)), "running"),
        ((HeldModel(model=f"{MODEL}@1", state="failed", code="model_corrupt"),), "running"),
    ],
)
async def test_an_alias_waits_only_for_workers_that_will_serve_the_model_and_have_not_loaded_it(
    http: httpx.AsyncClient, drive: Driver, redis_url: str, models: tuple[HeldModel, ...], state: str
) -> None:
    await two_versions(drive)
    # Much less than HEADRACE_SWITCH_TIMEOUT_S.
    with registered(redis_url, *models, state=state), anyio.fail_after(10):
        assert (await http.put(PATH, json={"version": 2})).status_code == 200
    assert await aliased(http) == 2


async def test_the_request_that_came_last_moves_the_alias(
    http: httpx.AsyncClient, drive: Driver, redis_url: str
) -> None:
    await two_versions(drive)
    answers, answered = list[httpx.Response](), anyio.Event()

    async def move() -> None:
        answers.append(await http.put(PATH, json={"version": 2}))
        answered.set()

    with registered(redis_url, holds(1)):
        async with anyio.create_task_group() as moving:
            moving.start_soon(move)
            # Nothing announces that a request has begun to wait.
            with anyio.fail_after(20):
                while True:
                    if [each.model for each in await drive.registry.wanted()] == [f"{MODEL}@2"]:
                        break
                    await anyio.sleep(0.01)
            # Back, while the other one still waits for the worker.
            assert (await http.put(PATH, json={"version": 1})).status_code == 200
            with registered(redis_url, holds(1), holds(2)), anyio.fail_after(20):
                await answered.wait()

    assert (answers[0].status_code, answers[0].json()["code"]) == (409, "switch_superseded")
    assert await aliased(http) == 1


async def test_what_a_worker_holds_is_shown(http: httpx.AsyncClient, redis_url: str) -> None:
    with registered(redis_url, holds(1)):
        [worker] = (await http.get("/workers")).json()["workers"]

    assert worker["models"] == [{"model": f"{MODEL}@1", "state": "ready", "n_bytes": 7}]


async def test_a_version_that_is_not_published_is_asked_of_no_worker(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()

    assert (await http.put(PATH, json={"version": 2})).status_code == 404
    assert (await http.put(PATH, json={"version": 1, "warm": 1})).status_code == 422
    assert await drive.registry.wanted() == []
