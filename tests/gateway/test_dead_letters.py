"""GET /dead-letters, one of them, and what can be done with many at once."""

from typing import Any

import anyio
import httpx
import pytest
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import JobState
from shared_schemas.outcome import Failure, Release, Retry
from shared_schemas.stream.recovery import Recovery, SilentJob
from shared_schemas.stream.schedule import Schedule

from tests.support.dead_letters import made_dead
from tests.support.gateways import TRAINING, TRAINING_BODY, Driver

LARGE = QueueName("training-large")
FLAKY = ErrorInfo(code="disk_full", message="no room", retryable=True)
FINAL = ErrorInfo(code="data_empty", message="no rows", row=3)
UNKNOWN = "training-01arz3ndektsv4rrffq69g5fav"


async def submitted(http: httpx.AsyncClient, **fields: Any) -> JobId:
    return JobId((await http.post("/jobs/training", json={**TRAINING_BODY, **fields})).json()["job_id"])


async def pages(http: httpx.AsyncClient, **query: Any) -> list[list[str]]:
    """The ids of each page."""
    found: list[list[str]] = []
    cursor = None
    while True:
        page = (await http.get("/dead-letters", params=query | ({"cursor": cursor} if cursor else {}))).json()
        found.append([job["id"] for job in page["jobs"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def listed(http: httpx.AsyncClient, **query: Any) -> list[str]:
    return [job_id for page in await pages(http, **query) for job_id in page]


async def lose(drive: Driver, job_id: JobId, fence: str) -> None:
    """What happens once the worker has been silent for long enough."""
    assert await Recovery(drive.nodes, TRAINING).reclaim([SilentJob(job_id, fence, 0)]) == ["requeued"]


async def test_a_dead_letter_shows_every_attempt_and_how_it_ended(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, Retry(FLAKY, 0.0), n_events=30)
    await Schedule(drive.nodes, TRAINING).promote()
    await drive.finish(job_id, Release(), n_events=1)
    await lose(drive, job_id, (await drive.begin(job_id)).fence)
    await drive.finish(job_id, Failure(FINAL))

    [row] = (await http.get("/dead-letters")).json()["jobs"]
    one = (await http.get(f"/dead-letters/{job_id}")).json()
    of_job = (await http.get(f"/jobs/{job_id}/attempts")).json()

    assert (row["id"], row["state"], row["subject"], row["attempt"]) == (job_id, "failed", "transformer", 4)
    assert row["error"] == one["error"] == {"code": "data_empty", "message": "no rows", "row": 3}
    assert [(a["number"], a["ended"], a.get("error", {}).get("code")) for a in row["attempts"]] == [
        (1, "retried", "disk_full"),
        (2, "released", None),
        (3, "worker_lost", None),
        (4, "failed", "data_empty"),
    ]
    for attempt in row["attempts"]:
        assert (attempt["worker"], attempt["started_at"] <= attempt["finished_at"]) == ("driver", True)
        assert 0 <= attempt["duration_s"] < 60
    assert one["attempts"] == row["attempts"] == of_job["attempts"]
    assert (one["spec"]["data_path"], one["failures"], one["crashes"]) == (TRAINING_BODY["data_path"], 1, 1)


async def test_a_job_that_failed_before_any_attempt_has_none(http: httpx.AsyncClient) -> None:
    job_id = await submitted(http, start_deadline_s=0.01)
    async with http.stream("GET", f"/jobs/{job_id}/events") as response:
        await response.aread()

    [row] = (await http.get("/dead-letters", params={"code": "start_deadline_exceeded"})).json()["jobs"]

    assert (row["id"], row["attempts"]) == (job_id, [])


async def test_the_attempts_of_a_job_that_runs_end_with_an_open_one(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    assert (await http.get(f"/jobs/{job_id}/attempts")).json() == {"job_id": job_id, "attempts": []}
    await drive.begin(job_id)

    [attempt] = (await http.get(f"/jobs/{job_id}/attempts")).json()["attempts"]

    assert set(attempt) == {"number", "worker", "started_at"}


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_a_page_of_one_code_is_full_unless_it_is_the_last(
    http: httpx.AsyncClient, drive: Driver, limit: int
) -> None:
    # One in ten, far apart, in two queues.
    codes = ["rare" if i % 10 == 0 else "common" for i in range(60)]
    made = {queue: await made_dead(drive, queue, codes) for queue in (TRAINING, LARGE)}
    rare = {job_id for ids in made.values() for job_id in ids[::10]}

    found = await pages(http, code="rare", limit=limit)

    assert all(len(page) == limit for page in found[:-1])
    flat = [job_id for page in found for job_id in page]
    assert len(flat) == len(rare)
    assert set(flat) == rare
    assert flat == sorted(flat, key=lambda job_id: job_id[-26:], reverse=True)
    assert set(await listed(http, code="rare", queue=LARGE)) == rare & set(made[LARGE])
    assert await listed(http, code="rare", kind="inference") == []
    assert await listed(http, code="unheard_of") == []


async def test_a_cancelled_job_and_one_that_waits_for_another_try_are_no_dead_letters(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    cancelled, waiting = await submitted(http), await submitted(http)
    await http.post(f"/jobs/{cancelled}/cancel")
    await drive.finish(waiting, Retry(FLAKY, 60.0))

    assert await listed(http) == []
    for job_id, why in ((cancelled, "the job is cancelled"), (waiting, "the job is scheduled")):
        answer = await http.get(f"/dead-letters/{job_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_a_dead_letter")
        assert why in answer.json()["detail"]


async def test_what_is_no_dead_letter_any_more_says_what_became_of_it(http: httpx.AsyncClient, drive: Driver) -> None:
    retried, purged = await made_dead(drive, TRAINING, ["retried", "purged"])
    again = (await http.post(f"/jobs/{retried}/retry")).json()["job_id"]
    await http.post("/dead-letters/purge", json={"code": "purged"})

    answers = [await http.get(f"/dead-letters/{job_id}") for job_id in (retried, purged, UNKNOWN, "no-id")]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert [answer.json()["code"] for answer in answers] == ["not_a_dead_letter"] * 2 + ["job_not_found"] * 2
    assert again in answers[0].json()["detail"]
    assert "purged" in answers[1].json()["detail"]


async def test_dead_letters_are_retried_by_code_each_once_in_the_order_of_their_submission(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    made = await made_dead(drive, TRAINING, ["flaky", "bad", "flaky", "flaky"])
    wanted = [job_id for i, job_id in enumerate(made) if i != 1]

    first = (await http.post("/dead-letters/retry", json={"code": "flaky"})).json()
    second = (await http.post("/dead-letters/retry", json={"code": "flaky"})).json()

    assert [job["job_id"] for job in first["jobs"]] == wanted[::-1]
    assert [job["error"] for job in first["jobs"]] == [None] * 3
    assert (first["next_cursor"], second) == (None, {"jobs": [], "next_cursor": None})
    assert await listed(http) == [made[1]]
    retries = {job["job_id"]: JobId(job["retried_as"]) for job in first["jobs"]}
    places = [(await http.get(f"/jobs/{retries[job_id]}/status")).json()["queue_position"] for job_id in wanted]
    for job_id, retry in retries.items():
        job = await drive.jobs.find(retry)
        assert (job.state, job.retry_of, job.spec.queue) == (JobState.QUEUED, job_id, TRAINING)
        assert (await drive.jobs.find(job_id)).state is JobState.FAILED
    assert sorted(places) == [0, 1, 2]
    claimed = [await drive.begin(retries[job_id]) for job_id in wanted]
    entries = [int(claim.entry.split("-")[0]) * 1000 + int(claim.entry.split("-")[1]) for claim in claimed]
    assert entries == sorted(entries)


async def test_two_who_retry_at_once_make_one_job_of_each(http: httpx.AsyncClient, drive: Driver) -> None:
    made = await made_dead(drive, TRAINING, ["x"] * 120)
    answers: list[dict[str, Any]] = []

    async def retry() -> None:
        answers.append((await http.post("/dead-letters/retry", json={"all": True})).json())

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(retry)

    told = {(job["job_id"], job["retried_as"]) for answer in answers for job in answer["jobs"]}
    assert {job_id for job_id, _ in told} == set(made)
    assert len(told) == len(made)
    assert await drive.count_jobs() == 2 * len(made)


async def test_a_limit_takes_the_newest_and_the_cursor_goes_on_with_the_rest(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    made = [*await made_dead(drive, TRAINING, ["x"] * 5), *await made_dead(drive, LARGE, ["x"] * 5)]
    order = sorted(made, key=lambda job_id: job_id[-26:], reverse=True)
    first = (await http.post("/dead-letters/purge", json={"kind": "training", "limit": 4})).json()
    rest = (await http.post("/dead-letters/purge", json={"kind": "training", "cursor": first["next_cursor"]})).json()

    assert first["job_ids"] == order[:4]
    assert rest == {"job_ids": order[4:], "next_cursor": None}


async def test_a_job_that_cannot_be_retried_stays_and_hinders_no_other(http: httpx.AsyncClient, drive: Driver) -> None:
    source = await submitted(http, result_ttl_s=1)
    stuck, fine = await submitted(http, resume_from=source), await submitted(http)
    await drive.finish(source)
    for job_id in (stuck, fine):
        await drive.finish(job_id, Failure(FINAL))
    await drive.client.zadd("{hr:training}:expiring", {source: 1})
    await drive.sweep(TRAINING)

    answer = (await http.post("/dead-letters/retry", json={"all": True})).json()

    errors = {job["job_id"]: job["error"] and job["error"]["code"] for job in answer["jobs"]}
    assert errors == {stuck: "invalid_spec", fine: None}
    assert {job["job_id"] for job in answer["jobs"] if job["retried_as"]} == {fine}
    assert await listed(http) == [stuck]


async def test_a_purged_job_stays_as_it_ended_and_can_still_be_retried_by_its_id(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    purged, kept = await made_dead(drive, TRAINING, ["old", "new"])
    before = (await http.get(f"/jobs/{purged}")).json()

    first = (await http.post("/dead-letters/purge", json={"queue": "training", "code": "old"})).json()
    second = (await http.post("/dead-letters/purge", json={"queue": "training", "code": "old"})).json()

    assert (first["job_ids"], second["job_ids"]) == ([purged], [])
    assert await listed(http) == [kept]
    assert await listed(http, code="old") == []
    assert (await http.get(f"/jobs/{purged}")).json() == before
    assert (await http.get("/queues/training")).json()["dead"] == 1
    assert (await http.post(f"/jobs/{purged}/retry")).status_code == 202


BODIES: list[tuple[Any, str, str]] = [
    ({}, "", "filter_required"),
    ({"all": False}, "", "filter_required"),
    ({"limit": 5}, "", "filter_required"),
    ({"all": True, "code": "x"}, "", "filter_required"),
    ([], "", "wrong_type"),
    ({"all": 1}, "/all", "wrong_type"),
    ({"all": True, "limit": 0}, "/limit", "out_of_range"),
    ({"all": True, "limit": 1001}, "/limit", "out_of_range"),
    ({"code": "x" * 65}, "/code", "out_of_range"),
    ({"kind": "canary-7f3a"}, "/kind", "invalid_value"),
    ({"queue": "canary-7f3a"}, "/queue", "malformed_id"),
    ({"code": "x", "cursor": "canary-7f3a"}, "/cursor", "invalid_value"),
    ({"codes": ["x"]}, "/codes", "unknown_field"),
]


@pytest.mark.parametrize("verb", ["retry", "purge"])
@pytest.mark.parametrize(("body", "pointer", "code"), BODIES)
async def test_a_body_that_does_not_say_which_is_refused_and_touches_none(
    http: httpx.AsyncClient, drive: Driver, verb: str, body: Any, pointer: str, code: str
) -> None:
    [job_id] = await made_dead(drive, TRAINING, ["x"])

    answer = await http.post(f"/dead-letters/{verb}", json=body)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "canary" not in answer.text
    assert [(item["pointer"], item["code"]) for item in answer.json()["errors"]] == [(pointer, code)]
    assert await listed(http) == [job_id]


async def test_a_body_that_is_no_json_is_refused(http: httpx.AsyncClient, drive: Driver) -> None:
    [job_id] = await made_dead(drive, TRAINING, ["x"])

    broken = await http.post("/dead-letters/purge", content=b"{", headers={"Content-Type": "application/json"})
    empty = await http.post("/dead-letters/purge")

    assert (broken.status_code, broken.json()["code"]) == (400, "malformed_json")
    assert (empty.status_code, empty.json()["code"]) == (415, "media_type_unsupported")
    assert await listed(http) == [job_id]
