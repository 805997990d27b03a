"""Results of earlier jobs, through real gateways, Redis and workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from shared_schemas.job import JobState
from shared_schemas.models import Model
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import Gateway, driver, free_port, running_gateway
from tests.support.inference_process import inference_process
from tests.support.onnx_models import a_model, bigram, byte_tokenizer, linear

WAIT = {"Prefer": "wait=30"}
ROW = {"length": 1.0, "width": 3.0}
METRIC = "headrace_inference_cache_lookups_total"


def table(folder: Path, *, bias: float = 0.0) -> Model:
    graph = linear(np.eye(2, dtype=np.float32), np.array([0.0, bias], np.float32))
    store = ArtifactStore(folder / "artifacts")
    return a_model(store, graph, name="kind", features=("length", "width"), labels=("long", "wide"))


def writer(folder: Path) -> Model:
    tokenizer = byte_tokenizer(["good bad good bad"], vocabulary_size=280)
    scores = np.random.default_rng(0).standard_normal((280, 280)).astype(np.float32)
    scores[:, 3] = -50.0  # it never ends by itself
    store = ArtifactStore(folder / "artifacts")
    return a_model(store, bigram(scores), name="writer", task="text-generation", tokenizer=tokenizer, context_length=32)


class Side:
    def __init__(self, http: httpx.AsyncClient, gateway: Gateway, metrics_port: int) -> None:
        self.http, self.gateway, self._metrics_port = http, gateway, metrics_port

    async def ask(self, input_data: Any = ROW, *, model: str = "kind", cache: bool = True, **more: Any) -> Any:
        """-> the job once it has ended"""
        body = {"model_id": model, "input_data": input_data, **({"cache": True} if cache else {}), **more}
        reply = await self.http.post("/jobs/inference", json=body, headers=WAIT)
        assert reply.status_code == 200, reply.text
        return {"cached_from": None, **reply.json()}

    async def get(self, path: str) -> Any:
        return (await self.http.get(path)).raise_for_status().json()

    async def lookups(self) -> dict[str, int]:
        """By what was found."""
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"http://127.0.0.1:{self._metrics_port}/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(METRIC)]
        return {line.partition('found="')[2].partition('"')[0]: int(float(line.split()[-1])) for line in lines}


@asynccontextmanager
async def serving(redis_url: str, folder: Path, *models: Model, **settings: object) -> AsyncIterator[Side]:
    async with driver(redis_url) as drive:
        for model in models:
            await drive.publish(model.name, manifest=model.manifest)
    port = free_port()
    with (
        running_gateway(redis_url, folder) as gateway,
        inference_process(redis_url, folder / "artifacts", metrics_port=port, **settings),
    ):
        async with gateway.client() as http:
            yield Side(http, gateway, port)


async def test_a_second_job_takes_the_result_of_the_first_and_says_so(redis_url: str, tmp_path: Path) -> None:
    async with serving(redis_url, tmp_path, table(tmp_path)) as side:
        first = await side.ask()
        second = await side.ask({"width": 3.0, "length": 1.0})
        other = await side.ask({"width": 3.5, "length": 1.0})
        without = await side.ask(cache=False)
        kept = await side.get(f"/jobs/{second['job_id']}/result")
        timeline = (await side.http.get(f"/jobs/{second['job_id']}/events")).text
        details = [await side.get(f"/jobs/{each['job_id']}") for each in (first, second)]
        lookups = await side.lookups()

    assert [each["cached_from"] for each in (first, second, other, without)] == [None, first["job_id"], None, None]
    assert kept["cached_from"] == first["job_id"]
    assert second["result"] == first["result"] == kept["result"]
    assert details[0]["digest"] == details[1]["digest"]
    assert details[1]["facts"] == {**details[0]["facts"], "cached_from": first["job_id"]}
    assert timeline.count("event: state") == 2
    assert timeline.count("event: done") == 1
    assert lookups == {"hit": 1, "miss": 2}


async def test_a_replay_runs_the_model(redis_url: str, tmp_path: Path) -> None:
    async with serving(redis_url, tmp_path, table(tmp_path)) as side:
        first, second = await side.ask(), await side.ask()
        replays = []
        for job in (first, second):
            replay = (await side.http.post(f"/jobs/{job['job_id']}/replay")).json()["job_id"]
            await side.http.get(f"/jobs/{replay}/events")
            replays.append(await side.get(f"/jobs/{replay}/status"))
        lookups = await side.lookups()

    assert second["cached_from"] == first["job_id"]
    assert [each["cached_from"] for each in replays] == [None, None]
    assert [each["replay"]["identical"] for each in replays] == [True, True]
    assert lookups == {"hit": 1, "miss": 1}


async def test_a_new_version_and_a_moved_alias_have_results_of_their_own(redis_url: str, tmp_path: Path) -> None:
    old, new = table(tmp_path), table(tmp_path, bias=5.0)
    async with serving(redis_url, tmp_path, old) as side:
        await side.http.put("/models/kind/aliases/best", json={"version": 1})
        before = [await side.ask(model=name) for name in ("kind", "kind@1", "kind@best")]
        async with driver(redis_url) as drive:
            await drive.publish(new.name, manifest=new.manifest)
        trained = [await side.ask(model=name) for name in ("kind", "kind@best")]
        await side.http.put("/models/kind/aliases/best", json={"version": 2})
        moved = await side.ask(model="kind@best")
        async with driver(redis_url) as drive:
            await drive.publish(old.name, manifest=old.manifest)
        again = await side.ask(model="kind@3")

    first = before[0]["job_id"]
    assert [each["cached_from"] for each in before] == [None, first, first]
    assert [each["cached_from"] for each in trained] == [None, first]
    assert trained[0]["result"] != before[0]["result"]
    assert (moved["cached_from"], moved["result"]) == (trained[0]["job_id"], trained[0]["result"])
    # The third version is the file of the first, with the same manifest.
    assert again["cached_from"] == first


async def test_a_result_with_an_error_in_it_is_not_kept(redis_url: str, tmp_path: Path) -> None:
    rows = [ROW, {"length": 1.0, "width": "much"}]
    async with serving(redis_url, tmp_path, table(tmp_path)) as side:
        partial = [await side.ask(rows) for _ in range(2)]
        whole = [await side.ask([ROW, ROW]) for _ in range(2)]

    assert [each["cached_from"] for each in partial] == [None, None]
    assert [each["cached_from"] for each in whole] == [None, whole[0]["job_id"]]


async def test_a_deleted_job_answers_nobody(redis_url: str, tmp_path: Path) -> None:
    async with serving(redis_url, tmp_path, table(tmp_path)) as side:
        first, second = await side.ask(), await side.ask()
        assert (await side.http.delete(f"/jobs/{first['job_id']}")).status_code == 204
        third, fourth = await side.ask(), await side.ask()
        left = await side.get(f"/jobs/{second['job_id']}/result")

    assert [each["cached_from"] for each in (second, third, fourth)] == [first["job_id"], None, third["job_id"]]
    assert left["result"] == first["result"]


async def test_sampled_text_is_taken_for_the_same_seed_and_shown_to_followers(redis_url: str, tmp_path: Path) -> None:
    sampled = {"max_tokens": 5, "seed": 7}
    async with serving(redis_url, tmp_path, writer(tmp_path)) as side:
        first = await side.ask("good", model="writer", parameters=sampled)
        same = await side.ask("good", model="writer", parameters=sampled)
        without = [await side.ask("good", model="writer", parameters={"max_tokens": 5}) for _ in range(2)]
        likely = [
            await side.ask("good", model="writer", parameters={"max_tokens": 5, "temperature": 0}) for _ in range(2)
        ]
        several = [await side.ask(["good", "bad"], model="writer", parameters=sampled) for _ in range(2)]
        text = (await side.http.get(f"/jobs/{several[1]['job_id']}/events")).text
        events = [line for line in text.splitlines() if '"chunk"' in line]

    assert same["cached_from"] == first["job_id"]
    # Each of these has a seed of its own.
    assert [each["cached_from"] for each in without] == [None, None]
    assert [each["cached_from"] for each in likely] == [None, likely[0]["job_id"]]
    assert several[1]["cached_from"] == several[0]["job_id"]
    assert len(events) == 2
    for index, answer in enumerate(several[1]["result"]):
        assert answer["text"]
        assert f'"index":{index}' in events[index] or index == 0


async def test_two_gateways_and_two_workers_share_the_results_of_a_queue(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    async with serving(redis_url, tmp_path, table(tmp_path)) as side:
        first = await side.ask()
        with (
            running_gateway(redis_url, tmp_path / "second") as gateway,
            inference_process(redis_url, tmp_path / "artifacts"),
        ):
            async with gateway.client() as http:
                other = Side(http, gateway, 0)
                async with anyio.create_task_group() as asking:
                    found: list[Any] = []

                    async def ask(of: Side) -> None:
                        found.append(await of.ask())

                    for of in (side, other) * 20:
                        asking.start_soon(ask, of)

    assert {each["cached_from"] for each in found} == {first["job_id"]}
    assert {str(each["result"]) for each in found} == {str(first["result"])}
    assert len({each["job_id"] for each in found}) == 40


async def test_a_cache_that_is_off_answers_as_always(redis_url: str, tmp_path: Path) -> None:
    async with serving(redis_url, tmp_path, table(tmp_path), cache_entries=0) as side:
        found = [await side.ask() for _ in range(2)]
        lookups = await side.lookups()

    assert [each["cached_from"] for each in found] == [None, None]
    assert [each["status"] for each in found] == [JobState.SUCCEEDED] * 2
    assert lookups == {}


@pytest.mark.parametrize("given", ["yes", 1, []])
async def test_cache_is_true_or_false(redis_url: str, tmp_path: Path, given: object) -> None:
    with running_gateway(redis_url, tmp_path) as gateway:
        async with gateway.client() as http:
            body = {"model_id": "kind", "input_data": ROW, "cache": given}
            reply = await http.post("/jobs/inference", json=body)

    assert reply.status_code == 422
    assert reply.json()["errors"][0]["pointer"] == "/cache"
