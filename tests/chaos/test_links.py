"""Connections that fall silent: a worker cut off from Redis, and peers that accept a connection and
never answer."""

import asyncio
import time
from pathlib import Path

import anyio
import pytest
from shared_schemas.errors import BackendUnavailable
from shared_schemas.events import Emitted, Logged
from shared_schemas.job import JobState
from shared_schemas.outcome import Success
from shared_schemas.stream.connection import connect
from shared_schemas.stream.declaring import declared
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_settings import RedisSettings
from worker_runtime import Attempt

from tests.support.fault_proxy import FaultProxy, Greeting, fault_proxy
from tests.support.gateways import TRAINING_BODY, Frame, driver, frames, running_gateway, succeeded
from tests.support.network import BOTH, Conditions, Way, subscriptions
from tests.support.redis_server import RedisServer
from tests.support.rest import left_over
from tests.support.workers import INFERENCE, ScriptedHandler, a_submission, bench, running_worker, success

LEASE_S = 1.5
SILENCE = Conditions(lost=BOTH)


def silence_open_connections(proxy: FaultProxy) -> None:
    """As when the machine at the other end loses power and comes back: only new connections are
    answered."""
    opened = proxy.n_opened
    proxy.impose(SILENCE, on=lambda connection: connection.number < opened)


@pytest.mark.fault(
    "network",
    "a worker is cut off from Redis for three leases",
    sees="another worker ends the job within one lease + 3 s; one result; the first worker stops its attempt by itself",
)
@pytest.mark.parametrize("ways", [BOTH, {Way.OUT}, {Way.BACK}], ids=["both ways", "to Redis", "from Redis"])
async def test_a_worker_that_is_cut_off_stops_by_itself_and_another_ends_its_job(
    redis_url: str, ways: frozenset[Way]
) -> None:
    stopped_at: list[float] = []
    submission = a_submission()
    job_id = submission.job_id

    async def speak_on(attempt: Attempt) -> Success:
        if attempt.job_id != job_id:
            return success("afterwards")
        try:
            while True:
                await attempt.record(Emitted(chunk="."))
                await anyio.sleep(0.02)
        finally:
            stopped_at.append(time.monotonic())

    async def answer(attempt: Attempt) -> Success:
        return success(attempt.number)

    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            async with running_worker(proxy.url, ScriptedHandler(speak_on), lease_s=LEASE_S):
                await side.submitter.submit(submission)
                await side.until(job_id, lambda event: isinstance(event, Emitted))
                async with running_worker(redis_url, ScriptedHandler(answer), lease_s=LEASE_S):
                    proxy.impose(Conditions(held=frozenset(ways)))
                    began = time.monotonic()
                    job = await side.done(job_id)
                    took_s = time.monotonic() - began
                ended_with = await side.events(job_id)
                # The length of a partition is a time, so no event can be awaited.
                await anyio.sleep(began + 3 * LEASE_S - time.monotonic())
                had_stopped = len(stopped_at)
                proxy.heal()
                # Once the worker has run another job to its end, all bytes that were held have arrived.
                assert (await side.done(await side.submit(), deadline_s=40)).state is JobState.SUCCEEDED

        assert await side.events(job_id) == ended_with
        assert await side.folded(job_id) == job
        assert await left_over(side.client, INFERENCE) == {}

    assert (job.state, job.attempt, bytes(job.result)) == (JobState.SUCCEEDED, 2, b"2")
    assert [event.attempt for event in ended_with] == sorted(event.attempt for event in ended_with)
    assert had_stopped == 1
    assert stopped_at[0] - began < LEASE_S + 3.0
    assert took_s < LEASE_S + 3.0


@pytest.mark.quick
@pytest.mark.fault(
    "network", "Redis accepts connections and never replies", sees="503 after the timeouts; the gateway recovers"
)
@pytest.mark.parametrize("is_new", [False, True])
async def test_a_command_to_a_silent_peer_fails_in_time_and_the_next_is_answered(
    own_redis: RedisServer, is_new: bool
) -> None:
    with fault_proxy(own_redis.url) as proxy:
        client = connect(RedisSettings(redis_url=proxy.url, redis_timeout_s=0.2))
        if not is_new:
            await declared(Nodes(client))
        proxy.impose(SILENCE)
        proxy.greet(Greeting.IGNORE if is_new else Greeting.SERVE)
        with anyio.fail_after(10):
            with pytest.raises(BackendUnavailable):
                await declared(Nodes(client))
            proxy.heal()
            proxy.greet(Greeting.SERVE)
            assert await declared(Nodes(client)) == []
            silence_open_connections(proxy)
            assert await declared(Nodes(client)) == []
        await client.aclose()


