"""A submission that waits for the end of its job: it answers what `GET` says later, whatever happened to the job or to
the connections meanwhile."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import httpx
import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Checkpointed, Logged, Measured
from shared_schemas.ids import JobId
from shared_schemas.outcome import Cancellation, Failure, Release, Retry
from shared_schemas.stream import keys
from shared_schemas.stream.recovery import Recovery

from tests.support.fault_proxy import fault_proxy
from tests.support.gateways import (
    DEADLINE_S,
    TRAINING,
    TRAINING_BODY,
    Driver,
    driver,
    progressed,
    running_gateway,
    succeeded,
)
from tests.support.network import Conditions, Way, subscriptions
from tests.support.redis_server import RedisServer
from tests.support.waiting import WAIT, Waiting, has_the_answer_of_get, waiting

FULL = ErrorInfo(code="out_of_memory", message="no room for “ü”", retryable=True)
Course = Callable[[httpx.AsyncClient, Driver, JobId], Awaitable[object]]


async def succeeds(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    result = {"answer": [1, 2.5, "ü", None], "nested": {"a": {}}}
    await drive.finish(job_id, succeeded(result, digest="d" * 64, facts={"device": "cpu", "threads": "2"}))


async def succeeds_with_nothing(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    await drive.finish(job_id, succeeded())


async def fails(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    await drive.finish(job_id, Failure(FULL))


async def is_retried(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    await drive.finish(job_id, Retry(FULL, delay_s=0.0))
    await drive.finish(job_id, succeeded("at last"))


async def fails_after_a_retry(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    await drive.finish(job_id, Retry(FULL, delay_s=0.0))
    await drive.finish(job_id, Failure(ErrorInfo(code="other", message="another one")))


async def is_released(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    await drive.finish(job_id, Release())
    await drive.finish(job_id)


async def is_cancelled_while_queued(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    (await http.post(f"/jobs/{job_id}/cancel")).raise_for_status()


async def is_cancelled_while_it_runs(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    claim = await drive.begin(job_id)
    await http.post(f"/jobs/{job_id}/cancel")
    await drive.settle(claim, Cancellation())


async def succeeds_although_it_was_asked_to_cancel(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    claim = await drive.begin(job_id)
    await http.post(f"/jobs/{job_id}/cancel")
    await drive.settle(claim, succeeded())


async def is_paused_and_resumed(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    await http.post(f"/jobs/{job_id}/pause")
    await http.post(f"/jobs/{job_id}/resume")
    claim = await drive.begin(job_id)
    await http.post(f"/jobs/{job_id}/pause")
    await http.post(f"/jobs/{job_id}/resume")
    await drive.settle(claim, succeeded())


async def shows_progress(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    claim = await drive.begin(job_id)
    saved = Checkpointed(step=7, artifact=ArtifactRef(sha256="a" * 64, n_bytes=1))
    await drive.record(claim, progressed(1, 2), Logged(line="a"), saved)
    await drive.settle(claim, succeeded(), first=3)


async def has_metrics(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    claim = await drive.begin(job_id)
    splits = ("validation", "train", "test")
    await drive.record(claim, *(Measured(split=split, step=1, values={"loss": 0.5, "odd": None}) for split in splits))
    await drive.settle(claim, succeeded(), first=3)


async def has_many_events(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    await drive.finish(job_id, n_events=300)


async def loses_its_workers(http: httpx.AsyncClient, drive: Driver, job_id: JobId) -> None:
    recovery = Recovery(drive.nodes, TRAINING)
    while (await drive.jobs.find(job_id)).state != "failed":
        claim = await drive.begin(job_id)
        seen = [job for job in await recovery.silent_jobs(lease_s=1000.0) if job.job_id == claim.job_id]
        await recovery.reclaim(seen)


@pytest.mark.parametrize(
    "course",
    [
        succeeds,
        succeeds_with_nothing,
        fails,
        is_retried,
        fails_after_a_retry,
        is_released,
        is_cancelled_while_queued,
        is_cancelled_while_it_runs,
        succeeds_although_it_was_asked_to_cancel,
        is_paused_and_resumed,
        shows_progress,
        has_metrics,
        has_many_events,
        loses_its_workers,
    ],
)
async def test_it_answers_what_get_says_however_the_job_went(
    http: httpx.AsyncClient, drive: Driver, course: Course
) -> None:
    async with waiting(http) as (asked, job_id):
        await course(http, drive, job_id)

    await has_the_answer_of_get(http, asked, job_id)


async def test_it_answers_what_get_says_of_a_job_with_every_option(http: httpx.AsyncClient, drive: Driver) -> None:
    parent = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
    options = {
        "depends_on": [parent],
        "tags": ["a", "b"],
        "metadata": {"who": "ü"},
        "priority": "high",
        "hyperparameters": {"epochs": 2, "learning_rate": 1e-3},
        "timeout_s": 60,
        "result_ttl_s": 1000,
        "run_at": "2026-01-01T02:00:00+02:00",
        "start_deadline_s": 1000,
        "retry": {"max_attempts": 2},
    }
    async with waiting(http, options) as (asked, job_id):
        await drive.finish(parent)
        await drive.finish(job_id, succeeded({"loss": 0.25}))

    job = await has_the_answer_of_get(http, asked, job_id)
    assert (job["spec"]["tags"], job["spec"]["depends_on"]) == (["a", "b"], [parent])


async def test_nothing_is_read_for_the_answer(own_redis: RedisServer, tmp_path: Path) -> None:
    async def n_calls(name: str) -> int:
        stats = await drive.client.info("commandstats")
        return int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])

    with running_gateway(own_redis.url, tmp_path, keep_alive_s=3600) as gateway:
        async with gateway.client() as http, driver(own_redis.url) as drive:
            async with waiting(http) as (asked, job_id):
                before = [await n_calls(name) for name in ("hgetall", "xrange")]
                await drive.finish(job_id, succeeded({"answer": 42}))
            after = [await n_calls(name) for name in ("hgetall", "xrange")]
            await has_the_answer_of_get(http, asked, job_id)

    assert before == after


async def test_a_repeated_key_answers_with_the_job_that_the_first_request_made(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    key = {"Idempotency-Key": "one"}
    async with waiting(http, headers=key) as (first, job_id):
        other = Waiting()
        async with anyio.create_task_group() as group:
            group.start_soon(other.run, http, TRAINING_BODY, WAIT | key)
            await drive.finish(job_id, succeeded({"answer": 42}))
    later = await http.post("/jobs/training", json=TRAINING_BODY, headers=WAIT | key)

    await has_the_answer_of_get(http, first, job_id)
    assert other.answer is not None
    assert first.answer is not None
    assert first.answer.content == other.answer.content == later.content
    assert later.headers["idempotency-replayed"] == "true"


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "the subscription is cut while a submission waits for its job, and the job ends meanwhile",
    sees="nothing: the missed events are read, and the answer is complete",
)
@pytest.mark.parametrize("is_begun", [False, True])
async def test_a_lost_subscription_delays_no_answer(http: httpx.AsyncClient, drive: Driver, is_begun: bool) -> None:
    async with waiting(http) as (asked, job_id):
        if is_begun:
            claim = await drive.begin(job_id)
        await drive.client.client_kill_filter(_type="pubsub")
        if not is_begun:
            claim = await drive.begin(job_id)
        await drive.settle(claim, succeeded({"answer": 42}))

    await has_the_answer_of_get(http, asked, job_id)


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "a submission waits for its job, and the subscription is cut before its confirmation has arrived",
    sees="nothing: the timeline is read over the next connection",
)
async def test_a_subscription_that_is_cut_before_it_is_confirmed_delays_no_answer(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    asked = Waiting()
    with (
        fault_proxy(own_redis.url) as proxy,
        running_gateway(proxy.url, tmp_path, keep_alive_s=3600, redis_timeout_s=5) as gateway,
    ):
        async with gateway.client() as http, driver(own_redis.url) as drive:
            claims = drive.claims(TRAINING)
            await claims.open()
            proxy.impose(Conditions(held=frozenset({Way.BACK})), on=subscriptions)
            async with anyio.create_task_group() as group:
                group.start_soon(asked.run, http, TRAINING_BODY, WAIT)
                entries = await claims.wait(timeout_s=2.0)
                [claim] = await claims.claim(1, token="a", entries=entries)
                await drive.settle(claim, succeeded({"answer": 42}))
                proxy.cut(on=subscriptions)
                proxy.heal()
            await has_the_answer_of_get(http, asked, claim.job_id)


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "a notification that a submission waits for is lost",
    sees="nothing: the number of the next one shows it, and the timeline is read",
)
async def test_a_missing_number_makes_it_read_the_timeline(http: httpx.AsyncClient, drive: Driver) -> None:
    async with waiting(http) as (asked, job_id):
        claim = await drive.begin(job_id)
        # As if the notification of event 3 had not come.
        await drive.client.publish(
            keys.job_channel(job_id), '4 log {"n":4,"at":1,"attempt":1,"event":"log","line":"x"}'
        )
        await drive.record(claim, Logged(line="a"))
        await drive.settle(claim, succeeded({"answer": 42}), first=1)

    job = await has_the_answer_of_get(http, asked, job_id)
    assert job["last_event"] == 4


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "kill -9 of Redis while a submission waits for its job",
    sees="nothing: the answer comes when the job has ended after the restart",
)
async def test_a_restart_of_redis_delays_no_answer(own_redis: RedisServer, tmp_path: Path) -> None:
    with running_gateway(own_redis.url, tmp_path, keep_alive_s=3600, redis_timeout_s=1) as gateway:
        async with gateway.client() as http, driver(own_redis.url) as drive:
            async with waiting(http) as (asked, job_id):
                own_redis.kill()
                own_redis.start()
                await drive.finish(job_id, succeeded({"answer": 42}))
            await has_the_answer_of_get(http, asked, job_id)


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "a gateway is stopped after it claimed an Idempotency-Key; another one stores the job of that key",
    sees="the job as it is stored, from both",
)
async def test_a_key_in_flight_on_two_gateways_is_answered_with_the_stored_spec_by_both(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    """Each of them draws another seed."""
    first, second, key = Waiting(), Waiting(), {**WAIT, "Idempotency-Key": "one"}
    armed = ("tests.support.armed", "stop", "after_claim_keys", "1", "gateway")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        running_gateway(own_redis.url, tmp_path / "a", module=armed, redis_timeout_s=DEADLINE_S) as slow,
        running_gateway(own_redis.url, tmp_path / "b") as quick,
    ):
        async with slow.client() as asked, quick.client() as http, driver(own_redis.url) as drive:
            claims = drive.claims(TRAINING)
            await claims.open()
            async with anyio.create_task_group() as group:
                group.start_soon(first.run, asked, TRAINING_BODY, key)
                await until_stopped(slow.pid)
                group.start_soon(second.run, http, TRAINING_BODY, key)
                entries = await claims.wait(timeout_s=2.0)
                [claim] = await claims.claim(1, token="a", entries=entries)
                os.kill(slow.pid, signal.SIGCONT)
                await drive.settle(claim, succeeded({"answer": 42}))

            for each in (first, second):
                await has_the_answer_of_get(http, each, claim.job_id)
            answers = [each.answer for each in (first, second) if each.answer is not None]
            assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def until_stopped(pid: int) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not is_stopped(pid):  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.01)
