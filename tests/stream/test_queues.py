"""Which queues exist, for how long, and that a question to all of them is one round trip."""

import pytest
from shared_schemas.ids import QueueName
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.listing import sets_of_jobs
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.queues import BY_DEFAULT, Queues

from tests.support.queue_bench import queue_bench

OTHER = QueueName("inference-other")
DAY_S = 86_400


async def age(client: AsyncRedis, queue: QueueName, seconds: float) -> None:
    """As if what was said last of the queue had been said so long ago."""
    [now, _], score = await client.time(), await client.zscore(keys.DECLARED, queue)
    await client.zadd(keys.DECLARED, {queue: (now - seconds) * (1000 if score > 0 else -1000)})


@pytest.mark.quick
async def test_a_queue_that_is_empty_and_that_nobody_declares_is_forgotten_in_two_steps(redis_url: str) -> None:
    async with queue_bench(redis_url, OTHER) as side:
        queues = Queues(side.nodes, known_s=DAY_S)
        assert OTHER in await queues.review()
        assert await queues.takes_jobs(OTHER)

        await age(side.client, OTHER, DAY_S - 60)
        assert OTHER in await queues.review()
        assert await queues.takes_jobs(OTHER)

        await age(side.client, OTHER, DAY_S + 60)
        assert OTHER in await queues.review()
        assert not await queues.takes_jobs(OTHER)

        await age(side.client, OTHER, 61)
        await queues.review()
        assert await queues.names() == sorted(BY_DEFAULT)
        assert await queues.review() == sorted(BY_DEFAULT)


@pytest.mark.quick
@pytest.mark.parametrize("is_leaving", [False, True])
async def test_a_queue_that_holds_a_job_is_not_forgotten(redis_url: str, is_leaving: bool) -> None:
    async with queue_bench(redis_url, OTHER) as side:
        queues = Queues(side.nodes, known_s=DAY_S)
        await age(side.client, OTHER, DAY_S + 60)
        if is_leaving:
            await queues.review()
        # As one that was on its way when the queue began to leave.
        await side.submit(queue=OTHER)
        for _ in range(3):
            await age(side.client, OTHER, DAY_S + 60)
            assert OTHER in await queues.review()

        assert await queues.takes_jobs(OTHER)


@pytest.mark.quick
async def test_a_queue_that_redis_lost_with_its_last_second_is_put_back_if_it_holds_a_job(redis_url: str) -> None:
    async with queue_bench(redis_url, OTHER) as side:
        queues = Queues(side.nodes)
        assert await queues.takes_jobs(OTHER)
        await side.submit(queue=OTHER)
        await side.client.delete(keys.DECLARED)

        await queues.review()

        assert await Queues(side.nodes).takes_jobs(OTHER)


@pytest.mark.quick
async def test_what_is_known_is_not_asked_for_again(redis_url: str) -> None:
    async with queue_bench(redis_url, OTHER) as side:
        queues = Queues(side.nodes)
        await queues.takes_jobs(OTHER)
        before = await reads(side.client)

        for queue in (OTHER, *BY_DEFAULT) * 10:
            assert await queues.takes_jobs(queue)

        assert await reads(side.client) == before + 1


async def reads(client: AsyncRedis) -> int:
    """How often Redis has read from a connection, this call included. A round trip is one read of up to 16 KiB."""
    return int((await client.info("stats"))["total_reads_processed"])


@pytest.mark.quick
@pytest.mark.parametrize("question", ["statuses", "workers", "pages"])
async def test_a_question_to_all_queues_is_one_round_trip_however_many_there_are(redis_url: str, question: str) -> None:
    async with queue_bench(redis_url) as side:
        queries, costs = QueueQueries(side.nodes, Queues(side.nodes)), []
        for n in (1, 30):
            for i in range(n):
                await side.catalog.declare(QueueName(f"inference-q{i}"))
            for is_known in (False, True):
                before = await reads(side.client)
                answer = await ask(queries, question)
                costs.append(await reads(side.client) - before - 1)
                assert len(answer) in (0, len(BY_DEFAULT) + n), is_known

        # One more where the list of queues is another one than it was.
        assert costs[1] == costs[3] == 1
        assert costs[2] <= 2


async def ask(queries: QueueQueries, question: str) -> list[object]:
    match question:
        case "statuses":
            return list(await queries.statuses())
        case "workers":
            return list(await queries.workers())
        case _:
            sets = sets_of_jobs((), "tag")
            return list(await queries.pages(sets, states=(JobState.QUEUED,), limit=20, before=lambda _: None))


@pytest.mark.quick
async def test_a_queue_that_came_meanwhile_is_in_the_answer(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        queries = QueueQueries(side.nodes, Queues(side.nodes))
        assert [status.name for status in await queries.statuses()] == sorted(BY_DEFAULT)
        await side.submit(queue=OTHER)
        await side.catalog.declare(OTHER)
        await side.client.script_flush()

        counts = {status.name: status.jobs["queued"] for status in await queries.statuses()}
        pages = await queries.pages(
            sets_of_jobs((), None), states=tuple(JobState), limit=20, before=lambda _: None, kind=JobKind.INFERENCE
        )

        assert counts == dict.fromkeys(BY_DEFAULT, 0) | {OTHER: 1}
        assert [[job.queue for job in page.jobs] for page in pages] == [[], [OTHER]]
