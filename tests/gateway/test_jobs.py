"""One job: how it stands, how it ended, and what can be asked of it."""

from typing import Any

import httpx
import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Checkpointed, Measured
from shared_schemas.ids import JobId, QueueName
from shared_schemas.outcome import Cancellation, Failure, Outcome, Release

from tests.support.gateways import MODEL, TRAINING_BODY, Driver, driver, progressed, succeeded

FAILED = Failure(ErrorInfo(code="data_empty", message="the file has no rows", row=1, column="text"))


async def submitted(http: httpx.AsyncClient, **fields: Any) -> JobId:
    response = await http.post("/jobs/training", json={**TRAINING_BODY, **fields})
    assert response.status_code == 202, response.text
    return JobId(response.json()["job_id"])


async def status_of(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    response = await http.get(f"/jobs/{job_id}/status")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_a_queued_job_tells_its_place(http: httpx.AsyncClient) -> None:
    first, second = await submitted(http), await submitted(http)
    urgent = await submitted(http, priority="high")

    places = {job_id: (await status_of(http, job_id))["queue_position"] for job_id in (urgent, first, second)}

    assert places == {urgent: 0, first: 1, second: 2}


async def test_a_running_job_tells_how_far_it_is(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    claim = await drive.begin(job_id)
    checkpoint = Checkpointed(step=3, artifact=ArtifactRef(sha256="b" * 64, n_bytes=9))
    await drive.record(claim, progressed(3, 10), Measured(split="train", step=3, values={"loss": 0.5}), checkpoint)

    status = await status_of(http, job_id)
    full = (await http.get(f"/jobs/{job_id}")).json()

    assert (status["status"], status["queue_position"], status["attempt"]) == ("running", None, 1)
    assert status["progress"] == {"fraction": 0.3, "step": 3, "total": 10}
    assert status["metrics"] == {"train": {"loss": 0.5}}
    assert (status["worker"], status["last_event"]) == ("driver", 5)
    assert (full["status"], full["state"], full["id"]) == ("running", "running", job_id)
    assert full["checkpoint"]["step"] == 3
    assert full["spec"]["data_path"] == TRAINING_BODY["data_path"]


async def test_a_job_that_succeeded_gives_its_result(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, succeeded({"model": "m@1"}))

    assert (await http.get(f"/jobs/{job_id}/result")).json() == {
        "job_id": job_id,
        "status": "succeeded",
        "result": {"model": "m@1"},
        "error": None,
        "cached_from": None,
    }
    assert (await status_of(http, job_id))["result"] == {"model": "m@1"}


async def test_a_job_that_failed_gives_its_error_as_the_result(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, FAILED)

    response = await http.get(f"/jobs/{job_id}/result")

    assert (response.status_code, response.json()["status"], response.json()["result"]) == (200, "failed", None)
    error = {"code": "data_empty", "message": "the file has no rows", "row": 1, "column": "text"}
    assert response.json()["error"] == (await status_of(http, job_id))["error"] == error


async def test_an_open_job_has_no_result_yet(http: httpx.AsyncClient) -> None:
    response = await http.get(f"/jobs/{await submitted(http)}/result")

    assert (response.status_code, response.json()["code"]) == (409, "not_finished")


@pytest.mark.parametrize("path", ["", "/status", "/result", "/events", "/cancel", "/retry", "/replay"])
async def test_a_job_past_its_time_is_gone(http: httpx.AsyncClient, drive: Driver, path: str) -> None:
    job_id = await submitted(http, result_ttl_s=1)
    await drive.finish(job_id)
    # The job is due to be dropped now instead of in a second.
    await drive.client.zadd("{hr:training}:expiring", {job_id: 1})
    await drive.sweep(job_id[:8])  # type: ignore[arg-type]

    response = await http.request(
        "POST" if path in ("/cancel", "/retry", "/replay") else "GET", f"/jobs/{job_id}{path}"
    )

    assert (response.status_code, response.json()["code"]) == (410, "job_expired")


async def test_a_job_that_nobody_begins_in_time_fails_with_no_worker_alive(http: httpx.AsyncClient) -> None:
    job_id = await submitted(http, start_deadline_s=0.01)

    async with http.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "application/x-ndjson"}) as response:
        lines = [line async for line in response.aiter_lines()]

    assert '"code":"start_deadline_exceeded"' in lines[-1]
    assert (await status_of(http, job_id))["status"] == "failed"


async def test_a_queued_job_is_cancelled_at_once_and_twice_is_fine(http: httpx.AsyncClient) -> None:
    job_id = await submitted(http)

    answers = [await http.post(f"/jobs/{job_id}/cancel") for _ in range(2)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "cancelled")] * 2


async def test_a_running_job_is_asked_to_end(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    claim = await drive.begin(job_id)

    answers = [await http.post(f"/jobs/{job_id}/cancel") for _ in range(2)]
    await drive.settle(claim, Cancellation())

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["cancel_requested"] for answer in answers] == [True, True]
    assert (await status_of(http, job_id))["status"] == "cancelled"


