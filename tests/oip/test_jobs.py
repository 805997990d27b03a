"""The job behind a request: found by the id in the answer or by the request's own id, whatever became of the answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from shared_schemas.job import JobState
from shared_schemas.models import ModelRef
from shared_schemas.store.files import ArtifactStore
from shared_schemas.stream.connection import connect
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.registry import ModelRegistry

from tests.support.gateways import Gateway, gateways, running_gateway
from tests.support.inference_process import inference_process
from tests.support.oip_models import publish
from tests.support.onnx_tensors import a_tensor_model, identity

DEADLINE_S = 30.0
INFER = "/v2/models/rows/infer"
JOB_HEADER = "headrace-job-id"


def request(**fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}], **fields}


@asynccontextmanager
async def without_worker(redis_url: str, folder: Path, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway with the model `rows`."""
    store = ArtifactStore(folder / "artifacts")
    await publish(redis_url, [a_tensor_model(store, identity("float32", ("batch", 2)), name="rows")])
    with running_gateway(redis_url, folder, **settings) as gateway:
        yield gateway


async def ended(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """The job, once it has ended."""
    async with http.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as response:
        async for _ in response.aiter_bytes():
            pass
    return dict((await http.get(f"/jobs/{job_id}")).json())


def test_an_answer_names_its_job_which_has_a_timeline(http: httpx.Client) -> None:
    answer = http.post(INFER, json=request(id="order-7", parameters={"priority": 1, "timeout": 30_000_000}))

    job = http.get(f"/jobs/{answer.headers[JOB_HEADER]}").json()
    assert job["state"] == JobState.SUCCEEDED
    assert job["priority"] == "high"
    assert job["spec"]["model_id"] == "rows@1"
    assert (job["spec"]["timeout_s"], job["spec"]["start_deadline_s"]) == (30, 30)
    events = http.get(f"/jobs/{job['id']}/events", headers={"Accept": "application/json"}).json()["events"]
    assert [each["event"] for each in events][-1] == "done"


def test_a_job_is_found_by_the_id_of_its_request(http: httpx.Client) -> None:
    job_id = http.post(INFER, json=request(id="lost-answer:1")).headers[JOB_HEADER]
    other_id = http.post(INFER, json=request(id="not a tag / é")).headers[JOB_HEADER]

    [found] = http.get("/jobs", params={"tag": "lost-answer:1"}).json()["jobs"]
    assert found["id"] == job_id
    assert http.get(f"/jobs/{other_id}").json()["spec"]["metadata"] == {"request_id": "not a tag / é"}


@pytest.mark.parametrize(("given", "priority"), [(0, "normal"), (1, "high"), (2, "normal"), (3, "low"), (2**64, "low")])
def test_priorities_are_lanes(http: httpx.Client, given: int, priority: str) -> None:
    job_id = http.post(INFER, json=request(parameters={"priority": given})).headers[JOB_HEADER]

    assert http.get(f"/jobs/{job_id}").json()["priority"] == priority


def test_a_request_may_take_the_result_of_an_earlier_job(http: httpx.Client) -> None:
    body = request(parameters={"cache": True})
    body["inputs"][0]["data"] = [7.25, -1]
    answers = [http.post(INFER, json=body) for _ in range(2)]
    refused = http.post(INFER, json=request(parameters={"cache": "yes"}))

    first, second = (http.get(f"/jobs/{answer.headers[JOB_HEADER]}").json() for answer in answers)
    assert answers[0].json()["outputs"] == answers[1].json()["outputs"]
    assert "cached_from" not in first
    assert second["cached_from"] == first["id"]
    assert refused.status_code == 400


def test_a_failed_request_names_its_job_too(http: httpx.Client) -> None:
    body = {"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1, 2, 3]}]}

    answer = http.post("/v2/models/pairs/infer", json=body)

    assert answer.status_code == 500
    job = http.get(f"/jobs/{answer.headers[JOB_HEADER]}").json()
    assert job["id"] in answer.json()["error"]
    assert job["error"]["code"] == "model_failed"


def test_the_same_request_with_the_same_key_is_answered_by_one_job(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once-and-for-all"}
    first, second = (http.post(INFER, json=request(), headers=headers) for _ in range(2))
    other = http.post(INFER, json=request(id="other"), headers=headers)

    assert first.json() == second.json()
    assert first.headers[JOB_HEADER] == second.headers[JOB_HEADER]
    assert other.status_code == 400
    assert "another body" in other.json()["error"]


async def test_a_request_that_waits_too_long_names_its_job_which_goes_on(redis_url: str, tmp_path: Path) -> None:
    async with without_worker(redis_url, tmp_path, infer_wait_s=0.5) as gateway, gateway.client() as http:
        answer = await http.post(INFER, json=request(id="slow"))
        not_ready = await http.get("/v2/models/rows/ready")

        assert answer.status_code == 504
        job_id = answer.headers[JOB_HEADER]
        assert job_id in answer.json()["error"]
        assert (await http.get("/jobs", params={"tag": "slow"})).json()["jobs"][0]["id"] == job_id
        assert (not_ready.status_code, not_ready.json()) == (503, {"error": "no worker for inference is running"})
        with inference_process(redis_url, tmp_path / "artifacts"):
            job = await ended(http, job_id)
        assert job["state"] == JobState.SUCCEEDED
        assert job["result"]["outputs"]["y"]["data"] == [1, 2]


async def test_a_request_whose_own_timeout_has_passed_ends_its_job(redis_url: str, tmp_path: Path) -> None:
    async with without_worker(redis_url, tmp_path) as gateway, gateway.client() as http:
        answer = await http.post(INFER, json=request(parameters={"timeout": 200_000}))
        tiny = await http.post(INFER, json=request(parameters={"timeout": 1}))

        for each in (answer, tiny):
            assert each.status_code == 504
            job = await ended(http, each.headers[JOB_HEADER])
            assert (job["state"], job["error"]["code"]) == (JobState.FAILED, "start_deadline_exceeded")


async def test_a_client_that_leaves_leaves_a_job_that_can_be_asked_for(redis_url: str, tmp_path: Path) -> None:
    async with without_worker(redis_url, tmp_path) as gateway, gateway.client() as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(INFER, json=request(id="left"), timeout=1.0)

        [found] = (await http.get("/jobs", params={"tag": "left"})).json()["jobs"]
        assert found["state"] == JobState.QUEUED
        with inference_process(redis_url, tmp_path / "artifacts"):
            assert (await ended(http, found["id"]))["state"] == JobState.SUCCEEDED


async def test_a_job_that_is_cancelled_while_its_request_waits_is_an_error(redis_url: str, tmp_path: Path) -> None:
    async with without_worker(redis_url, tmp_path) as gateway, gateway.client() as http:
        waiting = asyncio.create_task(http.post(INFER, json=request(id="cancelled")))
        jobs: list[Any] = []
        with anyio.fail_after(DEADLINE_S):
            while not jobs:
                jobs = (await http.get("/jobs", params={"tag": "cancelled"})).json()["jobs"]
        await http.post(f"/jobs/{jobs[0]['id']}/cancel")
        answer = await waiting

    assert answer.status_code == 409
    assert "was cancelled" in answer.json()["error"]
    assert answer.headers[JOB_HEADER] == jobs[0]["id"]


async def test_a_version_that_is_deleted_while_a_request_waits_is_not_found(redis_url: str, tmp_path: Path) -> None:
    client = connect(RedisSettings(redis_url=redis_url))
    async with without_worker(redis_url, tmp_path) as gateway, gateway.client() as http:
        waiting = asyncio.create_task(http.post(INFER, json=request(id="gone")))
        jobs: list[Any] = []
        with anyio.fail_after(DEADLINE_S):
            while not jobs:
                jobs = (await http.get("/jobs", params={"tag": "gone"})).json()["jobs"]
        refused = await http.delete("/models/rows/versions/1")
        # As a deletion does that looked for jobs just before this one was stored.
        await ModelRegistry(Nodes(client)).delete_version(ModelRef("rows", 1))
        with inference_process(redis_url, tmp_path / "artifacts"):
            answer = await waiting
    await client.aclose()

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert answer.status_code == 404
    assert "was deleted" in answer.json()["error"]
    assert answer.headers[JOB_HEADER] == jobs[0]["id"]


@pytest.mark.timeout(120)
async def test_a_request_survives_the_death_of_the_worker_that_runs_it(redis_url: str, tmp_path: Path) -> None:
    async with without_worker(redis_url, tmp_path) as gateway, gateway.client(timeout=60.0) as http:
        artifacts = tmp_path / "artifacts"
        with inference_process(redis_url, artifacts, armed=("kill", "session_run", 1), lease_s=2) as dying:
            waiting = asyncio.create_task(http.post(INFER, json=request()))
            await anyio.to_thread.run_sync(dying.wait)
            with inference_process(redis_url, artifacts, lease_s=2):
                answer = await waiting
        job = (await http.get(f"/jobs/{answer.headers[JOB_HEADER]}")).json()

    assert answer.status_code == 200
    assert answer.json()["outputs"][0]["data"] == [1, 2]
    assert (job["attempt"], job["crashes"]) == (2, 1)


async def test_a_gateway_that_dies_while_a_request_waits_loses_only_the_answer(redis_url: str, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    await publish(redis_url, [a_tensor_model(store, identity("float32", ("batch", 2)), name="rows")])
    with gateways(redis_url, tmp_path, 2) as [one, other]:
        async with one.client() as http, other.client() as second:
            waiting = asyncio.create_task(http.post(INFER, json=request(id="orphan")))
            jobs: list[Any] = []
            with anyio.fail_after(DEADLINE_S):
                while not jobs:
                    jobs = (await second.get("/jobs", params={"tag": "orphan"})).json()["jobs"]
            one.kill()
            with pytest.raises(httpx.RemoteProtocolError):
                await waiting
            with inference_process(redis_url, tmp_path / "artifacts"):
                assert (await ended(second, jobs[0]["id"]))["state"] == JobState.SUCCEEDED
                assert (await second.post(INFER, json=request())).status_code == 200


async def test_a_name_follows_its_newest_version_from_one_request_to_the_next(redis_url: str, tmp_path: Path) -> None:
    """Though a gateway keeps what it read of a model: two gateways, and a version with other tensors."""
    store = ArtifactStore(tmp_path / "artifacts")
    first = a_tensor_model(store, identity("float32", ("batch", 2)), name="rows")
    second = a_tensor_model(store, identity("int64", ("n",)), name="rows")
    new = {"inputs": [{"name": "x", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]}]}
    await publish(redis_url, [first])
    with gateways(redis_url, tmp_path, 2) as both, inference_process(redis_url, tmp_path / "artifacts"):
        async with both[0].client() as one, both[1].client() as other:
            for http in (one, other):
                assert (await http.post(INFER, json=request())).json()["model_version"] == "1"
            await publish(redis_url, [second])
            for http in (one, other):
                answer = (await http.post(INFER, json=new)).json()
                assert answer["model_version"] == "2"
                assert answer["outputs"] == [{"name": "y", "datatype": "INT64", "shape": [3], "data": [1, 2, 3]}]
                assert (await http.post(INFER, json=request())).status_code == 400
                old = await http.post("/v2/models/rows/versions/1/infer", json=request())
                assert old.json()["model_version"] == "1"


async def test_a_request_for_a_queue_that_is_full_is_told_when_to_come_back(redis_url: str, tmp_path: Path) -> None:
    options = {"queue_limits": "inference=1", "infer_wait_s": 0.2}
    async with without_worker(redis_url, tmp_path, **options) as gateway, gateway.client() as http:
        first = await http.post(INFER, json=request())
        second = await http.post(INFER, json=request())

    assert (first.status_code, second.status_code) == (504, 429)
    assert second.json().keys() == {"error"}
    assert int(second.headers["retry-after"]) > 0
    assert JOB_HEADER not in second.headers


async def test_redis_that_is_away_is_a_503_with_a_text(own_redis: Any, tmp_path: Path) -> None:
    async with without_worker(own_redis.url, tmp_path, redis_timeout_s=1) as gateway, gateway.client() as http:
        own_redis.kill()
        answers = [
            await http.post(INFER, json=request()),
            await http.get("/v2/health/ready"),
            await http.get("/v2/models/rows"),
        ]
        live = await http.get("/v2/health/live")

    assert live.status_code == 200
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json().keys() == {"error"}
        assert answer.headers["retry-after"]
