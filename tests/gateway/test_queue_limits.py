"""A queue takes as many waiting jobs as its limit allows. Others get 429, and are stored nowhere."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from gateway.settings import GatewaySettings
from headrace import AsyncClient, Client, QueueFull, Settings
from shared_schemas.ids import JobId, QueueName
from shared_schemas.outcome import Failure
from shared_schemas.service.settings import SettingsRejected
from shared_schemas.stream import keys
from shared_schemas.stream.claims import Claim
from shared_schemas.stream.queue_limits import QueueLimits, parse_limits
from shared_schemas.stream.schedule import Schedule

from tests.support.gateways import (
    INFERENCE,
    MODEL,
    TRAINING,
    TRAINING_BODY,
    Driver,
    Gateway,
    driver,
    running_gateway,
    succeeded,
)
from tests.support.queue_bench import BAD
from tests.support.registered import register

LIMIT = 5
KEY = {"Idempotency-Key": "one"}


@pytest.fixture
def limited(redis_url: str, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(redis_url, tmp_path, queue_limits=f"training={LIMIT}, inference=3") as gateway:
        yield gateway


@pytest.fixture
async def http(limited: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with limited.client() as client:
        yield client


@pytest.fixture
async def drive(redis_url: str) -> AsyncIterator[Driver]:
    async with driver(redis_url) as made:
        yield made


async def post(http: httpx.AsyncClient, body: object = TRAINING_BODY, **headers: str) -> httpx.Response:
    return await http.post("/jobs/training", json=body, headers=headers)


async def begin_next(drive: Driver, queue: QueueName = TRAINING) -> Claim:
    """One job leaves the queue. -> its claim"""
    claims = drive.claims(queue)
    await claims.open()
    [claim] = await claims.claim(1, token=os.urandom(8).hex())
    return claim


async def fill(http: httpx.AsyncClient, n: int = LIMIT) -> list[JobId]:
    answers = [await post(http) for _ in range(n)]
    assert [answer.status_code for answer in answers] == [202] * n
    return [JobId(answer.json()["job_id"]) for answer in answers]


def assert_full(answer: httpx.Response, waiting: int = LIMIT) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (429, 429, "queue_full")
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert f"{waiting} jobs wait" in problem["detail"]


async def test_a_job_beyond_the_limit_is_refused_until_one_has_left(http: httpx.AsyncClient, drive: Driver) -> None:
    await fill(http)

    assert_full(await post(http))
    assert await drive.count_jobs() == LIMIT

    await begin_next(drive)
    assert (await post(http)).status_code == 202
    assert_full(await post(http))


async def test_however_many_come_at_once_none_is_too_many(http: httpx.AsyncClient, drive: Driver) -> None:
    """Single submissions are joined in one call, which must count those that it has stored itself."""
    statuses: list[int] = []

    async def submit(n: int) -> None:
        body = TRAINING_BODY if n % 3 else [TRAINING_BODY] * 2
        statuses.append((await post(http, body)).status_code)

    async with anyio.create_task_group() as group:
        for n in range(40):
            group.start_soon(submit, n)

    assert set(statuses) == {202, 429}
    waiting = sum([await drive.client.zcard(keys.listing(TRAINING, "queued", lane)) for lane in keys.LANES])
    assert waiting == await drive.count_jobs()
    assert LIMIT - 1 <= waiting <= LIMIT, "a list of two may find room for one"


async def test_a_list_is_stored_whole_or_not_at_all(http: httpx.AsyncClient, drive: Driver) -> None:
    await fill(http, LIMIT - 2)

    assert_full(await post(http, [TRAINING_BODY] * 3), waiting=LIMIT - 2)
    assert await drive.count_jobs() == LIMIT - 2

    assert (await post(http, [TRAINING_BODY] * 2)).status_code == 202
    assert await drive.count_jobs() == LIMIT


async def test_a_list_longer_than_the_limit_could_never_be_stored(http: httpx.AsyncClient, drive: Driver) -> None:
    answer = await post(http, [TRAINING_BODY] * (LIMIT + 1))

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")
    assert "retry-after" not in answer.headers
    assert await drive.count_jobs() == 0


@pytest.mark.parametrize("body", [TRAINING_BODY, [TRAINING_BODY] * 2])
async def test_a_repeated_request_gets_its_job_from_a_full_queue(http: httpx.AsyncClient, body: Any) -> None:
    first = await post(http, body, **KEY)
    await fill(http, LIMIT - len([body] if isinstance(body, dict) else body))

    again = await post(http, body, **KEY)

    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert again.json() == first.json()
    conflict = await post(http, {**TRAINING_BODY, "seed": 3}, **KEY)
    assert conflict.json()["code"] == "idempotency_key_reused"


@pytest.mark.parametrize("kind", ["training", "inference"])
async def test_a_refused_request_can_be_repeated_with_its_key(
    http: httpx.AsyncClient, drive: Driver, kind: str
) -> None:
    """The key of a training job is claimed before the job is stored."""
    await drive.publish()
    body = TRAINING_BODY if kind == "training" else {"model_id": MODEL, "input_data": 1}
    while (await http.post(f"/jobs/{kind}", json=body)).status_code == 202:
        pass
    refused = await http.post(f"/jobs/{kind}", json=body, headers=KEY)
    await begin_next(drive, QueueName(kind))

    accepted = await http.post(f"/jobs/{kind}", json=body, headers=KEY)
    repeated = await http.post(f"/jobs/{kind}", json=body, headers=KEY)

    assert [answer.status_code for answer in (refused, accepted, repeated)] == [429, 202, 202]
    assert accepted.json()["job_id"] == repeated.json()["job_id"]
    assert "idempotency-replayed" not in accepted.headers


async def test_the_key_of_a_refused_job_may_get_another_body(http: httpx.AsyncClient, drive: Driver) -> None:
    await fill(http)
    other = {**TRAINING_BODY, "seed": 3}
    refused = await post(http, **KEY)
    await begin_next(drive)

    accepted, repeated, conflict = [await post(http, body, **KEY) for body in (other, other, TRAINING_BODY)]

    assert_full(refused)
    assert [answer.status_code for answer in (accepted, repeated)] == [202, 202]
    assert accepted.json()["job_id"] == repeated.json()["job_id"]
    assert "idempotency-replayed" not in accepted.headers
    assert (conflict.status_code, conflict.json()["code"]) == (422, "idempotency_key_reused")
    assert (await drive.jobs.find(accepted.json()["job_id"])).spec.seed == 3


async def test_the_key_of_a_list_that_is_too_long_may_get_another_body(http: httpx.AsyncClient, drive: Driver) -> None:
    too_long = await post(http, [TRAINING_BODY] * (LIMIT + 1), **KEY)

    shorter = await post(http, [TRAINING_BODY] * LIMIT, **KEY)
    again = await post(http, [TRAINING_BODY] * LIMIT, **KEY)

    assert [answer.status_code for answer in (too_long, shorter, again)] == [422, 202, 202]
    assert again.json() == shorter.json()
    assert await drive.count_jobs() == LIMIT


async def test_a_released_key_may_go_to_another_queue(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    await fill(http)
    assert_full(await post(http, **KEY))

    body = {"model_id": MODEL, "input_data": 1}
    answers = [await http.post("/jobs/inference", json=body, headers=KEY) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["job_id"].startswith("inference-")


async def test_many_requests_with_one_key_make_one_job_however_often_they_were_refused(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    await fill(http)
    found = list[httpx.Response]()

    async def submit() -> None:
        while (answer := await post(http, **KEY)).status_code == 429:
            pass
        found.append(answer)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(submit)
        await begin_next(drive)

    assert {answer.status_code for answer in found} == {202}
    assert len({answer.json()["job_id"] for answer in found}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in found) == 1
    assert await drive.count_jobs() == LIMIT + 1


async def test_jobs_for_later_are_neither_counted_nor_refused(http: httpx.AsyncClient, drive: Driver) -> None:
    later = {**TRAINING_BODY, "run_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    assert (await post(http, [later] * LIMIT)).status_code == 202
    first, *_ = await fill(http)

    dependent = {**TRAINING_BODY, "depends_on": [first]}
    assert (await post(http, dependent)).status_code == 202
    assert (await post(http, [later, dependent])).status_code == 202
    assert_full(await post(http, [later, TRAINING_BODY]))
    # What was accepted goes on, however full the queue is.
    claim = await begin_next(drive)
    assert (await post(http)).status_code == 202
    await drive.settle(claim, succeeded())
    await Schedule(drive.nodes, TRAINING).promote()
    assert (await drive.queue_queries.status(TRAINING)).jobs["queued"] == LIMIT + 2
    assert_full(await post(http), waiting=LIMIT + 2)


async def test_retries_and_replays_are_new_jobs_and_wait_their_turn(http: httpx.AsyncClient, drive: Driver) -> None:
    failed, *_ = await fill(http)
    await drive.settle(await begin_next(drive), Failure(BAD))
    await fill(http, 1)

    assert_full(await http.post(f"/jobs/{failed}/retry"))
    assert_full(await http.post(f"/jobs/{failed}/replay"))
    [retried] = (await http.post("/dead-letters/retry", json={"all": True})).json()["jobs"]
    assert (retried["retried_as"], retried["error"]["code"], retried["error"]["retryable"]) == (
        None,
        "queue_full",
        True,
    )

    await begin_next(drive)
    [retried] = (await http.post("/dead-letters/retry", json={"all": True})).json()["jobs"]
    assert retried["error"] is None
    assert (await drive.jobs.find(retried["retried_as"])).retry_of == failed


async def test_what_a_worker_gives_back_is_not_refused(http: httpx.AsyncClient, drive: Driver) -> None:
    first, *_ = await fill(http)
    await http.post(f"/jobs/{first}/pause")
    await fill(http, 1)

    resumed = await http.post(f"/jobs/{first}/resume")

    assert resumed.json()["status"] == "queued"
    assert_full(await post(http), waiting=LIMIT + 1)


async def test_another_queue_has_room(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    await fill(http)

    answers = [await http.post("/jobs/inference", json={"model_id": MODEL, "input_data": n}) for n in range(4)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]


async def test_retry_after_follows_from_how_fast_the_queue_drains(
    http: httpx.AsyncClient, drive: Driver, redis_url: str
) -> None:
    register(redis_url, TRAINING)
    await fill(http)
    assert (await post(http)).headers["retry-after"] == "10", "nothing has been measured"
    # Two attempts in 14 s, as the log would have it.
    fields = {"count": LIMIT, "changes": "x\nstate {}", "pace": "2 14000 20000 0"}
    await drive.client.xadd(keys.log(TRAINING), fields)

    assert (await post(http)).headers["retry-after"] == "7"
    assert (await http.get("/queues/training")).json()["drain_per_s"] == pytest.approx(1 / 7)
    assert "headrace_queue_drain_jobs_per_second" in (await http.get("/metrics")).text


async def test_a_queue_without_workers_promises_nothing_however_fast_it_once_was(
    http: httpx.AsyncClient, drive: Driver, redis_url: str
) -> None:
    await fill(http)
    await drive.client.xadd(keys.log(TRAINING), {"count": LIMIT, "changes": "x\nstate {}", "pace": "9 90 90 0"})

    idle = [await post(http), await post(http, [TRAINING_BODY] * 2)]
    register(redis_url, TRAINING)
    working = await post(http)

    for answer in idle:
        assert_full(answer)
        assert answer.headers["retry-after"] == "60"
        assert "no worker is running" in answer.json()["detail"]
    assert_full(working)
    assert working.headers["retry-after"] == "1"
    assert "no worker" not in working.json()["detail"]


async def test_the_clients_raise_what_was_answered_and_say_how_long_to_wait(
    limited: Gateway, http: httpx.AsyncClient, redis_url: str
) -> None:
    register(redis_url, TRAINING)
    await fill(http)
    settings = Settings(retries=0)

    async with AsyncClient(limited.url, settings=settings) as client:
        with pytest.raises(QueueFull) as raised:
            await client.submit_training(**TRAINING_BODY)

    def submit() -> None:
        with Client(limited.url, settings=settings) as client, pytest.raises(QueueFull) as raised:
            client.submit_training(**TRAINING_BODY)
        assert (raised.value.code, raised.value.status) == ("queue_full", 429)

    await anyio.to_thread.run_sync(submit)
    assert (raised.value.code, raised.value.retryable, raised.value.retry_after_s) == ("queue_full", True, 10.0)


async def test_the_client_sends_again_once_there_may_be_room(
    limited: Gateway, http: httpx.AsyncClient, drive: Driver, redis_url: str
) -> None:
    register(redis_url, TRAINING)
    await fill(http)
    await drive.client.xadd(keys.log(TRAINING), {"count": LIMIT, "changes": "x\nstate {}", "pace": "9 90 90 0"})
    answers = []

    async def submit() -> None:
        async with AsyncClient(limited.url, settings=Settings(retries=9)) as client:
            answers.append(await client.submit_training(**TRAINING_BODY))

    async with anyio.create_task_group() as group:
        group.start_soon(submit)
        await until_refused(limited)
        await begin_next(drive)

    assert [answer.status for answer in answers] == ["queued"]


async def test_the_command_line_says_that_it_waits_for_room(
    limited: Gateway, http: httpx.AsyncClient, drive: Driver, redis_url: str
) -> None:
    register(redis_url, TRAINING)
    await fill(http)
    await drive.client.xadd(keys.log(TRAINING), {"count": LIMIT, "changes": "x\nstate {}", "pace": "9 90 90 0"})
    command = [sys.executable, "-m", "headrace.cli", "submit", "training", "mlp", "a.csv", "--url", limited.url]
    ended = []

    async def submit() -> None:
        ended.append(await anyio.run_process(command, check=False))

    async with anyio.create_task_group() as group:
        group.start_soon(submit)
        await until_refused(limited)
        await begin_next(drive)

    [process] = ended
    assert process.returncode == 0, process.stderr
    assert process.stdout.decode().startswith("training-")
    [line] = process.stderr.decode().splitlines()
    assert f"{LIMIT} jobs wait" in line
    assert "; sending again in 1." in line


async def until_refused(gateway: Gateway) -> None:
    with anyio.fail_after(20):
        while not any(line.get("status") == 429 for line in gateway.log()):  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.01)


def test_limits_are_read_from_one_setting() -> None:
    limits = parse_limits(["training=10", "1000", "inference-gpu.2=0"], variable="X")

    assert limits == QueueLimits({TRAINING: 10, "inference-gpu.2": None}, 1000)
    assert [limits.of(queue) for queue in (TRAINING, INFERENCE, "inference-gpu.2")] == [10, 1000, None]
    assert GatewaySettings().limits().of(TRAINING) is None


@pytest.mark.parametrize(
    "texts",
    [["x"], ["-1"], ["training=-1"], ["training=1.5"], ["jobs=1"], ["training="], ["="], ["=3"], ["1", "2"],
     ["training=1", "training=2"], ["9" * 12], ["training=٣"]],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused_at_the_start(texts: list[str]) -> None:
    with pytest.raises(SettingsRejected, match="HEADRACE_QUEUE_LIMITS"):
        GatewaySettings(queue_limits=tuple(texts))
