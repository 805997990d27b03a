"""POST /jobs/training and /jobs/inference: what is stored, and what comes back."""

import json

import anyio
import httpx
import pytest
from shared_schemas.ids import QueueName, parse_job_id
from shared_schemas.job import JobState

from tests.support.gateways import MODEL, TRAINING_BODY, Driver, frames, succeeded

INFERENCE_BODY = {"model_id": MODEL, "input_data": "sample text"}


async def test_the_seed_command_for_training_is_accepted_as_it_stands(http: httpx.AsyncClient, drive: Driver) -> None:
    response = await http.post("/jobs/training", json=TRAINING_BODY)

    assert response.status_code == 202
    body = response.json()
    assert body["status"] == "queued"
    assert response.headers["location"] == body["urls"]["self"] == f"/jobs/{body['job_id']}"
    assert {"self", "status", "events", "result", "cancel"} <= set(body["urls"])
    job = await drive.jobs.find(parse_job_id(body["job_id"]))
    assert job.state is JobState.QUEUED
    assert job.queue == "training"
    assert job.spec.seed is not None


async def test_every_url_of_a_reply_leads_somewhere(http: httpx.AsyncClient, drive: Driver) -> None:
    body = (await http.post("/jobs/training", json=TRAINING_BODY)).json()
    await drive.finish(body["job_id"])

    for name, url in body["urls"].items():
        if name == "cancel":
            assert (await http.get(url)).headers["allow"] == "OPTIONS, POST"
        else:
            assert (await http.get(url)).status_code == 200, name


@pytest.mark.parametrize("model_id", [MODEL, f"{MODEL}@1", f"{MODEL}@latest"])
async def test_a_model_is_pinned_to_its_version_at_submission(
    http: httpx.AsyncClient, drive: Driver, model_id: str
) -> None:
    await drive.publish()

    body = (await http.post("/jobs/inference", json={**INFERENCE_BODY, "model_id": model_id})).json()
    await drive.publish()

    job = await drive.jobs.find(body["job_id"])
    assert job.spec.model_id == f"{MODEL}@1"
    assert job.spec.parameters.seed is not None


async def test_a_model_may_be_named_by_the_job_that_trained_it(http: httpx.AsyncClient, drive: Driver) -> None:
    trained_by = await drive.publish()

    body = (await http.post("/jobs/inference", json={**INFERENCE_BODY, "model_id": trained_by})).json()

    assert (await drive.jobs.find(body["job_id"])).spec.model_id == f"{MODEL}@1"


async def test_a_model_still_in_training_may_be_named_by_a_job_that_waits_for_it(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    training = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
    body = {**INFERENCE_BODY, "model_id": training}

    refused = await http.post("/jobs/inference", json=body)
    accepted = await http.post("/jobs/inference", json={**body, "depends_on": [training]})

    assert (refused.status_code, refused.json()["code"]) == (404, "model_not_found")
    assert accepted.json()["status"] == "scheduled"
    assert (await drive.jobs.find(accepted.json()["job_id"])).spec.model_id == training


async def test_nothing_is_stored_for_an_unknown_model(http: httpx.AsyncClient, drive: Driver) -> None:
    response = await http.post("/jobs/inference", json={"model_id": "model_123", "input_data": "sample text"})

    assert (response.status_code, response.json()["code"]) == (404, "model_not_found")
    assert await drive.count_jobs() == 0


async def test_seeds_and_queues_that_were_given_are_kept(http: httpx.AsyncClient, drive: Driver) -> None:
    body = {**TRAINING_BODY, "seed": 7, "queue": "training-large", "priority": "high", "tags": ["a"]}
    await drive.catalog.declare(QueueName("training-large"))

    job_id = (await http.post("/jobs/training", json=body)).json()["job_id"]

    job = await drive.jobs.find(job_id)
    assert (job.spec.seed, job.queue, job.priority) == (7, "training-large", "high")
    assert (await http.get("/queues/training-large")).json()["jobs"]["queued"] == 1


async def test_a_job_for_later_is_scheduled(http: httpx.AsyncClient) -> None:
    response = await http.post("/jobs/training", json={**TRAINING_BODY, "run_at": "2125-01-01T00:00:00Z"})

    assert response.json()["status"] == "scheduled"
    status = (await http.get(response.json()["urls"]["status"])).json()
    assert (status["status"], status["due_at"]) == ("scheduled", "2125-01-01T00:00:00Z")


async def test_the_same_key_and_body_give_the_same_job(http: httpx.AsyncClient, drive: Driver) -> None:
    headers = {"Idempotency-Key": "k-1"}

    first = await http.post("/jobs/training", json=TRAINING_BODY, headers=headers)
    again = await http.post("/jobs/training", json={**TRAINING_BODY, "priority": "normal"}, headers=headers)
    other = await http.post("/jobs/training", json={**TRAINING_BODY, "seed": 1}, headers=headers)

    assert "idempotency-replayed" not in first.headers
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert again.json()["job_id"] == first.json()["job_id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await drive.count_jobs() == 1


async def test_fifty_submissions_at_once_with_one_key_make_one_job(http: httpx.AsyncClient, drive: Driver) -> None:
    replies: list[httpx.Response] = []

    async def submit() -> None:
        replies.append(await http.post("/jobs/training", json=TRAINING_BODY, headers={"Idempotency-Key": "k"}))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(submit)

    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["job_id"] for reply in replies}) == 1
    assert sum("idempotency-replayed" not in reply.headers for reply in replies) == 1
    assert await drive.count_jobs() == 1


