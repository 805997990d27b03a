"""Queues are declared, by the workers that serve them or by a setting: a misspelled name makes none."""

from pathlib import Path

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from shared_schemas.ids import JobId, QueueName
from shared_schemas.stream import keys

from tests.support.gateways import MODEL, TRAINING_BODY, Driver, driver, running_gateway
from tests.support.queue_bench import queue_bench
from tests.support.redis_server import RedisServer

LARGE = QueueName("training-large")
UNKNOWN = [
    ({**TRAINING_BODY, "queue": "training-lrage"}, "/queue"),
    ({**TRAINING_BODY, "queue": "training.3"}, "/queue"),
    ([{**TRAINING_BODY, "queue": "training-lrage"}] * 2, "/0/queue"),
]


async def listed(http: httpx.AsyncClient) -> list[str]:
    return [queue["name"] for queue in (await http.get("/queues")).json()["queues"]]


@pytest.mark.parametrize(("body", "pointer"), UNKNOWN)
async def test_a_queue_that_nobody_declared_takes_no_job_and_is_not_made(
    http: httpx.AsyncClient, drive: Driver, body: object, pointer: str
) -> None:
    answer = await http.post("/jobs/training", json=body)

    [item] = answer.json()["errors"]
    assert (answer.status_code, answer.json()["code"]) == (422, "queue_unknown")
    assert (item["code"], item["pointer"]) == ("queue_unknown", pointer)
    assert "the known queues are training" in item["detail"]
    assert "lrage" not in answer.text
    assert await drive.count_jobs() == 0
    assert await listed(http) == ["inference", "publishing", "training"]


async def test_a_queue_takes_jobs_as_soon_as_a_worker_serves_it(http: httpx.AsyncClient, redis_url: str) -> None:
    body = {**TRAINING_BODY, "queue": "training-fresh"}
    assert (await http.post("/jobs/training", json=body)).status_code == 422

    async with queue_bench(redis_url, QueueName("training-fresh")):
        assert (await http.post("/jobs/training", json=body)).status_code == 202
    assert await listed(http) == ["inference", "publishing", "training", "training-fresh"]


async def test_a_setting_declares_queues_for_every_gateway(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        running_gateway(redis_url, tmp_path / "a", queues="training-large, inference-gpu") as a,
        running_gateway(redis_url, tmp_path / "b") as b,
    ):
        async with a.client() as one, b.client() as other, driver(redis_url) as drive:
            await drive.publish(MODEL)
            job = {"model_id": MODEL, "input_data": 1, "queue": "inference-gpu"}
            for http in (one, other):
                assert (await http.post("/jobs/inference", json=job)).status_code == 202
                assert await listed(http) == ["inference", "inference-gpu", "publishing", "training", "training-large"]


async def test_a_job_is_retried_and_replayed_in_its_queue_whoever_declares_that(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    await drive.catalog.declare(LARGE)
    job_id = JobId((await http.post("/jobs/training", json={**TRAINING_BODY, "queue": LARGE})).json()["job_id"])
    await http.post(f"/jobs/{job_id}/cancel")
    await drive.client.delete(keys.DECLARED)

    for verb in ("retry", "replay"):
        answer = await http.post(f"/jobs/{job_id}/{verb}")
        assert (answer.status_code, answer.json()["job_id"].startswith(f"{LARGE}-")) == (202, True)
    with anyio.fail_after(20):
        while LARGE not in await listed(http):  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.05)


async def test_a_metric_that_takes_too_long_does_not_say_that_redis_is_away(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    with running_gateway(own_redis.url, tmp_path) as gateway:
        async with gateway.client() as http, driver(own_redis.url) as drive:
            before = samples(await http.get("/metrics"))
            await drive.client.execute_command("CLIENT", "PAUSE", 4000, "ALL")
            during = samples(await http.get("/metrics"))

    assert (before["headrace_redis_up"], before["headrace_queues_read"]) == (1, 1)
    assert ("headrace_redis_up" in during, during["headrace_queues_read"]) == (False, 0)


def samples(answer: httpx.Response) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.labels
    }


FIELDS = {
    "host": "h", "pid": "12", "slots": "2", "started": "1795526361044", "seen": "1795526361044", "state": "running",
    "jobs": "", "facts": "{}", "device": "null",
}  # fmt: skip
SHOWN_AS = {"started": "started_at", "seen": "seen_at"}
NONSENSE = [
    {"pid": "x"}, {"slots": "-1"}, {"started": "9" * 30}, {"seen": "٣"}, {"jobs": "no-job"}, {"facts": "[1]"},
    {"facts": "{"}, {"host": b"\xff"}, {"state": b"\xff"}, {"other": "x"}, {"device": "{"},
    {"device": '{"name": "cpu"}'},
]  # fmt: skip


async def worker_with(http: httpx.AsyncClient, drive: Driver, fields: dict[str, object]) -> dict[str, object]:
    await drive.client.zadd(keys.workers(LARGE), {"w-1": 4e12})
    await drive.client.hset(keys.worker(LARGE, "w-1"), mapping=fields)
    await drive.catalog.declare(LARGE)
    answer = await http.get("/workers")
    assert answer.status_code == 200
    [worker] = answer.json()["workers"]
    assert (worker["name"], worker["queue"]) == ("w-1", LARGE)
    return worker  # type: ignore[no-any-return]


@pytest.mark.parametrize("missing", FIELDS)
async def test_a_worker_is_shown_without_what_its_registration_does_not_say(
    http: httpx.AsyncClient, drive: Driver, missing: str
) -> None:
    worker = await worker_with(http, drive, {name: value for name, value in FIELDS.items() if name != missing})

    assert not worker[SHOWN_AS.get(missing, missing)]
    assert worker["host" if missing != "host" else "state"] in ("h", "running")


@pytest.mark.parametrize("nonsense", NONSENSE, ids=lambda case: next(iter(case)))
async def test_a_worker_whose_registration_makes_no_sense_is_shown_with_what_does(
    http: httpx.AsyncClient, drive: Driver, nonsense: dict[str, object]
) -> None:
    worker = await worker_with(http, drive, FIELDS | nonsense)

    assert worker["kind"] == "training"
    assert worker["jobs"] == []
    assert worker["facts"] == {}
    assert worker["device"] is None
