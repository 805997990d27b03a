"""A manifest says how workers run its model: which rows share a run, on which device and with how many threads. With a
real gateway, Redis and workers.

The model of these tests answers each row with the number of rows of its run.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
import redis
from onnx import TensorProto, helper

from tests.support.gateways import Gateway
from tests.support.onnx_tensors import graph
from tests.support.publishing import WAIT, Publisher, publisher, publishing_system
from tests.support.redis_server import RedisServer

TABLE = {"task": "tabular-regression", "features": ["a"]}
# Far longer than a test may take.
LONG_MS = 10_000
BATCHABLE = [
    ({}, 8),
    ({"max_batch": 3}, 3),
    # HEADRACE_MAX_BATCH of the worker.
    ({"max_batch": 4096}, 8),
    ({"batchable": False}, 1),
]


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    redis.Redis.from_url(shared_redis.url).flushall()
    serving = {"max_batch": 8, "intra_op_threads": 1}
    with publishing_system(shared_redis.url, tmp_path_factory.mktemp("system"), serving=serving) as gateway:
        yield gateway


@pytest.fixture
async def user(gateway: Gateway) -> AsyncIterator[Publisher]:
    async with publisher(gateway) as made:
        yield made


def rows_of_the_run() -> bytes:
    """features [batch, 1] -> prediction [batch], each the number of rows."""
    nodes = [
        helper.make_node("Shape", ["features"], ["shape"], start=0, end=1),
        helper.make_node("Cast", ["shape"], ["n"], to=TensorProto.FLOAT),
        helper.make_node("Expand", ["n", "shape"], ["prediction"]),
    ]
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 1])
    return graph(nodes, [features], [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["batch"])])


async def facts_of(user: Publisher, job_id: str) -> dict[str, str]:
    events = (await user.http.get(f"/jobs/{job_id}/events", headers={"Accept": "application/json"})).json()
    facts: dict[str, str] = events["events"][-1]["facts"]
    return facts


@pytest.mark.parametrize(("batching", "most"), BATCHABLE)
async def test_a_run_has_as_many_rows_as_the_manifest_and_the_worker_allow(
    user: Publisher, batching: dict[str, Any], most: int
) -> None:
    published = await user.publish(rows_of_the_run(), "rows", manifest={**TABLE, "batching": batching})
    ref = published["result"]["model"]

    answers = await user.ask(ref, [[i] for i in range(24)])

    found = [answer["prediction"] for answer in answers]
    assert found == [most] * 24
    assert (await user.http.get("/models/rows/versions/latest")).json()["manifest"]["batching"] == batching


async def test_an_idle_model_waits_for_more_rows_if_the_manifest_says_so(user: Publisher) -> None:
    batching = {"max_batch": 4, "max_wait_ms": LONG_MS}
    ref = (await user.publish(rows_of_the_run(), "waiting", manifest={**TABLE, "batching": batching}))["result"][
        "model"
    ]
    found: list[float] = []

    async def ask() -> None:
        found.append((await user.ask(ref, [1]))["prediction"])

    with anyio.fail_after(LONG_MS / 1000):
        # The first jobs wait, in a model that nobody else uses, until the last one has come.
        async with anyio.create_task_group() as asking:
            for n in range(3):
                asking.start_soon(ask)
                await running(user, ref, n + 1)
            assert found == []
            asking.start_soon(ask)

    assert found == [4.0] * 4


async def running(user: Publisher, ref: str, n: int) -> None:
    """Return once n jobs of the model run. Nothing announces it for several jobs at once."""
    with anyio.fail_after(30):
        while True:
            listed = (await user.http.get("/jobs", params={"status": "running", "kind": "inference"})).json()["jobs"]
            if len([job for job in listed if job["subject"] == ref]) >= n:
                return
            await anyio.sleep(0.02)


async def test_rows_of_tensors_share_runs_within_the_limit_of_the_manifest(user: Publisher) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Shape", ["x"], ["n"], start=0, end=1),
        helper.make_node("Expand", ["n", "shape"], ["y"]),
    ]
    contents = graph(nodes, [x], [helper.make_tensor_value_info("y", TensorProto.INT64, ["rows", 1])])
    manifest = {"task": "tensors", "batch_axis": "rows", "batching": {"max_batch": 2}}
    ref = (await user.publish(contents, "tensors", manifest=manifest))["result"]["model"]

    answer = await user.ask(ref, {"x": [[i] for i in range(6)]})

    assert answer["outputs"]["y"]["data"] == [2] * 6


async def test_threads_and_device_of_the_manifest_are_in_the_facts_of_the_job(user: Publisher) -> None:
    plain = (await user.publish(rows_of_the_run(), "plain", manifest=TABLE))["result"]["model"]
    placed = await user.publish(rows_of_the_run(), "placed", manifest={**TABLE, "threads": 2, "device": "cpu"})
    facts = []
    for ref in (plain, placed["result"]["model"]):
        job = await user.http.post("/jobs/inference", json={"model_id": ref, "input_data": [1]}, headers=WAIT)
        facts.append(await facts_of(user, job.json()["job_id"]))

    assert [each["threads"] for each in facts] == ["1", "2"]
    assert [each["device"] for each in facts] == ["cpu", "cpu"]


async def test_a_model_that_asks_for_a_gpu_is_not_run_without_one(user: Publisher) -> None:
    job = await user.publish(rows_of_the_run(), "wishful", manifest={**TABLE, "device": "cuda"})
    events = (await user.http.get(f"/jobs/{job['job_id']}/events", headers={"Accept": "application/json"})).json()
    asked = {"model_id": "wishful", "input_data": [1], "retry": {"max_attempts": 2, "backoff_s": 0}}

    answer = (await user.http.post("/jobs/inference", json=asked, headers=WAIT)).json()

    assert any("asks for cuda" in event.get("line", "") for event in events["events"])
    assert (answer["status"], answer["error"]["code"], answer["attempt"]) == ("failed", "device_unavailable", 2)


@pytest.mark.parametrize(
    ("manifest", "pointer", "code"),
    [
        ({**TABLE, "batching": {"max_bach": 3}}, "/manifest/batching/max_bach", "unknown_field"),
        ({**TABLE, "batching": {"max_batch": 0}}, "/manifest/batching/max_batch", "out_of_range"),
        ({**TABLE, "batching": {"max_batch": 4097}}, "/manifest/batching/max_batch", "out_of_range"),
        ({**TABLE, "batching": {"max_wait_ms": -1}}, "/manifest/batching/max_wait_ms", "out_of_range"),
        ({**TABLE, "batching": {"max_wait_ms": "5"}}, "/manifest/batching/max_wait_ms", "wrong_type"),
        ({**TABLE, "batching": False}, "/manifest/batching", "wrong_type"),
        ({**TABLE, "batching": {"batchable": False, "max_batch": 2}}, "/manifest/batching", "invalid_value"),
        ({"task": "tensors", "batching": {"max_batch": 2}}, "/manifest", "invalid_value"),
        ({"task": "tensors", "batch_axis": "n", "batching": {"batchable": False}}, "/manifest", "invalid_value"),
        ({**TABLE, "device": "cuda:1"}, "/manifest/device", "invalid_value"),
        ({**TABLE, "threads": 0}, "/manifest/threads", "out_of_range"),
    ],
)
async def test_what_the_manifest_cannot_mean_is_refused_at_once(
    user: Publisher, manifest: dict[str, Any], pointer: str, code: str
) -> None:
    body = {"name": "bad", "onnx": await user.upload(rows_of_the_run()), "manifest": manifest}

    answer = await user.http.post("/models", json=body)

    assert answer.status_code == 422
    assert [(item["pointer"], item["code"]) for item in answer.json()["errors"]] == [(pointer, code)]
