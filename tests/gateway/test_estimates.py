"""When a queued job will start, and when a running one will end."""

from datetime import datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest
from shared_schemas.ids import JobId
from shared_schemas.outcome import Release
from shared_schemas.stream import keys
from shared_schemas.stream.claims import Claim

from tests.support.gateways import TRAINING, TRAINING_BODY, Driver, progressed, succeeded

FIELDS = ("eta_s", "estimated_start_at", "estimated_end_at")


async def submitted(http: httpx.AsyncClient) -> JobId:
    return JobId((await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"])


async def status_of(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    status = (await http.get(f"/jobs/{job_id}/status")).json()
    full = (await http.get(f"/jobs/{job_id}")).json()
    assert {full.get(name) is None for name in FIELDS if status[name] is None} <= {True}
    assert full.get("queue_position") == status["queue_position"]
    assert full.get("estimated_end_at") == status["estimated_end_at"]
    return dict(status)


async def later(drive: Driver, ms: int = 20) -> None:
    """Until the clock of Redis, which stamps events, has moved on."""
    seconds, micros = await drive.client.time()
    end = seconds * 1000 + micros // 1000 + ms
    with anyio.fail_after(20):
        while (now := await drive.client.time())[0] * 1000 + now[1] // 1000 < end:  # noqa: ASYNC110
            await anyio.sleep(0.005)


async def run_one(drive: Driver) -> None:
    claims = drive.claims(TRAINING)
    await claims.open()
    [claim] = await claims.claim(1, token="t" * 16)
    await drive.settle(claim, succeeded())


async def test_a_start_is_estimated_once_there_is_a_pace_and_a_worker(http: httpx.AsyncClient, drive: Driver) -> None:
    jobs = [await submitted(http) for _ in range(5)]
    first = await status_of(http, jobs[-1])
    assert (first["queue_position"], first["workers"], *[first[name] for name in FIELDS]) == (4, 0, None, None, None)

    await run_one(drive)
    assert (await status_of(http, jobs[-1]))["eta_s"] is None, "nobody serves the queue"
    await drive.client.zadd(keys.workers(TRAINING), {"w": 4e12})
    # As if 2 attempts had ended in 8 s, and a slot was free now.
    fields = {"count": 99, "changes": "x\nstate {}", "pace": "2 8000 8000 0"}
    await drive.client.xadd(keys.log(TRAINING), fields)

    near, far = await status_of(http, jobs[1]), await status_of(http, jobs[-1])
    assert (near["queue_position"], near["eta_s"]) == (0, 0.0)
    assert (far["queue_position"], far["workers"]) == (3, 1)
    # One attempt ended before, in a moment.
    assert far["eta_s"] == pytest.approx(3 * 8 / 2, rel=0.6)
    asked_at = datetime.fromisoformat(far["created_at"])
    assert datetime.fromisoformat(far["estimated_start_at"]) > asked_at + timedelta(seconds=4)
    assert far["estimated_end_at"] is None


async def test_an_end_follows_from_the_progress_of_this_attempt(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    claim = await drive.begin(job_id)
    assert (await status_of(http, job_id))["eta_s"] is None, "no progress yet"
    await later(drive)
    await drive.record(claim, progressed(1, 10))
    only = await status_of(http, job_id)
    started, at = (datetime.fromisoformat(only[name]) for name in ("started_at", "progress_at"))
    assert_near(only["estimated_end_at"], at + (at - started) / 0.1 * 0.9)

    await later(drive)
    await drive.record(claim, progressed(3, 10), first=1)
    second = await status_of(http, job_id)
    newest = datetime.fromisoformat(second["progress_at"])
    assert_near(second["estimated_end_at"], newest + (newest - at) / 0.2 * 0.7)
    assert second["eta_s"] >= 0
    assert second["estimated_start_at"] is None

    await drive.settle(claim, Release(), first=2)
    await resumed_attempt(http, drive, job_id)


async def resumed_attempt(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    """It begins at 0.3, so what it has done since says how fast it is."""
    claim: Claim = await drive.begin(job_id)
    assert (await status_of(http, job_id))["estimated_end_at"] is None, "the progress is of the attempt before"
    await drive.record(claim, progressed(4, 10))
    assert (await status_of(http, job_id))["estimated_end_at"] is None, "where it began is not known"
    at = datetime.fromisoformat((await status_of(http, job_id))["progress_at"])
    await later(drive)
    await drive.record(claim, progressed(5, 10), first=1)

    status = await status_of(http, job_id)
    newest = datetime.fromisoformat(status["progress_at"])
    assert_near(status["estimated_end_at"], newest + (newest - at) / 0.1 * 0.5)


def assert_near(text: str, wanted: datetime) -> None:
    assert abs((datetime.fromisoformat(text) - wanted).total_seconds()) < 0.01


async def test_a_progress_that_goes_back_estimates_nothing(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    claim = await drive.begin(job_id)
    for n, step in enumerate((5, 2)):
        await drive.record(claim, progressed(step, 10), first=n)
        await later(drive)

    assert (await status_of(http, job_id))["eta_s"] is None


async def test_a_job_that_waits_for_another_has_no_estimate(http: httpx.AsyncClient, drive: Driver) -> None:
    parent = await submitted(http)
    body = {**TRAINING_BODY, "depends_on": [parent]}
    dependent = (await http.post("/jobs/training", json=body)).json()["job_id"]

    status = await status_of(http, dependent)
    assert (status["status"], status["queue_position"], status["eta_s"]) == ("scheduled", None, None)
