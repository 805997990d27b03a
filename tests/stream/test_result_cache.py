"""The cache of results: which job has the answer to a question."""

import pytest
from shared_schemas.ids import JobId
from shared_schemas.outcome import Failure
from shared_schemas.stream.removal import Removal
from shared_schemas.stream.result_cache import ResultCache

from tests.support.queue_bench import BAD, QueueBench, queue_bench, success
from tests.support.workers import INFERENCE

QUESTION = "a" * 64
TAG = "{hr:inference}:"


def cache_of(side: QueueBench, *, most: int = 10, age_s: float = 60.0) -> ResultCache:
    return ResultCache(side.nodes, most=most, age_s=age_s)


async def answered(side: QueueBench, value: object = 1) -> JobId:
    job_id = await side.submit()
    [claim] = await side.claim()
    assert await side.settle(claim, success(value))
    return job_id


async def test_a_result_is_found_by_its_question_and_stays_in_its_job(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        results = cache_of(side)
        job_id = await answered(side, {"n": 1})

        await results.put(QUESTION, job_id)

        found = await results.get(INFERENCE, QUESTION)
        assert found is not None
        assert (found.job_id, found.result, found.digest, found.facts) == (job_id, b'{"n":1}', "digest", {})
        assert await results.get(INFERENCE, "b" * 64) is None
        assert await side.client.get(f"{TAG}cached:{QUESTION}") == job_id.encode()


async def test_a_job_answers_nothing_before_it_has_succeeded_and_after_it_was_deleted(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        results = cache_of(side)
        job_id = await side.submit()
        await results.put(QUESTION, job_id)
        waiting = await results.get(INFERENCE, QUESTION)
        [claim] = await side.claim()
        running = await results.get(INFERENCE, QUESTION)
        await side.settle(claim, success(1))
        succeeded = await results.get(INFERENCE, QUESTION)
        await Removal(side.nodes).delete_job(job_id, queues=[INFERENCE])
        deleted = await results.get(INFERENCE, QUESTION)

        assert (waiting, running, deleted) == (None, None, None)
        assert succeeded is not None


async def test_a_failed_job_answers_nothing(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        results = cache_of(side)
        await results.put(QUESTION, await side.submit())
        [claim] = await side.claim()
        await side.settle(claim, Failure(BAD))

        assert await results.get(INFERENCE, QUESTION) is None


async def test_the_oldest_results_make_room(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        results, job_id = cache_of(side, most=3), await answered(side)
        questions = [str(n) * 64 for n in range(5)]
        for question in questions:
            # Redis stamps each with a time in ms, by which they are told apart.
            before = await side.client.time()
            while await side.client.time() < (before[0], before[1] + 1100):
                pass
            await results.put(question, job_id)

        found = [question for question in questions if await results.get(INFERENCE, question) is not None]
        assert found == questions[2:]
        assert len([name async for name in side.client.scan_iter(match=f"{TAG}cached:*")]) == 3
        assert await side.client.zcard(f"{TAG}cached") == 3


async def test_a_limit_that_became_smaller_holds_after_some_more_results(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await answered(side)
        for n in range(250):
            await cache_of(side, most=1000).put(f"{n:064}", job_id)
        for n in range(3):
            await cache_of(side, most=2).put(f"{n + 900:064}", job_id)

        assert await side.client.zcard(f"{TAG}cached") == 2
        assert len([name async for name in side.client.scan_iter(match=f"{TAG}cached:*")]) == 2


async def test_a_result_is_not_found_after_its_age(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        results, job_id = cache_of(side, age_s=0.001), await answered(side)
        await results.put(QUESTION, job_id)
        before = await side.client.time()
        while await side.client.time() < (before[0], before[1] + 3000):
            pass

        assert await results.get(INFERENCE, QUESTION) is None
        assert await side.client.exists(f"{TAG}cached:{QUESTION}") == 0


@pytest.mark.parametrize("kind", ["hash", "list", "zset", "text"])
@pytest.mark.parametrize("name", ["cached", f"cached:{QUESTION}"])
async def test_what_lies_under_its_keys_is_put_aside(redis_url: str, name: str, kind: str) -> None:
    async with queue_bench(redis_url) as side:
        results, job_id = cache_of(side), await answered(side)
        match kind:
            case "hash":
                await side.client.hset(TAG + name, "x", "y")
            case "list":
                await side.client.rpush(TAG + name, "x")
            case "zset":
                await side.client.zadd(TAG + name, {b"\xff": 0, "x": 1})
            case "text":
                await side.client.set(TAG + name, b"\xff\xfe")

        missed = await results.get(INFERENCE, QUESTION)
        await results.put(QUESTION, job_id)
        found = await results.get(INFERENCE, QUESTION)

        assert missed is None
        assert found is not None


@pytest.mark.parametrize(("field", "value"), [("result", b"{"), ("result", b"\xff"), ("facts", b"[]"), ("job", b"x")])
async def test_a_damaged_job_answers_nothing(redis_url: str, field: str, value: bytes) -> None:
    async with queue_bench(redis_url) as side:
        results, job_id = cache_of(side), await answered(side)
        await results.put(QUESTION, job_id)
        await side.client.hset(f"{TAG}job:{job_id}", field, value)

        assert await results.get(INFERENCE, QUESTION) is None