@pytest.mark.parametrize("outcome", [succeeded(), FAILED])
async def test_a_job_that_has_ended_cannot_be_cancelled(
    http: httpx.AsyncClient, drive: Driver, outcome: Outcome
) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, outcome)

    response = await http.post(f"/jobs/{job_id}/cancel")

    assert (response.status_code, response.json()["code"]) == (409, "state_conflict")


async def test_a_queued_job_is_set_aside_and_goes_on(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)

    paused = await http.post(f"/jobs/{job_id}/pause")
    resumed = await http.post(f"/jobs/{job_id}/resume")

    assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    assert (resumed.status_code, resumed.json()["status"]) == (200, "queued")
    await drive.finish(job_id)


async def test_a_running_job_is_asked_to_pause(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    claim = await drive.begin(job_id)

    asked = await http.post(f"/jobs/{job_id}/pause")
    await drive.settle(claim, Release())

    assert (asked.status_code, asked.json()["pause_requested"]) == (202, True)
    assert (await status_of(http, job_id))["status"] == "paused"


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_a_job_that_has_ended_is_neither_paused_nor_resumed(
    http: httpx.AsyncClient, drive: Driver, verb: str
) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id)

    response = await http.post(f"/jobs/{job_id}/{verb}")

    assert (response.status_code, response.json()["code"]) == (409, "state_conflict")


async def test_a_failed_job_is_retried_once_as_a_new_one(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http, seed=5, tags=["t"])
    await drive.finish(job_id, FAILED)
    assert [job["id"] for job in (await http.get("/dead-letters")).json()["jobs"]] == [job_id]

    first, second = await http.post(f"/jobs/{job_id}/retry"), await http.post(f"/jobs/{job_id}/retry")

    assert first.status_code == 202
    retry = (await http.get(first.headers["location"])).json()
    assert (retry["retry_of"], retry["status"], retry["spec"]["seed"]) == (job_id, "queued", 5)
    assert (second.status_code, second.json()["code"]) == (409, "state_conflict")
    assert (await status_of(http, job_id))["status"] == "failed"
    assert (await http.get("/dead-letters")).json()["jobs"] == []


@pytest.mark.parametrize("ends", [True, False])
async def test_only_a_job_that_did_not_succeed_is_retried(http: httpx.AsyncClient, drive: Driver, ends: bool) -> None:
    job_id = await submitted(http)
    if ends:
        await drive.finish(job_id)

    response = await http.post(f"/jobs/{job_id}/retry")

    assert (response.status_code, response.json()["code"]) == (409, "state_conflict")


@pytest.mark.parametrize(("digest", "identical"), [("a" * 64, True), ("b" * 64, False)])
async def test_a_replay_says_whether_the_result_is_identical(
    http: httpx.AsyncClient, drive: Driver, digest: str, identical: bool
) -> None:
    job_id = await submitted(http, start_deadline_s=60)
    original = (await http.get(f"/jobs/{job_id}")).json()
    await drive.finish(job_id, succeeded({"took_s": 1}, digest="a" * 64))

    answer = await http.post(f"/jobs/{job_id}/replay")
    replay_id = JobId(answer.json()["job_id"])
    before = await status_of(http, replay_id)
    await drive.finish(replay_id, succeeded({"took_s": 2}, digest=digest))

    replay = (await http.get(f"/jobs/{replay_id}")).json()
    assert answer.status_code == 202
    assert before["replay"] == {"of": job_id, "identical": None}
    assert replay["replay"] == {"of": job_id, "identical": identical}
    assert replay["spec"]["seed"] == original["spec"]["seed"]
    assert "start_deadline_s" not in replay["spec"]


ON_TWO = {"device": "cpu", "threads": "2", "torch": "2.9"}


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        (ON_TWO, ON_TWO | {"threads": "1"}, ["threads"]),
        (ON_TWO, {"device": "cuda", "threads": "2", "torch": "2.10"}, ["device", "torch"]),
        (ON_TWO, ON_TWO | {"start": "c" * 16}, ["start"]),
        (ON_TWO, ON_TWO, ["unknown"]),
        ({}, ON_TWO, None),
    ],
)
async def test_a_replay_that_is_not_identical_says_what_was_different(
    http: httpx.AsyncClient, drive: Driver, before: dict[str, str], after: dict[str, str], differs: list[str] | None
) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, succeeded({}, digest="a" * 64, facts=before))
    replay_id = JobId((await http.post(f"/jobs/{job_id}/replay")).json()["job_id"])
    await drive.finish(replay_id, succeeded({}, digest="b" * 64, facts=after))

    replay = (await http.get(f"/jobs/{replay_id}")).json()

    named = {} if differs is None else {"differs": differs}
    assert replay["replay"] == {"of": job_id, "identical": False, **named}
    assert replay["facts"] == after
    assert (await status_of(http, replay_id))["replay"] == replay["replay"]


async def test_a_replay_that_failed_differs_in_its_state(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, succeeded({}, digest="a" * 64, facts=ON_TWO))
    replay_id = JobId((await http.post(f"/jobs/{job_id}/replay")).json()["job_id"])
    await drive.finish(replay_id, FAILED)

    assert (await status_of(http, replay_id))["replay"] == {"of": job_id, "identical": False, "differs": ["state"]}