@pytest.mark.fault(
    "network",
    "all connections of a worker fall silent at once",
    sees="its job is late by one timeout; no crash is counted",
)
async def test_a_worker_whose_connections_fall_silent_opens_others_and_leaves_no_task(redis_url: str) -> None:
    before = asyncio.all_tasks()

    async def answer(attempt: Attempt) -> Success:
        await attempt.record(Emitted(chunk="."))
        return success(attempt.number)

    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            waiting = proxy.watch("XREADGROUP", containing="BLOCK")
            async with running_worker(proxy.url, ScriptedHandler(answer), lease_s=12.0):
                await waiting.happened()
                silence_open_connections(proxy)
                job = await side.done(await side.submit())

        assert await left_over(side.client, INFERENCE) == {}

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)
    assert asyncio.all_tasks() == before


@pytest.mark.quick
@pytest.mark.fault(
    "network",
    "the connection over which a worker receives requests to cancel and pause falls silent",
    sees="a cancel reaches the worker with the next lease renewal",
)
async def test_a_cancel_reaches_a_worker_whose_subscription_is_silent(redis_url: str) -> None:
    async def hang(attempt: Attempt) -> Success:
        await attempt.record(Emitted(chunk="."))
        await anyio.sleep_forever()
        return success()

    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            async with running_worker(proxy.url, ScriptedHandler(hang), lease_s=LEASE_S):
                job_id = await side.submit()
                await side.until(job_id, lambda event: isinstance(event, Emitted))
                proxy.impose(SILENCE, on=subscriptions)
                await side.control.cancel(job_id)
                job = await side.done(job_id)

    assert (job.state, job.attempt) == (JobState.CANCELLED, 1)


@pytest.mark.quick
@pytest.mark.fault(
    "network",
    "the gateway's subscription falls silent, and Redis does not reply to new ones for a while",
    sees="events are late; none is missing or repeated",
)
async def test_readers_get_the_events_that_a_silent_subscription_missed(redis_url: str, tmp_path: Path) -> None:
    with (
        fault_proxy(redis_url) as proxy,
        # The gateway reads timelines so rarely that this does not replace a missed notification.
        running_gateway(proxy.url, tmp_path, redis_timeout_s=0.5, keep_alive_s=3600) as gateway,
    ):
        async with driver(redis_url) as drive, gateway.client() as http:
            job_id = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
            claim = await drive.begin(job_id)
            got: list[Frame] = []
            async with http.stream("GET", f"/jobs/{job_id}/events") as response:
                async for frame in frames(response):
                    got.append(frame)
                    if frame.event == "state" and frame.json["reason"] == "claimed":
                        proxy.impose(SILENCE, on=subscriptions)
                        proxy.greet(Greeting.IGNORE)
                        opened = proxy.n_opened
                        await drive.record(claim, Logged(line="missed"))
                        await proxy.opened.happened(opened + 2)
                        proxy.heal()
                        proxy.greet(Greeting.SERVE)
                    if frame.event == "log":
                        await drive.settle(claim, succeeded("end"), first=1)

    assert [int(frame.id) for frame in got] == list(range(1, len(got) + 1))
    assert [frame.event for frame in got] == ["state", "state", "log", "done"]


@pytest.mark.quick
@pytest.mark.fault("network", "the gateway's idle connections to Redis are reset", sees="nothing: it opens new ones")
async def test_a_gateway_whose_idle_connections_were_reset_answers_as_before(redis_url: str, tmp_path: Path) -> None:
    with fault_proxy(redis_url) as proxy, running_gateway(proxy.url, tmp_path) as gateway:
        async with gateway.client() as http:
            cut, answers = [], []
            for _ in range(10):
                cut.append(proxy.cut())
                answers.append(await http.post("/jobs/training", json=TRAINING_BODY))

    assert {answer.status_code for answer in answers} == {202}
    assert all(cut[1:])
