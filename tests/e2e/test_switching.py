"""An alias moves under load, and no request fails, waits for a model to be loaded, or gets the answer of
another version than the one that its job names. With a real gateway, Redis and workers.

Version n of the model of these tests answers n.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
import redis
from shared_schemas.models import Model
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import Gateway, running_gateway
from tests.support.inference_process import inference_process, publish
from tests.support.onnx_models import a_model, regression
from tests.support.redis_server import RedisServer
from tests.support.workers import bench

N_WORKERS, N_ASKING, N_MOVES = 2, 8, 6
WAIT = {"Prefer": "wait=60"}


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    redis.Redis.from_url(shared_redis.url).flushall()
    folder = tmp_path_factory.mktemp("switching")
    with running_gateway(shared_redis.url, folder, switch_timeout_s=60) as gateway:
        yield gateway


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client(timeout=90) as made:
        yield made


def a_version(store: ArtifactStore, version: int, *, name: str = "model") -> Model:
    answer = np.array([version], dtype=np.float32)
    return a_model(store, regression(answer), task="tabular-regression", name=name, features=["a"])


async def published(redis_url: str, folder: Path, n: int, *, name: str = "model") -> list[Model]:
    """Versions 1 to n."""
    store = ArtifactStore(folder / "artifacts")
    models = [a_version(store, version, name=name) for version in range(1, n + 1)]
    async with bench(redis_url) as jobs:
        assert [await publish(jobs, model) for model in models] == [f"{name}@{i + 1}" for i in range(n)]
    return models


async def ask(http: httpx.AsyncClient, model_id: str) -> tuple[str, float]:
    """-> (the version that the job names, the answer)"""
    answer = await http.post("/jobs/inference", json={"model_id": model_id, "input_data": [1.0]}, headers=WAIT)
    job = answer.json()
    assert job["status"] == "succeeded", answer.text
    return job["spec"]["model_id"], job["result"]["prediction"]


async def held(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """For each worker, the states of what it holds by version."""
    workers = (await http.get("/workers")).json()["workers"]
    return [{each["model"]: each["state"] for each in worker["models"]} for worker in workers if worker["models"]]


async def test_an_alias_moves_back_and_forth_under_load_and_every_answer_is_that_of_the_version_it_names(
    gateway: Gateway, http: httpx.AsyncClient, redis_url: str
) -> None:
    models = await published(redis_url, gateway.folder, 3)
    # Room for two versions, so that each move has to load the third one again.
    room = sum(model.manifest.onnx.n_bytes for model in models) - 1
    assert (await http.put("/models/model/aliases/prod", json={"version": 1})).status_code == 200
    found: list[tuple[str, float]] = []
    asked = anyio.Event()

    async def keep_asking(load: anyio.CancelScope) -> None:
        nonlocal asked
        while not load.cancel_called:
            found.append(await ask(http, "model@prod"))
            asked.set()
            asked = anyio.Event()

    async def answered(version: str) -> None:
        while not found or found[-1][0] != version:
            await asked.wait()

    with (
        inference_process(redis_url, gateway.folder / "artifacts", models_bytes=room),
        inference_process(redis_url, gateway.folder / "artifacts", models_bytes=room),
        anyio.fail_after(120),
    ):
        async with anyio.create_task_group() as load:
            asking = anyio.CancelScope()
            for _ in range(N_ASKING):
                load.start_soon(keep_asking, asking)
            await answered("model@1")
            for move in range(N_MOVES):
                last, version = move % 3 + 1, (move + 1) % 3 + 1
                before = [set(each) for each in await held(http)]
                assert not any(f"model@{version}" in each for each in before)
                moved = await http.put("/models/model/aliases/prod", json={"version": version})
                assert (moved.status_code, moved.json()["version"]) == (200, version)
                after = await held(http)
                ready = [each for each in after if each.get(f"model@{version}") == "ready"]
                # Nobody used the new version before: who holds it now was asked to load it.
                assert len(ready) >= len([each for each in before if f"model@{last}" in each]) > 0
                await answered(f"model@{version}")
            asking.cancel()

    assert len(found) > N_MOVES * N_ASKING
    assert {reference for reference, _ in found} == {"model@1", "model@2", "model@3"}
    assert [each for each in found if each[0] != f"model@{each[1]:.0f}"] == []


async def test_an_alias_stays_if_a_worker_cannot_load_the_version_unless_it_need_not_be_warm(
    gateway: Gateway, http: httpx.AsyncClient, redis_url: str
) -> None:
    _, second = await published(redis_url, gateway.folder, 2, name="broken")
    path = "/models/broken/aliases/prod"
    assert (await http.put(path, json={"version": 1})).status_code == 200
    place = ArtifactStore(gateway.folder / "artifacts").path(second.manifest.onnx)
    kept = place.read_bytes()

    with inference_process(redis_url, gateway.folder / "artifacts"):
        assert await ask(http, "broken@prod") == ("broken@1", 1.0)
        place.chmod(0o600)
        place.write_bytes(bytes(len(kept)))
        refused = await http.put(path, json={"version": 2})
        assert (refused.status_code, refused.json()["code"]) == (409, "switch_refused")
        assert "model_corrupt" in refused.json()["detail"]
        assert await ask(http, "broken@prod") == ("broken@1", 1.0)
        assert (await http.put(path, json={"version": 2, "warm": False})).status_code == 200
        assert (await http.put(path, json={"version": 1})).status_code == 200

        place.write_bytes(kept)
        assert (await http.put(path, json={"version": 2})).status_code == 200
        assert await ask(http, "broken@prod") == ("broken@2", 2.0)


async def test_an_alias_stays_if_a_worker_has_no_room_for_both_versions(
    gateway: Gateway, http: httpx.AsyncClient, redis_url: str
) -> None:
    models = await published(redis_url, gateway.folder, 2, name="large")
    room = sum(model.manifest.onnx.n_bytes for model in models) - 1
    path = "/models/large/aliases/prod"
    assert (await http.put(path, json={"version": 1})).status_code == 200

    with inference_process(redis_url, gateway.folder / "artifacts", models_bytes=room):
        assert await ask(http, "large@prod") == ("large@1", 1.0)
        refused = await http.put(path, json={"version": 2})
        assert (refused.status_code, refused.json()["code"]) == (409, "switch_refused")
        assert "model_too_large" in refused.json()["detail"]
        # Once the switch has failed, the rest of the memory is free for others again.
        assert (await http.put(path, json={"version": 2, "warm": False})).status_code == 200
        assert await ask(http, "large@1") == ("large@1", 1.0)


async def test_a_pinned_model_is_loaded_at_the_start_and_stays_when_others_need_room(
    gateway: Gateway, http: httpx.AsyncClient, redis_url: str
) -> None:
    models = await published(redis_url, gateway.folder, 3, name="pinned")
    path = "/models/pinned/aliases/prod"
    assert (await http.put(path, json={"version": 1})).status_code == 200
    room = sum(model.manifest.onnx.n_bytes for model in models) - 1
    settings = {"models_bytes": room, "pinned_models": "pinned@prod, nobody"}

    with inference_process(redis_url, gateway.folder / "artifacts", **settings), anyio.fail_after(60):
        await until_held(http, {"pinned@1": True})
        for version in (2, 3, 2):
            assert await ask(http, f"pinned@{version}") == (f"pinned@{version}", version)
            assert await pins(http) == {"pinned@1": True, f"pinned@{version}": False}
        # It follows the alias, for which both versions are loaded.
        assert (await http.put(path, json={"version": 2})).status_code == 200
        await until_held(http, {"pinned@1": False, "pinned@2": True})
        assert await ask(http, "pinned@3") == ("pinned@3", 3.0)
        assert await pins(http) == {"pinned@2": True, "pinned@3": False}


async def pins(http: httpx.AsyncClient) -> dict[str, bool]:
    """What the only worker holds, and whether that is pinned."""
    workers = (await http.get("/workers")).json()["workers"]
    return {each["model"]: each.get("is_pinned", False) for worker in workers for each in worker["models"]}


async def until_held(http: httpx.AsyncClient, expected: dict[str, bool]) -> None:
    # Nothing announces what a worker registers.
    while True:
        if await pins(http) == expected:
            return
        await anyio.sleep(0.05)