async def test_a_replay_of_a_job_that_had_no_result_has_nothing_to_compare(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    job_id = await submitted(http)
    await http.post(f"/jobs/{job_id}/cancel")
    replay_id = JobId((await http.post(f"/jobs/{job_id}/replay")).json()["job_id"])
    await drive.finish(replay_id)

    assert (await status_of(http, replay_id))["replay"] == {"of": job_id, "identical": None}


async def test_a_scheduled_job_says_which_jobs_it_still_waits_for(http: httpx.AsyncClient, drive: Driver) -> None:
    done, open_still = await submitted(http), await submitted(http)
    await drive.finish(done)
    waiting = await submitted(http, depends_on=[done, open_still])

    assert (await status_of(http, waiting))["waits_for"] == [open_still]
    assert (await status_of(http, open_still))["waits_for"] == []


async def test_a_queued_job_says_whether_anybody_serves_its_queue(http: httpx.AsyncClient, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        await drive.catalog.declare(QueueName("training-nobody"))
    job_id = await submitted(http, queue="training-nobody")
    assert (await status_of(http, job_id))["workers"] == 0


async def test_a_replay_whose_original_is_gone_cannot_tell(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id)
    replay_id = JobId((await http.post(f"/jobs/{job_id}/replay")).json()["job_id"])
    await drive.finish(replay_id)
    await drive.client.zadd("{hr:training}:expiring", {job_id: 1})
    await drive.sweep(job_id[:8])  # type: ignore[arg-type]

    assert (await status_of(http, replay_id))["replay"] == {"of": job_id, "identical": None}


async def test_a_replay_of_inference_runs_the_version_that_was_pinned(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    job_id = JobId((await http.post("/jobs/inference", json={"model_id": MODEL, "input_data": 1})).json()["job_id"])
    await drive.finish(job_id)
    await drive.publish()

    replay = await http.post(f"/jobs/{job_id}/replay")

    old, new = (await http.get(f"/jobs/{job_id}")).json(), (await http.get(replay.headers["location"])).json()
    assert old["spec"]["model_id"] == new["spec"]["model_id"] == f"{MODEL}@1"
    assert old["spec"]["parameters"] == new["spec"]["parameters"]


@pytest.mark.parametrize("way", ["by id", "by filter"])
async def test_a_retry_of_a_replay_is_a_replay_of_the_same_job(
    http: httpx.AsyncClient, drive: Driver, way: str
) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, succeeded({"took_s": 1}, digest="a" * 64))
    replay_id = JobId((await http.post(f"/jobs/{job_id}/replay")).json()["job_id"])
    await drive.finish(replay_id, FAILED)

    if way == "by id":
        retry_id = JobId((await http.post(f"/jobs/{replay_id}/retry")).json()["job_id"])
    else:
        retried = await http.post("/dead-letters/retry", json={"code": "data_empty"})
        retry_id = JobId(retried.json()["jobs"][0]["retried_as"])
    claim = await drive.finish(retry_id, succeeded({"took_s": 2}, digest="a" * 64))

    retry = (await http.get(f"/jobs/{retry_id}")).json()
    assert claim.replay_of == job_id
    assert (retry["retry_of"], retry["replay_of"]) == (replay_id, job_id)
    assert retry["replay"] == {"of": job_id, "identical": True}


async def test_a_replay_of_a_training_names_no_model(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await drive.publish()
    replay_id = JobId((await http.post(f"/jobs/{job_id}/replay")).json()["job_id"])
    waiting = {"model_id": replay_id, "input_data": [1], "depends_on": [replay_id]}

    early = await http.post("/jobs/inference", json=waiting)
    await drive.finish(replay_id)
    late = await http.post("/jobs/inference", json={"model_id": replay_id, "input_data": [1]})

    for answer in (early, late):
        assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
        assert "replay" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("given", "pointer"),
    [({}, "/resume_from"), ({"model_type": "mlp"}, "/model_type"), ({"task": "regression"}, "/task")],
    ids=["no checkpoint", "model_type", "task"],
)
async def test_what_cannot_be_resumed_is_refused_at_once(
    http: httpx.AsyncClient, drive: Driver, given: dict[str, str], pointer: str
) -> None:
    source = await submitted(http, task="classification")
    claim = await drive.begin(source)
    saved = [Checkpointed(step=3, artifact=ArtifactRef(sha256="b" * 64, n_bytes=9))] if given else []
    await drive.record(claim, *saved)
    await drive.settle(claim, succeeded(), first=len(saved))

    answer = await http.post("/jobs/training", json={**TRAINING_BODY, "resume_from": source, **given})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")
    assert [item["pointer"] for item in answer.json()["errors"]] == [pointer]


async def test_an_open_job_is_not_replayed(http: httpx.AsyncClient) -> None:
    response = await http.post(f"/jobs/{await submitted(http)}/replay")

    assert (response.status_code, response.json()["code"]) == (409, "state_conflict")
