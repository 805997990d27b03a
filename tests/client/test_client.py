"""Every verb of the client against a real gateway; what holds for one
client is tested with both."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from headrace import (
    ApiError,
    AsyncClient,
    BadRequest,
    Client,
    Conflict,
    InvalidJob,
    JobCancelled,
    JobFailed,
    NotFound,
    Settings,
    Unreachable,
    WaitTimedOut,
)
from headrace_local.system import free_port
from shared_schemas.errors import AttemptFailed
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Success
from shared_schemas.specs import InferenceSpec, TrainingSpec
from worker_runtime import Attempt

from tests.support.fault_proxy import fault_proxy
from tests.support.workers import ScriptedHandler, bench, running_worker, success

MISSING = "training-01kav0000000000000000000000"[:35]


async def in_thread(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    with anyio.fail_after(30):
        return await anyio.to_thread.run_sync(partial(call, *arguments, **keywords), abandon_on_cancel=True)


async def answering(attempt: Attempt) -> Success:
    return success({"answer": 42})


async def failing(attempt: Attempt) -> Success:
    raise AttemptFailed("no_good", "this cannot work")


async def waiting(attempt: Attempt) -> Success:
    await anyio.sleep_forever()
    return success()


async def test_a_result_is_waited_for_and_decoded_by_both_clients(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(answering)):
        first, second = await jobs.submit(), await jobs.submit()
        with Client(gateway_url) as client:
            blocking = await in_thread(client.result, first, timeout_s=20)
        async with AsyncClient(gateway_url) as client:
            awaited = await client.result(second, timeout_s=20)

    assert blocking == awaited == {"answer": 42}


async def test_a_job_that_failed_raises_with_its_error(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(failing)):
        job_id = await jobs.submit()
        async with AsyncClient(gateway_url) as client:
            with pytest.raises(JobFailed, match="this cannot work") as caught:
                await client.result(job_id, timeout_s=20)

    assert caught.value.error is not None
    assert caught.value.error.code == "no_good"
    assert caught.value.job.state is JobState.FAILED


async def test_a_job_that_is_cancelled_raises_so(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(waiting)):
        job_id = await jobs.submit()
        await jobs.until_state(job_id, JobState.RUNNING)
        async with AsyncClient(gateway_url) as client:
            await client.cancel(job_id)
            with pytest.raises(JobCancelled):
                await client.result(job_id, timeout_s=20)


async def test_waiting_ends_when_the_time_is_up(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id = await jobs.submit()
        began = time.monotonic()
        with Client(gateway_url) as client, pytest.raises(WaitTimedOut):
            await in_thread(client.wait, job_id, timeout_s=0.4)
        async with AsyncClient(gateway_url) as client:
            with pytest.raises(TimeoutError):
                await client.wait(job_id, timeout_s=0.4)

    assert 0.8 <= time.monotonic() - began < 5


async def test_lists_come_page_by_page_and_whole(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, AsyncClient(gateway_url) as client:
        ids = sorted([await jobs.submit() for _ in range(7)])

        listed = [row.id async for row in client.list(page_size=3)]
        cancelled = await client.cancel(ids[2])
        only = [row.id async for row in client.list(states=[JobState.CANCELLED], kind="inference")]
        several = {row.id async for row in client.list(states=[JobState.CANCELLED, JobState.QUEUED], page_size=2)}
        with Client(gateway_url) as blocking:
            same = await in_thread(lambda: [row.id for row in blocking.list(page_size=2)])

    assert listed == ids[::-1] == same
    assert cancelled.status is JobState.CANCELLED
    assert only == [ids[2]]
    assert several == set(ids)


async def test_pause_and_resume_and_their_conflicts(gateway_url: str) -> None:
    async with AsyncClient(gateway_url) as client:
        job_id = (await client.submit_training(model_type="mlp", data_path="x.csv")).job_id

        assert (await client.pause(job_id)).status is JobState.PAUSED
        assert (await client.resume(job_id)).status is JobState.QUEUED
        assert (await client.status(job_id)).queue_position == 0
        await client.cancel(job_id)
        with pytest.raises(Conflict) as caught:
            await client.pause(job_id)
        again = await client.retry(job_id)

    assert caught.value.code == "state_conflict"
    assert again.job_id != job_id


async def test_what_is_not_there_is_not_found(gateway_url: str) -> None:
    async with AsyncClient(gateway_url) as client:
        with pytest.raises(NotFound) as job:
            await client.job(MISSING)
        with pytest.raises(NotFound):
            [event async for event in client.events(MISSING)]
        with pytest.raises(NotFound) as model:
            await client.submit_inference(model_id="nowhere", input_data="x")
        with pytest.raises(ApiError):
            await client.job("not-an-id")

    assert job.value.code == "job_not_found"
    assert model.value.code == "model_not_found"


async def test_a_list_is_sent_in_one_request_by_both_clients(gateway_url: str) -> None:
    specs = [TrainingSpec(model_type="mlp", data_path=f"{n}.csv") for n in range(3)]
    with Client(gateway_url) as client:
        blocking = await in_thread(client.submit_list, specs, idempotency_key="one")
        with pytest.raises(InvalidJob):
            client.submit_list([])
        with pytest.raises(InvalidJob):
            client.submit_list([specs[0], InferenceSpec(model_id="m", input_data=1)])
    async with AsyncClient(gateway_url) as client:
        awaited = await client.submit_list(specs, idempotency_key="one")
        jobs = [await client.job(answer.job_id) for answer in awaited]

    assert awaited == blocking
    assert [job.spec.data_path for job in jobs] == [spec.data_path for spec in specs]


async def test_keywords_that_make_no_job_are_refused_here_and_bodies_there(gateway_url: str) -> None:
    with Client(gateway_url) as client:
        with pytest.raises(InvalidJob, match="model_type"):
            await in_thread(client.submit_training, data_path="x.csv")
        with pytest.raises(BadRequest) as caught:
            await in_thread(client.submit_body, JobKind.TRAINING, b'{"model_type": 3, "data_path": "x.csv"}')

    assert caught.value.status == 422
    assert [error.pointer for error in caught.value.errors] == ["/model_type"]


async def test_a_submission_whose_answer_is_lost_makes_one_job(gateway_url: str) -> None:
    with fault_proxy(gateway_url, cuts=[0, 0]) as proxy, Client(proxy.url) as client:
        reply = await in_thread(client.submit_training, model_type="mlp", data_path="x.csv")
    async with AsyncClient(gateway_url) as client:
        ids = [row.id async for row in client.list()]

    assert proxy.n_opened == 3
    assert ids == [reply.job_id]


async def test_the_same_key_gives_the_same_job(gateway_url: str) -> None:
    async with AsyncClient(gateway_url) as client:
        one = await client.submit_training(model_type="mlp", data_path="x.csv", idempotency_key="k")
        two = await client.submit_training(model_type="mlp", data_path="x.csv", idempotency_key="k")
        with pytest.raises(ApiError) as caught:
            await client.submit_training(model_type="mlp", data_path="y.csv", idempotency_key="k")

    assert one.job_id == two.job_id
    assert caught.value.code == "idempotency_key_reused"


async def test_queues_workers_models_and_dead_letters_are_listed(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(failing)) as worker:
        job_id = await jobs.submit()
        await jobs.done(job_id)
        async with AsyncClient(gateway_url) as client:
            [queue] = [queue for queue in await client.queues() if queue.name == "inference"]
            names = [row.name for row in await client.workers()]
            dead = [row.id async for row in client.dead_letters()]
            models = [model async for model in client.models()]

    assert queue.jobs["failed"] == 1
    assert worker.name in names
    assert dead == [job_id]
    assert models == []


def test_a_gateway_that_is_away_is_unreachable_and_not_ready() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", settings=Settings(retries=1)) as client:
        with pytest.raises(Unreachable, match="cannot reach the gateway"):
            client.job(MISSING)
        assert client.ready() is False
