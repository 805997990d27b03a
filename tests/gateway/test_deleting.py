"""DELETE of a finished job and of a version of a model."""

import httpx
import pytest
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId
from shared_schemas.outcome import Failure
from shared_schemas.specs import InferenceSpec, TrainingSpec

from tests.support.gateways import INFERENCE, TRAINING, TRAINING_BODY, Driver
from tests.support.workers import Bench

BAD = ErrorInfo(code="data_empty", message="no rows")
UNKNOWN = "training-01arz3ndektsv4rrffq69g5fav"


async def a_job(drive: Driver, **fields: object) -> JobId:
    spec = TrainingSpec(model_type="mlp", data_path="a.csv", seed=1, **fields)  # type: ignore[arg-type]
    return await Bench(drive.client).submit(spec, queue=TRAINING)


async def keys_of(drive: Driver, job_id: JobId) -> list[bytes]:
    return [key async for key in drive.client.scan_iter(match=f"*{job_id}*", count=1000)]


async def test_a_finished_job_is_gone_with_all_that_belongs_to_it(http: httpx.AsyncClient, drive: Driver) -> None:
    ended = await a_job(drive, tags=("a", "b"))
    await drive.finish(ended, Failure(BAD), n_events=20)
    kept = await a_job(drive, tags=("a",))
    await drive.finish(kept, Failure(BAD))

    deleted = await http.delete(f"/jobs/{ended}")
    again = await http.delete(f"/jobs/{ended}")

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (again.status_code, again.json()["code"]) == (404, "job_not_found")
    for path in ("", "/status", "/events", "/result"):
        assert (await http.get(f"/jobs/{ended}{path}")).json()["code"] == "job_not_found"
    for query in ({}, {"tag": "a"}, {"status": "failed"}):
        assert [job["id"] for job in (await http.get("/jobs", params=query)).json()["jobs"]] == [kept]
    for query in ({}, {"code": BAD.code}):
        assert [job["id"] for job in (await http.get("/dead-letters", params=query)).json()["jobs"]] == [kept]
    assert (await http.get("/jobs", params={"tag": "b"})).json()["jobs"] == []
    assert await keys_of(drive, ended) == []
    expiring = await drive.client.zrange(f"{{hr:{TRAINING}}}:expiring", 0, -1)
    assert expiring == [kept.encode()]


@pytest.mark.parametrize("state", ["scheduled", "queued", "running", "paused"])
async def test_a_job_that_has_not_ended_is_not_deleted(http: httpx.AsyncClient, drive: Driver, state: str) -> None:
    parent = await a_job(drive) if state == "scheduled" else None
    job_id = await a_job(drive, depends_on=() if parent is None else (parent,))
    if state == "running":
        await drive.begin(job_id)
    if state == "paused":
        await drive.control.pause(job_id)

    answer = await http.delete(f"/jobs/{job_id}")

    assert (answer.status_code, answer.json()["code"]) == (409, "state_conflict")
    assert (await http.get(f"/jobs/{job_id}")).json()["state"] == state


