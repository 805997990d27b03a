"""Submissions that are sent many times at once, or interrupted by the death of the gateway: each
makes one job."""

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from headrace import AsyncClient, Settings
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.stream import keys

from tests.support.armed import command
from tests.support.dead_letters import made_dead
from tests.support.gateways import INFERENCE, MODEL, TRAINING, TRAINING_BODY, Gateway, driver, running_gateway

N = 100
KEY = {"Idempotency-Key": "one-key"}
OTHER_BODY = {**TRAINING_BODY, "model_type": "mlp"}
RETRIED_AT_ONCE = 50


def armed(redis_url: str, folder: Path, point: str, *, nth: int = 1) -> Gateway:
    """A gateway that kills itself at the failpoint. When it is started again, the failpoint is not
    armed."""
    gateway = Gateway(redis_url, folder / "gateway.log", module=command("kill", point, "gateway", nth=nth)[2:])
    gateway.start()
    gateway.module = ("gateway",)
    return gateway


async def killed(gateway: Gateway) -> None:
    assert gateway.process is not None
    with anyio.fail_after(30):
        assert await anyio.to_thread.run_sync(gateway.process.wait, abandon_on_cancel=True) == -signal.SIGKILL


@pytest.mark.quick
@pytest.mark.fault("requests", "100 submissions at once with one Idempotency-Key, over two gateways", sees="one job")
async def test_one_key_over_two_gateways_names_one_job(redis_url: str, tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running_gateway(redis_url, tmp_path / "a") as a, running_gateway(redis_url, tmp_path / "b") as b:
        async with driver(redis_url) as drive, a.client() as first, b.client() as second:

            async def submit(http: httpx.AsyncClient) -> None:
                answers.append(await http.post("/jobs/training", json=TRAINING_BODY, headers=KEY))

            async with anyio.create_task_group() as group:
                for i in range(N):
                    group.start_soon(submit, (first, second)[i % 2])
            refused = [await http.post("/jobs/training", json=OTHER_BODY, headers=KEY) for http in (first, second)]
            assert await drive.count_jobs() == 1

    assert [answer.status_code for answer in answers] == [202] * N
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(422, "idempotency_key_reused")] * 2


