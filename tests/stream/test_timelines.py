"""A timeline is in the job's hash while it is short, then in a stream. Both are read alike."""

import pytest
from shared_schemas.events import Emitted, JobEvent
from shared_schemas.stream import keys
from shared_schemas.stream.packed_job import SHORT_FIELDS

from tests.support.queue_bench import queue_bench, success

LONG = "x" * 1024


@pytest.mark.parametrize(
    ("events", "result", "is_in_hash"),
    [
        ([], 1, True),
        # Those of its submission, its beginning and its end are three more.
        ([Emitted(chunk="x")] * 5, 1, True),
        ([Emitted(chunk="x")] * 6, 1, False),
        ([Emitted(chunk="x")] * 20, 1, False),
        ([Emitted(chunk=LONG)], 1, False),
        ([Emitted(chunk="x"), Emitted(chunk=LONG), Emitted(chunk="x")], 1, False),
        ([], LONG, False),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_timeline_is_whole_wherever_it_lies(
    redis_url: str, events: list[JobEvent], result: object, is_in_hash: bool, at_once: bool
) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim()
        for first, event in enumerate([] if at_once else events):
            await side.record(claim, event, first=first)
        left, first = (events, 0) if at_once else ([], len(events))
        assert await side.settle(claim, success(result), *left, first=first)

        fields = {name.decode() for name in await side.client.hgetall(keys.job(job_id))}
        n = len(events) + 3
        assert fields & set(SHORT_FIELDS) == (set(SHORT_FIELDS[:n]) if is_in_hash else set())
        assert await side.client.xlen(keys.events(job_id)) == (0 if is_in_hash else n)
        for after in range(n + 1):
            assert [entry.n for entry in await side.timeline.read(job_id, after=after)] == [*range(after + 1, n + 1)]
        assert await side.timeline.bounds(job_id) == (1, n)
        assert [event.chunk for event in await side.events(job_id) if isinstance(event, Emitted)] == [
            event.chunk for event in events if isinstance(event, Emitted)
        ]
