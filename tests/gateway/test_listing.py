"""GET /jobs and /dead-letters: newest first over all queues, by pages that stay put."""

from typing import Any

import httpx
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId, QueueName
from shared_schemas.outcome import Failure

from tests.support.gateways import MODEL, TRAINING_BODY, Driver

LARGE = QueueName("training-large")


async def training(http: httpx.AsyncClient, **fields: Any) -> JobId:
    return JobId((await http.post("/jobs/training", json={**TRAINING_BODY, **fields})).json()["job_id"])


async def inference(http: httpx.AsyncClient, **fields: Any) -> JobId:
    body = {"model_id": MODEL, "input_data": 1, **fields}
    return JobId((await http.post("/jobs/inference", json=body)).json()["job_id"])


async def listed(http: httpx.AsyncClient, **query: Any) -> list[str]:
    """All pages."""
    found, cursor = [], None
    while True:
        page = (await http.get("/jobs", params=query | ({"cursor": cursor} if cursor else {}))).json()
        found += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_jobs_of_all_queues_come_newest_first(http: httpx.AsyncClient, drive: Driver) -> None:
    trained = await drive.publish()
    await drive.catalog.declare(LARGE)
    made = [trained, await training(http), await inference(http), await training(http, queue=LARGE)]

    assert await listed(http) == made[::-1]


async def test_pages_of_any_size_hold_each_job_once_while_jobs_are_added_and_end(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    made = [await drive.publish()]
    for i in range(12):
        made.append(await inference(http) if i % 3 else await training(http))

    for limit in (1, 2, 3, 5, 13, 100):
        found: list[str] = []
        cursor = None
        while True:
            query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
            page = (await http.get("/jobs", params=query)).json()
            found += [job["id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
            newest = await training(http)
            await http.post(f"/jobs/{newest}/cancel")
        assert found[-13:] == made[::-1]
        assert len(found) == len(set(found))


async def test_filters_select(http: httpx.AsyncClient, drive: Driver) -> None:
    trained = await drive.publish()
    tagged = await training(http, tags=["mine"])
    plain = await inference(http)
    cancelled = await inference(http, tags=["mine", "other"])
    await http.post(f"/jobs/{cancelled}/cancel")

    assert await listed(http, kind="inference") == [cancelled, plain]
    assert await listed(http, status="queued") == [plain, tagged]
    assert await listed(http, status=["cancelled", "succeeded"]) == [cancelled, trained]
    assert await listed(http, queue="training") == [tagged, trained]
    assert await listed(http, queue="training-unused") == []
    assert await listed(http, tag="mine") == [cancelled, tagged]
    assert await listed(http, tag="mine", status="queued", limit=1) == [tagged]


async def test_dead_letters_are_the_failed_jobs(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    first, second, third = await training(http), await inference(http), await training(http)
    await drive.finish(first, Failure(ErrorInfo(code="data_empty", message="no rows")))
    await drive.finish(second, Failure(ErrorInfo(code="poison", message="its worker was lost")))
    await http.post(f"/jobs/{third}/cancel")

    everything = (await http.get("/dead-letters")).json()["jobs"]
    by_code = (await http.get("/dead-letters", params={"code": "poison"})).json()["jobs"]
    by_queue = (await http.get("/dead-letters", params={"queue": "training"})).json()["jobs"]

    assert [(job["id"], job["error"]["code"], job["attempt"]) for job in everything] == [
        (second, "poison", 1),
        (first, "data_empty", 1),
    ]
    assert [job["id"] for job in by_code] == [second]
    assert [job["id"] for job in by_queue] == [first]
