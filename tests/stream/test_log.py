"""The log of a queue: one entry has many changes, each with its own id, and the log is capped."""

import pytest
from shared_schemas.job import JobState
from shared_schemas.stream import keys
from shared_schemas.stream.change_log import log_entries_in_stream

from tests.support.workers import INFERENCE, Bench, a_submission, bench

KEPT, STEP = 100_000, 1_000


async def submit(side: Bench, n: int) -> list[str]:
    made = await side.submitter.submit_all(INFERENCE, [a_submission() for _ in range(n)])
    return [each.job_id for each in made]


async def test_changes_of_one_step_share_entries_and_have_ids_of_their_own(redis_url: str) -> None:
    async with bench(redis_url) as side:
        ids = await submit(side, 40)
        [last] = await submit(side, 1)

        changes = await side.change_log.read(INFERENCE)
        assert [change.job_id for change in changes] == [*ids, last]
        assert len({change.id for change in changes}) == 41
        assert await side.client.xlen(keys.log(INFERENCE)) == 4
        assert await side.change_log.end(INFERENCE) == changes[-1].id


@pytest.mark.parametrize("after", [0, 1, 15, 16, 17, 39])
@pytest.mark.parametrize("limit", [1, 5, 100])
async def test_reading_goes_on_in_the_middle_of_an_entry(redis_url: str, after: int, limit: int) -> None:
    async with bench(redis_url) as side:
        ids = await submit(side, 40)
        changes = await side.change_log.read(INFERENCE)

        found = await side.change_log.read(INFERENCE, after=changes[after].id, limit=limit)
        assert [change.job_id for change in found] == ids[after + 1 : after + 1 + limit]


async def test_an_id_is_never_given_twice_though_the_entries_are_gone(redis_url: str) -> None:
    async with bench(redis_url) as side:
        await submit(side, 20)
        end = await side.change_log.end(INFERENCE)
        # Later than any clock: what follows must count on from it.
        await side.client.xadd(keys.log(INFERENCE), {"count": 21, "changes": "x\nstate {}"}, id="9999999999999-7")
        await side.client.xtrim(keys.log(INFERENCE), maxlen=0, approximate=False)

        [job_id] = await submit(side, 1)
        [change] = await side.change_log.read(INFERENCE, after=end)
        assert (change.id, change.job_id) == ("9999999999999-8", job_id)
        assert (await side.jobs.find(change.job_id)).state is JobState.QUEUED


async def test_the_log_keeps_about_as_many_changes_as_it_should_however_many_lie_in_an_entry(redis_url: str) -> None:
    async with bench(redis_url) as side:
        log, entries, an_entry = keys.log(INFERENCE), 15_000, 10
        pipeline = side.client.pipeline(transaction=False)
        for n in range(1, entries + 1):
            changes = "\n".join([f"{INFERENCE}-{0:026}\nstate {{}}"] * an_entry)
            pipeline.xadd(log, {"count": n * an_entry, "changes": changes}, id=f"1-{n * an_entry}")
        await pipeline.execute()

        await submit(side, STEP)

        rows = await side.client.xrange(log)
        kept = sum(len(log_entries_in_stream(*row)) for row in rows)
        assert abs(kept - KEPT) < KEPT * 0.05
        assert int(rows[-1][1][b"count"]) == entries * an_entry + STEP