@pytest.mark.quick
@pytest.mark.fault(
    "requests", "one Idempotency-Key with two bodies, 100 submissions at once over two gateways",
    sees="one job, with the body that arrived first; the other body gets 422",
)  # fmt: skip
async def test_two_bodies_that_race_for_one_key_make_one_job(redis_url: str, tmp_path: Path) -> None:
    answers: list[tuple[str, int, str]] = []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running_gateway(redis_url, tmp_path / "a") as a, running_gateway(redis_url, tmp_path / "b") as b:
        async with driver(redis_url) as drive, a.client() as first, b.client() as second:

            async def submit(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
                answer = await http.post("/jobs/training", json=body, headers=KEY)
                answers.append((body["model_type"], answer.status_code, answer.json().get("job_id", "")))

            async with anyio.create_task_group() as group:
                for i in range(N):
                    group.start_soon(submit, (first, second)[i % 2], (TRAINING_BODY, OTHER_BODY)[i // 2 % 2])
            assert await drive.count_jobs() == 1
            [winner] = {JobId(job_id) for _, status, job_id in answers if status == 202}
            stored = (await drive.jobs.find(winner)).spec.model_type  # type: ignore[union-attr]

    assert Counter((kind, status) for kind, status, _ in answers) == {
        (kind, 202 if kind == stored else 422): N // 2 for kind in ("transformer", "mlp")
    }


@pytest.mark.quick
@pytest.mark.fault(
    "gateways", "kill -9 of the gateway before, just after and well after it stores a job",
    sees="the client repeats the request with the same key at the restarted gateway: one job",
)  # fmt: skip
@pytest.mark.parametrize(
    ("point", "n_stored"),
    [("before_claim_keys", 0), ("after_claim_keys", 0), ("before_submit", 0), ("after_submit", 1), ("job_accepted", 1)],
)
async def test_a_submission_during_which_the_gateway_died_makes_one_job(
    redis_url: str, tmp_path: Path, point: str, n_stored: int
) -> None:
    gateway = armed(redis_url, tmp_path, point)
    submitted: list[str] = []
    async with driver(redis_url) as drive, AsyncClient(gateway.url, settings=Settings(retries=50)) as client:

        async def submit() -> None:
            answer = await client.submit_training(**TRAINING_BODY, idempotency_key=KEY["Idempotency-Key"])
            submitted.append(answer.job_id)

        async with anyio.create_task_group() as group:
            group.start_soon(submit)
            await killed(gateway)
            assert (submitted, await drive.count_jobs()) == ([], n_stored)
            await anyio.to_thread.run_sync(gateway.start)
        try:
            async with gateway.client() as http:
                again = await http.post("/jobs/training", json=TRAINING_BODY, headers=KEY)
                other = await http.post("/jobs/training", json=OTHER_BODY, headers=KEY)
        finally:
            gateway.stop()
        n_jobs = await drive.count_jobs()
        [job_id] = submitted
        await drive.finish(JobId(job_id))
        state = (await drive.jobs.find(JobId(job_id))).state

    assert (again.json()["job_id"], n_jobs) == (job_id, 1)
    assert other.status_code == 422
    assert state is JobState.SUCCEEDED


@pytest.mark.quick
@pytest.mark.fault(
    "gateways", "kill -9 of the gateway in the middle of a bulk retry of dead letters",
    sees="the same request, sent again, continues with the rest: each job is retried once",
)  # fmt: skip
@pytest.mark.parametrize(
    ("point", "n_retried"), [("before_submit", RETRIED_AT_ONCE), ("after_submit", 2 * RETRIED_AT_ONCE)]
)
async def test_a_bulk_retry_during_which_the_gateway_died_continues_where_it_was(
    redis_url: str, tmp_path: Path, point: str, n_retried: int
) -> None:
    async with driver(redis_url) as drive:
        made = await made_dead(drive, TRAINING, ["x"] * 120)
        # The gateway dies in its second step.
        gateway = armed(redis_url, tmp_path, point, nth=2)
        async with gateway.client() as http:
            with pytest.raises(httpx.TransportError):
                await http.post("/dead-letters/retry", json={"code": "x"})
            await killed(gateway)
            assert await drive.count_jobs() == len(made) + n_retried
            await anyio.to_thread.run_sync(gateway.start)
            try:
                rest = (await http.post("/dead-letters/retry", json={"code": "x"})).json()["jobs"]
                none = (await http.post("/dead-letters/retry", json={"code": "x"})).json()["jobs"]
            finally:
                gateway.stop()
        retried = [await drive.dead_letters.status(job_id) for job_id in made]
        n_jobs = await drive.count_jobs()

    # The oldest dead letters were retried first.
    assert [job["job_id"] for job in rest] == made[n_retried:][::-1]
    assert none == []
    assert n_jobs == 2 * len(made)
    assert not any(standing.listed for standing in retried)
    assert len({standing.retried_as for standing in retried} - {None}) == len(made)


@pytest.mark.quick
@pytest.mark.fault(
    "requests", "the gateway is killed behind the lines of a batch that it has stored and not noted",
    sees="no connection; the batch sent again continues, and each line is one job",
)  # fmt: skip
@pytest.mark.parametrize("nth", [1, 3])
async def test_a_batch_whose_gateway_dies_before_it_notes_its_lines_is_stored_once(
    redis_url: str, tmp_path: Path, nth: int
) -> None:
    lines = [{"custom_id": str(n), "body": {"model_id": MODEL, "input_data": n}} for n in range(500)]
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    headers = {**KEY, "content-type": "application/jsonl"}
    async with driver(redis_url) as drive:
        await drive.publish()
        gateway = armed(redis_url, tmp_path, "batch_lines_stored", nth=nth)
        try:
            async with gateway.client() as http:
                with pytest.raises(httpx.TransportError):
                    await http.post("/batches", content=content, headers=headers)
            await killed(gateway)
            stored = await drive.client.xlen(keys.ready(INFERENCE, keys.Lane.NORMAL))
            gateway.start()
            async with gateway.client() as http:
                [interrupted] = (await http.get("/batches")).json()["batches"]
                batch = (await http.post("/batches", content=content, headers=headers)).json()
        finally:
            gateway.stop()

        assert stored == min(nth * 200, 500)
        assert (interrupted["status"], interrupted["batch_id"]) == ("receiving", batch["batch_id"])
        assert (batch["n_lines"], batch["jobs"]["queued"], batch["n_invalid"]) == (500, 500, 0)
        assert await drive.client.xlen(keys.ready(INFERENCE, keys.Lane.NORMAL)) == 500