async def test_more_requests_at_once_than_redis_connections_are_all_served(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    await drive.publish()
    statuses: list[int] = []

    async def submit() -> None:
        statuses.append((await http.post("/jobs/inference", json=INFERENCE_BODY)).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(400):
            group.start_soon(submit)

    assert statuses == [202] * 400


async def test_prefer_wait_answers_with_the_job_as_soon_as_it_has_ended(http: httpx.AsyncClient, drive: Driver) -> None:
    replies: list[httpx.Response] = []

    async def submit() -> None:
        replies.append(await http.post("/jobs/training", json=TRAINING_BODY, headers={"Prefer": "wait=20"}))

    async with anyio.create_task_group() as group:
        group.start_soon(submit)
        job_id = await the_only_job(http)
        await drive.finish(job_id, succeeded({"answer": 42}))

    assert replies[0].status_code == 200
    assert replies[0].headers["preference-applied"] == "wait=20"
    assert (replies[0].json()["job_id"], replies[0].json()["status"]) == (job_id, "succeeded")
    assert replies[0].json()["result"] == {"answer": 42}


async def test_prefer_wait_answers_202_when_the_time_is_over(http: httpx.AsyncClient) -> None:
    response = await http.post("/jobs/training", json=TRAINING_BODY, headers={"Prefer": "respond-async, wait=1"})

    assert (response.status_code, response.json()["status"]) == (202, "queued")


async def test_a_submission_can_stream_its_own_events(http: httpx.AsyncClient, drive: Driver) -> None:
    headers = {"Accept": "text/event-stream"}

    async with http.stream("POST", "/jobs/training", json=TRAINING_BODY, headers=headers) as response:
        job_id = response.headers["location"].removeprefix("/jobs/")
        stream = frames(response)
        first = await anext(stream)
        await drive.finish(job_id, n_events=2)
        rest = [frame async for frame in stream]

    assert [frame.event for frame in (first, *rest)] == ["state", "state", "log", "log", "done"]
    assert [frame.id for frame in (first, *rest)] == ["1", "2", "3", "4", "5"]


async def test_what_was_submitted_comes_back_as_it_was(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    text = 'Zürich 🏔 \u2028 \x7f " \\ ' + "x" * 100_000
    body = {
        "model_id": MODEL,
        "input_data": [text, {"deep": [1, 2.5, None, True, 12345678901234567890]}, []],
        "metadata": {"": "empty", "ключ": "значение"},
        "tags": ["a:b", "c.d-e_f"],
    }

    job_id = (await http.post("/jobs/inference", content=json.dumps(body), headers=JSON)).json()["job_id"]

    spec = (await http.get(f"/jobs/{job_id}")).json()["spec"]
    assert spec["input_data"] == body["input_data"]
    assert (spec["metadata"], spec["tags"]) == (body["metadata"], body["tags"])


JSON = {"Content-Type": "application/json"}


async def the_only_job(http: httpx.AsyncClient) -> str:
    """Wait for it on the stream of all jobs."""
    async with http.stream("GET", "/events", params={"after": "0"}) as response:
        async for frame in frames(response):
            return str(frame.json["job_id"])
    raise AssertionError