@pytest.mark.parametrize("id", [UNKNOWN, "nonsense", "training-01arz3ndektsv4rrffq69g5fav%0a"])
async def test_an_unknown_job_is_not_found(http: httpx.AsyncClient, id: str) -> None:
    answer = await http.delete(f"/jobs/{id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


@pytest.mark.parametrize("use", ["depends_on", "resume_from"])
async def test_a_job_that_another_needs_is_kept_until_that_has_ended(
    http: httpx.AsyncClient, drive: Driver, use: str
) -> None:
    needed = await a_job(drive)
    user = await a_job(drive, **({"depends_on": (needed,)} if use == "depends_on" else {"resume_from": needed}))
    await drive.finish(needed)

    refused = await http.delete(f"/jobs/{needed}")
    if use == "depends_on":
        await drive.control.cancel(user)
    else:
        await drive.finish(user)
    deleted = await http.delete(f"/jobs/{needed}")

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert user in refused.json()["detail"]
    assert deleted.status_code == 204


async def test_a_job_of_another_queue_that_waits_is_a_user_too(http: httpx.AsyncClient, drive: Driver) -> None:
    needed = await a_job(drive)
    spec = InferenceSpec(model_id="m", input_data="x", depends_on=(needed,))
    await Bench(drive.client).submit(spec, queue=INFERENCE)
    await drive.claims(INFERENCE).open()
    await drive.finish(needed)

    assert (await http.delete(f"/jobs/{needed}")).json()["code"] == "in_use"


async def test_what_a_deleted_job_published_stays(http: httpx.AsyncClient, drive: Driver) -> None:
    # Nobody has read the registry since it ended.
    job_id = await drive.publish("wine")

    assert (await http.delete(f"/jobs/{job_id}")).status_code == 204
    [version] = (await http.get("/models/wine")).json()["versions"]
    assert (version["version"], version["job_id"]) == (1, job_id)
    assert str((await drive.registry.resolve(job_id)).ref) == "wine@1"


async def test_a_request_that_is_repeated_late_does_not_run_a_deleted_job_again(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    body, headers = TRAINING_BODY, {"Idempotency-Key": "once"}
    job_id = JobId((await http.post("/jobs/training", json=body, headers=headers)).json()["job_id"])
    await drive.finish(job_id)
    await http.delete(f"/jobs/{job_id}")

    again = await http.post("/jobs/training", json=body, headers=headers)

    assert (again.status_code, again.json()["code"]) == (404, "job_not_found")
    assert (await http.get("/jobs")).json()["jobs"] == []


async def test_a_replay_of_a_deleted_job_says_that_nothing_can_be_compared(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    first = await a_job(drive)
    await drive.finish(first)
    second = JobId((await http.post(f"/jobs/{first}/replay")).json()["job_id"])
    await http.delete(f"/jobs/{first}")
    await drive.finish(second)

    replay = (await http.get(f"/jobs/{second}")).json()["replay"]

    assert (replay["of"], replay["identical"]) == (first, None)


async def test_latest_moves_to_the_newest_that_is_left_and_no_number_is_given_twice(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    for _ in range(3):
        await drive.publish("wine")

    for number, left in ((3, [2, 1]), (1, [2])):
        assert (await http.delete(f"/models/wine/versions/{number}")).status_code == 204
        versions = (await http.get("/models/wine")).json()["versions"]
        assert [version["version"] for version in versions] == left
        assert [version["aliases"] for version in versions] == [["latest"], []][: len(left)]
        assert (await http.get("/models/wine/versions/latest")).json()["version"] == left[0]
    assert (await http.delete("/models/wine/versions/3")).json()["code"] == "model_not_found"
    assert (await http.delete("/models/wine/versions/2")).status_code == 204
    assert (await http.get("/models/wine")).json()["code"] == "model_not_found"
    assert (await http.get("/models")).json()["models"] == []

    await drive.publish("wine")
    assert [version["version"] for version in (await http.get("/models/wine")).json()["versions"]] == [4]


async def test_a_version_that_an_alias_names_is_kept(http: httpx.AsyncClient, drive: Driver) -> None:
    for _ in range(2):
        await drive.publish("wine")
    await http.put("/models/wine/aliases/best", json={"version": 1})

    refused = await http.delete("/models/wine/versions/1")
    await http.put("/models/wine/aliases/best", json={"version": 2})
    deleted = await http.delete("/models/wine/versions/1")

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert "best" in refused.json()["detail"]
    assert deleted.status_code == 204


async def test_an_alias_is_deleted_and_its_version_stays(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish("wine")
    await http.put("/models/wine/aliases/best", json={"version": 1})

    deleted = await http.delete("/models/wine/aliases/best")
    again = await http.delete("/models/wine/aliases/best")

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (again.status_code, again.json()["code"]) == (404, "model_not_found")
    assert again.json()["detail"] == "this model has no such alias"
    [version] = (await http.get("/models/wine")).json()["versions"]
    assert version["aliases"] == ["latest"]
    assert (await http.delete("/models/wine/versions/1")).status_code == 204


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/models/wine/aliases/latest", 422, "invalid_parameter"),
        ("/models/wine/aliases/1", 422, "invalid_parameter"),
        ("/models/wine/aliases/UP", 422, "invalid_parameter"),
        ("/models/other/aliases/best", 404, "model_not_found"),
        ("/models/wine@1/aliases/best", 404, "model_not_found"),
    ],
)
async def test_what_is_no_alias_is_not_deleted(
    http: httpx.AsyncClient, drive: Driver, path: str, status: int, code: str
) -> None:
    await drive.publish("wine")
    refused = await http.delete(path)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert (await http.get("/models/wine/versions/latest")).status_code == 200


@pytest.mark.parametrize(
    ("model_id", "says"),
    [
        ("wine@9", "this model has no such version"),
        ("wine@prod", "this model has no such alias"),
        ("other", "no such model is published"),
        ("other@1", "no such model is published"),
    ],
)
async def test_a_version_that_is_missing_is_told_from_a_model_that_is(
    http: httpx.AsyncClient, drive: Driver, model_id: str, says: str
) -> None:
    await drive.publish("wine")
    name, _, version = model_id.partition("@")
    body = {"model_id": model_id, "input_data": [1]}
    answers = [
        await http.post("/jobs/inference", json=body),
        await http.post("/jobs/inference", json=[body]),
        await http.get(f"/models/{name}/versions/{version or 'latest'}"),
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "model_not_found")}
    assert all(says in answer.text for answer in answers), [answer.text for answer in answers]
    assert says in (await http.get(f"/v2/models/{model_id}")).json()["error"]


@pytest.mark.parametrize("named", ["wine", "wine@1", "wine@latest"])
async def test_a_version_that_an_unfinished_job_runs_is_kept(
    http: httpx.AsyncClient, drive: Driver, named: str
) -> None:
    await drive.publish("wine")
    posted = await http.post("/jobs/inference", json={"model_id": named, "input_data": {"a": 1}})
    job_id = JobId(posted.json()["job_id"])

    refused = await http.delete("/models/wine/versions/1")
    await drive.finish(job_id)
    deleted = await http.delete("/models/wine/versions/1")

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert deleted.status_code == 204
    assert (await http.post(f"/jobs/{job_id}/replay")).json()["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/models/wine/versions/2", 404, "model_not_found"),
        ("/models/wine/versions/0", 404, "model_not_found"),
        ("/models/wine/versions/1" + "0" * 30, 404, "model_not_found"),
        ("/models/wine/versions/latest", 422, "invalid_parameter"),
        ("/models/wine/versions/best", 422, "invalid_parameter"),
        ("/models/nothing/versions/1", 404, "model_not_found"),
        ("/models/wine@1/versions/1", 404, "model_not_found"),
        ("/models/WINE/versions/1", 404, "model_not_found"),
        ("/models/wine", 405, "method_not_allowed"),
        ("/jobs", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_one_version_is_not_deleted(
    http: httpx.AsyncClient, drive: Driver, path: str, status: int, code: str
) -> None:
    await drive.publish("wine")

    answer = await http.delete(path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [version["version"] for version in (await http.get("/models/wine")).json()["versions"]] == [1]
