"""Following a job while its streams are cut: nothing is missing, nothing doubled."""

import os
import signal
from functools import partial

import anyio
import anyio.to_thread
import pytest
from headrace import AsyncClient, Client, Settings, Unreachable
from headrace_local.system import LocalSystem
from shared_schemas.events import Done, Emitted, Logged, Measured, StreamEvent
from shared_schemas.ids import JobId
from shared_schemas.outcome import Success
from worker_runtime import Attempt

from tests.support.fault_proxy import Greeting, fault_proxy
from tests.support.workers import ScriptedHandler, bench, running_worker, success

LINES = 25
CUTS = 30
IMPATIENT = Settings(patience_s=10.0)


async def talkative(attempt: Attempt) -> Success:
    for i in range(LINES):
        await attempt.record(Logged(line=f"line {i} " + "ünïcödé ✓ " * (i % 7)))
        await attempt.record(Measured(split="train", step=i, values={"loss": 1.0 / (i + 1)}))
        await attempt.record(Emitted(chunk=f"part {i}"))
    return success({"all": "sent"})


async def a_finished_job(redis_url: str) -> JobId:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(talkative)):
        job_id = await jobs.submit()
        await jobs.done(job_id)
    return job_id


def read_all(url: str, job_id: str, settings: Settings = IMPATIENT) -> list[StreamEvent]:
    with Client(url, settings=settings) as client:
        return list(client.events(job_id))


def is_whole(events: list[StreamEvent]) -> bool:
    return [event.n for event in events] == list(range(1, len(events) + 1)) and isinstance(events[-1], Done)


async def test_a_stream_cut_at_many_points_is_resumed_where_it_broke(gateway_url: str, redis_url: str) -> None:
    job_id = await a_finished_job(redis_url)
    whole = await anyio.to_thread.run_sync(read_all, gateway_url, job_id)
    assert is_whole(whole)
    assert len(whole) > 3 * LINES

    # Cuts in heads, between events, inside events and inside characters.
    for first in range(1, 12_000, 12_000 // CUTS):
        with fault_proxy(gateway_url, cuts=[first, None]) as proxy:
            got = await anyio.to_thread.run_sync(read_all, proxy.url, job_id)
        assert got == whole, f"cut after {first} bytes"


async def test_a_stream_cut_again_and_again_still_comes_to_its_end(gateway_url: str, redis_url: str) -> None:
    job_id = await a_finished_job(redis_url)
    whole = await anyio.to_thread.run_sync(read_all, gateway_url, job_id)

    with fault_proxy(gateway_url, cuts=[900, 0, 1500, 10, 1201, 2503, 700, 3000]) as proxy:
        async with AsyncClient(proxy.url, settings=IMPATIENT) as client:
            got = [event async for event in client.events(job_id)]

    assert got == whole
    assert proxy.n_opened > 5


async def test_a_live_job_is_followed_over_cuts_while_it_runs(gateway_url: str, redis_url: str) -> None:
    steps = anyio.Event(), anyio.Event()

    async def in_steps(attempt: Attempt) -> Success:
        for step in steps:
            await attempt.record(Logged(line="before"))
            await attempt.flush()
            await step.wait()
        await attempt.record(Logged(line="after"))
        return success()

    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(in_steps)):
        job_id = await jobs.submit()
        got: list[StreamEvent] = []
        with fault_proxy(gateway_url) as proxy:
            async with AsyncClient(proxy.url, settings=IMPATIENT) as client:
                with anyio.fail_after(20):
                    remaining = list(steps)
                    async for event in client.events(job_id):
                        got.append(event)
                        if isinstance(event, Logged) and remaining:
                            proxy.cut()
                            remaining.pop(0).set()

    assert is_whole(got)
    assert sum(isinstance(event, Logged) for event in got) == 3
    assert proxy.n_opened >= 3


async def test_a_gateway_that_is_killed_and_comes_back_is_asked_again(system: LocalSystem, redis_url: str) -> None:
    killed = anyio.Event()

    async def across(attempt: Attempt) -> Success:
        await attempt.record(Logged(line="before"))
        await killed.wait()
        return success()

    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(across)):
        job_id = await jobs.submit()
        got: list[StreamEvent] = []
        async with AsyncClient(system.url, settings=Settings(patience_s=30.0)) as client:
            with anyio.fail_after(40):
                async for event in client.events(job_id):
                    got.append(event)
                    if isinstance(event, Logged):
                        os.kill(system.pids()["gateway"], signal.SIGKILL)
                        killed.set()

    assert is_whole(got)


async def test_it_gives_up_when_nobody_answers_for_the_patience(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id = await jobs.submit()
        with fault_proxy(gateway_url) as proxy:
            proxy.greet(Greeting.REFUSE)
            with pytest.raises(Unreachable), anyio.fail_after(20):
                await anyio.to_thread.run_sync(
                    partial(read_all, proxy.url, job_id, Settings(patience_s=0.5)), abandon_on_cancel=True
                )

    assert proxy.n_opened >= 2


async def test_following_past_the_end_ends_at_once(gateway_url: str, redis_url: str) -> None:
    job_id = await a_finished_job(redis_url)

    async with AsyncClient(gateway_url) as client:
        last = (await client.job(job_id)).last_event
        assert [event async for event in client.events(job_id, after=last)] == []
        assert [event.n async for event in client.events(job_id, after=last - 2)] == [last - 1, last]
