"""A list of jobs in one request: all of them are stored, or none."""

import json
from itertools import pairwise
from typing import Any

import anyio
import httpx
import pytest
from shared_schemas.codec import decode_event
from shared_schemas.ids import JobId
from shared_schemas.stream import keys
from shared_schemas.stream.keys import Lane

from tests.support.gateways import INFERENCE, MODEL, TRAINING_BODY, Driver, frames

KEY = {"Idempotency-Key": "the-list"}
LONGEST = 500


def inputs(n: int, **options: Any) -> list[dict[str, Any]]:
    return [{"model_id": MODEL, "input_data": number, **options} for number in range(n)]


def ids_of(response: httpx.Response) -> list[JobId]:
    assert response.status_code == 202, response.text
    return [JobId(job["job_id"]) for job in response.json()["jobs"]]


async def n_stored(http: httpx.AsyncClient) -> int:
    return len((await http.get("/jobs?limit=100")).json()["jobs"])


async def test_a_list_is_stored_in_its_order_each_with_its_own_links(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()

    response = await http.post("/jobs/inference", json=inputs(20))

    ids = ids_of(response)
    assert all(a < b for a, b in pairwise(ids))
    for place, (job, job_id) in enumerate(zip(response.json()["jobs"], ids, strict=True)):
        assert (job["status"], job["urls"]["self"]) == ("queued", f"/jobs/{job_id}")
        stored = await drive.jobs.find(job_id)
        assert (stored.spec.input_data, stored.spec.model_id) == (place, f"{MODEL}@1")
    entries = await drive.client.xrange(keys.ready(INFERENCE, Lane.NORMAL))
    assert [fields[b"job"].decode() for _, fields in entries] == ids


async def test_the_longest_list_is_one_step(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()

    assert len(set(ids_of(await http.post("/jobs/inference", json=inputs(LONGEST))))) == LONGEST

    too_long = await http.post("/jobs/inference", json=inputs(LONGEST + 1))
    assert too_long.status_code == 422
    assert too_long.json()["errors"][0]["code"] == "out_of_range"


@pytest.mark.parametrize(
    ("wrong", "status", "pointer"),
    [
        ({"model_id": MODEL}, 422, "/3/input_data"),
        ({"model_id": MODEL, "input_data": 1, "color": "red"}, 422, "/3/color"),
        ({"model_id": MODEL, "input_data": 1, "queue": "inference-other"}, 422, "/3/queue"),
        ({"model_id": MODEL, "input_data": 1, "queue": "training"}, 422, "/3/queue"),
        ({"model_id": MODEL, "input_data": 1, "depends_on": ["nothing"]}, 422, "/3/depends_on/0"),
        ([], 422, "/3"),
        ({"model_id": "no-such", "input_data": 1}, 404, None),
    ],
)
async def test_one_that_will_not_do_is_named_and_none_is_stored(
    http: httpx.AsyncClient, drive: Driver, wrong: Any, status: int, pointer: str | None
) -> None:
    await drive.publish()

    answer = await http.post("/jobs/inference", json=[*inputs(3), wrong, *inputs(2)])

    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    if pointer is None:
        assert "job 3 of the list" in problem["detail"]
    else:
        assert [item["pointer"] for item in problem["errors"]] == [pointer]
    assert "jobs" not in problem
    assert await n_stored(http) == 1, "the job that published the model, and no other"


@pytest.mark.parametrize("body", ["[]", "[[]]", "[null]", "[1", '["x"]'])
async def test_what_is_no_list_of_jobs_is_refused(http: httpx.AsyncClient, body: str) -> None:
    response = await http.post("/jobs/training", content=body, headers={"content-type": "application/json"})

    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
    assert await n_stored(http) == 0


async def test_the_same_key_and_list_is_the_same_jobs(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    first = await http.post("/jobs/inference", json=inputs(5), headers=KEY)
    await http.post(f"/jobs/{ids_of(first)[0]}/cancel")

    second = await http.post("/jobs/inference", json=inputs(5), headers=KEY)

    assert ids_of(second) == ids_of(first)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert [job["status"] for job in second.json()["jobs"]] == ["cancelled", *["queued"] * 4]


@pytest.mark.parametrize("other", [inputs(4), inputs(6), inputs(5, priority="low"), inputs(5)[0]])
async def test_the_same_key_with_another_list_stores_none_of_it(
    http: httpx.AsyncClient, drive: Driver, other: Any
) -> None:
    await drive.publish()
    ids_of(await http.post("/jobs/inference", json=inputs(5), headers=KEY))

    answer = await http.post("/jobs/inference", json=other, headers=KEY)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await n_stored(http) == 1 + 5


async def test_lists_with_the_same_key_sent_at_once_are_one(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    answers: list[list[JobId]] = []

    async def post() -> None:
        answers.append(ids_of(await http.post("/jobs/inference", json=inputs(7), headers=KEY)))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(post)

    assert all(ids == answers[0] for ids in answers)
    assert await n_stored(http) == 1 + 7


async def test_a_list_can_be_followed_in_the_response_to_its_submission(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    done: set[str] = set()
    headers = {"accept": "text/event-stream"}

    async with http.stream("POST", "/jobs/inference", json=inputs(3), headers=headers) as response:
        assert response.status_code == 200
        begun = False
        async for frame in frames(response):
            data = json.loads(frame.data)
            if not begun:
                begun = True
                for job in (await http.get("/jobs?kind=inference")).json()["jobs"]:
                    await drive.finish(job["id"])
            if frame.event == "done":
                done.add(data["job_id"])
            assert decode_event(frame.data.encode())

    assert len(done) == 3


async def test_more_jobs_than_a_stream_can_follow_are_refused_before_any_is_stored(http: httpx.AsyncClient) -> None:
    response = await http.post("/jobs/training", json=[TRAINING_BODY] * 101, headers={"accept": "text/event-stream"})

    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")
    assert await n_stored(http) == 0
