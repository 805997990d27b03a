"""What is published, what is queued, who works, and whether the gateway can serve."""

import os
from datetime import UTC, datetime

import httpx
from shared_schemas.ids import default_queue
from shared_schemas.kinds import JobKind
from shared_schemas.stream.connection import connect_for_thread
from shared_schemas.stream.known_bugs import warnings_of
from shared_schemas.stream.leases import Leases
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.workers import worker_facts

from tests.support.gateways import MODEL, TRAINING_BODY, Driver


async def test_models_are_listed_by_name_with_their_latest_version(http: httpx.AsyncClient, drive: Driver) -> None:
    for name in ("b", "a", "c", "b"):
        await drive.publish(name)

    first = (await http.get("/models", params={"limit": 2})).json()
    second = (await http.get("/models", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [(model["name"], model["version"]) for model in first["models"]] == [("a", 1), ("b", 2)]
    assert [model["name"] for model in second["models"]] == ["c"]
    assert second["next_cursor"] is None


async def test_a_model_shows_all_its_versions_and_where_each_came_from(http: httpx.AsyncClient, drive: Driver) -> None:
    made_by = [await drive.publish() for _ in range(2)]

    versions = (await http.get(f"/models/{MODEL}")).json()["versions"]

    assert [(model["version"], model["job_id"], model["aliases"]) for model in versions] == [
        (2, made_by[1], ["latest"]),
        (1, made_by[0], []),
    ]
    assert versions[0]["manifest"]["task"] == "tabular-regression"


async def test_an_alias_names_a_version_until_it_is_moved(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    await drive.publish()

    for version in (2, 1):
        answer = await http.put(f"/models/{MODEL}/aliases/prod", json={"version": version})
        assert (answer.status_code, answer.json()["version"]) == (200, version)
        assert (await http.get(f"/models/{MODEL}/versions/prod")).json()["version"] == version
    job = await http.post("/jobs/inference", json={"model_id": f"{MODEL}@prod", "input_data": 1})

    assert (await drive.jobs.find(job.json()["job_id"])).spec.model_id == f"{MODEL}@1"


async def test_an_alias_can_name_only_what_is_published_and_never_takes_the_names_of_versions(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    await drive.publish()

    async def put(name: str, alias: str, body: object) -> tuple[int, str]:
        response = await http.put(f"/models/{name}/aliases/{alias}", json=body)
        return response.status_code, response.json()["code"]

    assert await put(MODEL, "prod", {"version": 2}) == (404, "model_not_found")
    assert await put("other", "prod", {"version": 1}) == (404, "model_not_found")
    assert await put(MODEL, "latest", {"version": 1}) == (422, "invalid_parameter")
    assert await put(MODEL, "7", {"version": 1}) == (422, "invalid_parameter")
    assert await put(MODEL, "UP", {"version": 1}) == (422, "invalid_parameter")
    assert await put(MODEL, "prod", {"version": 0}) == (422, "invalid_body")
    assert await put(MODEL, "prod", {}) == (422, "invalid_body")


async def test_a_queue_counts_its_jobs(http: httpx.AsyncClient, drive: Driver) -> None:
    ids = [(await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"] for _ in range(3)]
    await http.post(f"/jobs/{ids[2]}/cancel")
    await drive.begin(ids[0])

    queue = (await http.get("/queues/training")).json()

    assert (queue["jobs"]["cancelled"], sum(queue["jobs"].values())) == (1, 3)
    assert (queue["kind"], queue["dead"], queue["workers"]) == ("training", 0, 0)
    assert queue in (await http.get("/queues")).json()["queues"]


async def test_a_registered_worker_is_shown_with_what_it_runs(
    http: httpx.AsyncClient, drive: Driver, redis_url: str
) -> None:
    job_id = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
    claim = await drive.begin(job_id)
    client = connect_for_thread(RedisSettings(redis_url=redis_url))
    facts = worker_facts(
        host="h", pid=os.getpid(), slots=2, started_at=datetime.now(UTC), state="working", jobs=[claim.job_id],
        facts={"device": "cpu"},
    )  # fmt: skip
    Leases(client, default_queue(JobKind.TRAINING), worker="driver", lease_s=30.0).renew({job_id: claim.fence}, facts)
    client.close()

    [worker] = (await http.get("/workers")).json()["workers"]

    assert (worker["name"], worker["slots"], worker["jobs"]) == ("driver", 2, [job_id])
    assert worker["facts"] == {"device": "cpu"}
    assert (await http.get("/queues/training")).json()["workers"] == 1


async def test_a_gateway_with_a_sound_redis_is_ready_and_says_what_its_version_is_known_for(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    known = warnings_of(await drive.client.info())

    assert (await http.get("/readyz")).json() == {"status": "ok", "faults": [], "warnings": known}
    assert (await http.get("/healthz")).json()["status"] == "ok"


async def test_a_gateway_whose_redis_may_lose_jobs_says_so(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        response = await http.get("/readyz")
    finally:
        await drive.client.config_set("maxmemory-policy", "noeviction")

    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json()["faults"] == ["maxmemory-policy is allkeys-lru: it may evict jobs; set it to noeviction"]
