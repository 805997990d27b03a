"""A damaged job harms no other: it ends as a dead letter, and all others go on."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from shared_schemas.codec import WIRE_VERSION
from shared_schemas.errors import JobUnreadable
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.stream import keys
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.packed_job import JOB_PARTS
from shared_schemas.stream.recovery import SilentJob

from tests.support.queue_bench import QueueBench, queue_bench, success
from tests.support.stored import fields
from tests.support.workers import INFERENCE

# Values that a part of a stored job may also have. Every other value is tried.
TEXTS = {"subject", "tags", "fence", "worker", "settled", "replay_of", "retry_of", "retried_as"}
VALUES: dict[str, Any] = {
    "a text": "x\xff",
    "an empty text": "",
    "a state": "queued",
    "two states": "queued running",
    "a lane": "normal",
    "two lanes": "normal low",
    "a moment": "1700000000000",
    "a negative number": -1,
    "half a number": 1.5,
    "a number beyond all": 2**63,
    "not a number": float("nan"),
    "true": True,
    "nothing": None,
    "a list": [[1]],
    "a map": {"a": 1},
}
WORDS = {"a text", "an empty text", "a state", "two states", "a lane", "two lanes", "a moment"}
FITS: dict[str, set[str]] = {
    **dict.fromkeys(TEXTS, WORDS),
    **{part: {"a moment"} for part in ("created", "started", "finished", "due", "deadline")},
    "state": {"a state"},
    "lane": {"a lane"},
    "home": {"a lane"},
    "entry": {"an empty text", "a moment"},
}


async def raw(side: QueueBench, job_id: JobId) -> bytes:
    return bytes(await side.client.hget(keys.job(job_id), "job"))


async def put(side: QueueBench, job_id: JobId, packed: bytes) -> None:
    await side.client.hset(keys.job(job_id), "job", packed)


async def with_part(side: QueueBench, job_id: JobId, part: str, value: Any) -> None:
    parts = msgspec.msgpack.decode(await raw(side, job_id))
    parts += [False] * (len(JOB_PARTS) - len(parts))
    parts[JOB_PARTS.index(part)] = value
    await put(side, job_id, msgspec.msgpack.encode(parts))


async def cut(side: QueueBench, job_id: JobId) -> None:
    await put(side, job_id, (await raw(side, job_id))[:-3])


async def more(side: QueueBench, job_id: JobId) -> None:
    await put(side, job_id, await raw(side, job_id) + b"\x01")


async def short(side: QueueBench, job_id: JobId) -> None:
    await put(side, job_id, msgspec.msgpack.encode(msgspec.msgpack.decode(await raw(side, job_id))[:7]))


async def of_a_map(side: QueueBench, job_id: JobId) -> None:
    await put(side, job_id, msgspec.msgpack.encode({"state": "queued"}))


async def of_json(side: QueueBench, job_id: JobId) -> None:
    await put(side, job_id, b'["queued","normal","normal",1]')


async def of_nothing(side: QueueBench, job_id: JobId) -> None:
    await put(side, job_id, b"")


async def of_nil(side: QueueBench, job_id: JobId) -> None:
    await put(side, job_id, b"\xc0")


async def nested(side: QueueBench, job_id: JobId) -> None:
    await put(side, job_id, b"\x91" * 100_000 + b"\xc0")


async def promising(side: QueueBench, job_id: JobId) -> None:
    """An array that says that it has four billion parts."""
    await put(side, job_id, b"\xdd\xff\xff\xff\xff" + await raw(side, job_id))


async def without(side: QueueBench, job_id: JobId) -> None:
    await side.client.hdel(keys.job(job_id), "job")


async def a_string(side: QueueBench, job_id: JobId) -> None:
    await side.client.set(keys.job(job_id), "x")


async def a_list(side: QueueBench, job_id: JobId) -> None:
    await side.client.delete(keys.job(job_id))
    await side.client.rpush(keys.job(job_id), "x")


async def a_stream(side: QueueBench, job_id: JobId) -> None:
    await side.client.delete(keys.job(job_id))
    await side.client.xadd(keys.job(job_id), {"job": "x"})


Damage = Callable[[QueueBench, JobId], Awaitable[None]]
SHAPES: list[Damage] = [
    cut, more, short, of_a_map, of_json, of_nothing, of_nil, nested, promising, without, a_string, a_list, a_stream,
]  # fmt: skip


async def ended_as_corrupt(side: QueueBench, job_id: JobId) -> None:
    [letter] = [job for job in (await side.dead_letters.page(INFERENCE)).jobs if job.id == job_id]
    assert (letter.state, letter.error and letter.error.code) == (JobState.FAILED, "corrupt_record")
    assert [row.id for row in (await side.dead_letters.page(INFERENCE, code="corrupt_record")).jobs] == [job_id]
    assert await side.listings(job_id) == [f"failed:{(await fields(side.client, job_id))['lane'].decode()}"]
    for index in ("leases", "due", "waiting", "deadlines"):
        assert await side.client.zscore(f"{{hr:inference}}:{index}", job_id) is None
    assert [event.event for event in await side.timeline.read(job_id, after=0)][-1] == "done"


@pytest.mark.parametrize(
    ("part", "value"), [(part, value) for part in JOB_PARTS for value in VALUES if value not in FITS.get(part, ())]
)
async def test_a_part_of_another_type_makes_its_job_a_dead_letter_and_stops_no_other(
    redis_url: str, part: str, value: str
) -> None:
    async with queue_bench(redis_url) as side:
        before, odd, behind = [await side.submit() for _ in range(3)]
        await with_part(side, odd, part, VALUES[value])

        claims = await side.claim()

        assert [claim.job_id for claim in claims] == [before, behind]
        assert [await side.settle(claim, success()) for claim in claims] == [True, True]
        assert await side.pending() == 0
        await ended_as_corrupt(side, odd)


@pytest.mark.parametrize("damage", SHAPES)
async def test_a_queued_job_of_another_shape_becomes_a_dead_letter(redis_url: str, damage: Damage) -> None:
    async with queue_bench(redis_url) as side:
        before, odd, behind = [await side.submit() for _ in range(3)]
        await damage(side, odd)

        assert [claim.job_id for claim in await side.claim()] == [before, behind]

        assert await side.pending() == 2
        await ended_as_corrupt(side, odd)


@pytest.mark.parametrize("damage", SHAPES)
@pytest.mark.parametrize("verb", ["renew", "record", "settle", "reclaim", "cancel", "pause", "redeliver"])
async def test_a_damaged_running_job_is_ended_by_whatever_script_meets_it(
    redis_url: str, damage: Damage, verb: str
) -> None:
    async with queue_bench(redis_url) as side:
        odd, other = await side.submit(), await side.submit()
        claim, whole = await side.claim()
        await damage(side, odd)

        match verb:
            case "renew":
                renewals = side.leases().renew({odd: claim.fence, other: whole.fence}, {"host": "h"})
                assert [renewals[job_id].held for job_id in (odd, other)] == [False, True]
            case "record":
                assert not await side.record(claim)
            case "settle":
                assert not await side.settle(claim, success())
            case "reclaim":
                [seen] = [s for s in await side.recovery.silent_jobs(lease_s=10_000.0) if s.job_id == odd]
                assert await side.recovery.reclaim([seen, SilentJob(other, "", 0)]) == ["corrupt", "alive"]
            case "redeliver":
                await side.recovery.redeliver(idle_s=0.0, worker="b")
            case _:
                with pytest.raises(Exception, match="no such job"):
                    await getattr(side.control, verb)(odd)
        await ended_as_corrupt(side, odd)
        assert await side.settle(whole, success())


@pytest.mark.parametrize("damage", SHAPES)
async def test_repair_leaves_a_damaged_job_listed_until_it_has_an_end(redis_url: str, damage: Damage) -> None:
    async with queue_bench(redis_url) as side:
        odd = await side.submit()
        await side.client.xtrim(keys.ready(INFERENCE, Lane.NORMAL), maxlen=0, approximate=False)
        await damage(side, odd)

        await side.recovery.repair()

        [row] = (await side.jobs.list_jobs(INFERENCE)).jobs
        assert (row.id, row.state, row.error and row.error.code) == (odd, JobState.QUEUED, "job_unreadable")
        with pytest.raises(JobUnreadable):
            await side.jobs.find(odd)
        assert await side.recovery.reclaim(await side.recovery.silent_jobs(lease_s=10.0)) == ["corrupt"]
        await ended_as_corrupt(side, odd)


@pytest.mark.parametrize(
    "packed", [b"\x94\xa5novel\xa6normal\xa6normal\x02", b"\x85\x01\xa5novel\x04\x02\x05\xa1x\x06\x01\x07\x02"]
)
async def test_a_job_of_a_newer_version_is_left_to_those_who_know_it(redis_url: str, packed: bytes) -> None:
    async with queue_bench(redis_url) as side:
        newer, other = await side.submit(), await side.submit()
        await put(side, newer, packed)

        assert [claim.job_id for claim in await side.claim()] == [other]
        await side.recovery.redeliver(idle_s=0.0, worker="b")
        await side.recovery.repair()
        await side.schedule.promote()

        assert await raw(side, newer) == packed
        assert await side.listings(newer) == ["queued:normal"]
        assert await side.pending() == 2
        with pytest.raises(JobUnreadable):
            await side.jobs.find(newer)
    assert WIRE_VERSION == 1


@pytest.mark.parametrize("damage", SHAPES)
async def test_a_job_that_had_ended_is_never_ended_again(redis_url: str, damage: Damage) -> None:
    async with queue_bench(redis_url) as side:
        odd = await side.submit()
        [claim] = await side.claim()
        await side.settle(claim, success())
        await damage(side, odd)

        with pytest.raises(Exception, match="no such job"):
            await side.control.cancel(odd)
        assert not await side.settle(claim, success())

        assert await side.listings(odd) == ["succeeded:normal"]
        assert (await side.dead_letters.page(INFERENCE)).jobs == []
        [row] = (await side.jobs.list_jobs(INFERENCE)).jobs
        assert (row.id, row.state, row.error and row.error.code) == (odd, JobState.SUCCEEDED, "job_unreadable")
        await side.client.zadd("{hr:inference}:expiring", {odd: 1})
        assert await side.schedule.sweep() == 1
        assert await side.listings(odd) == []


@pytest.mark.parametrize("damage", SHAPES)
@pytest.mark.parametrize("index", ["due", "waiting", "deadlines"])
async def test_a_damaged_scheduled_job_is_ended_when_its_time_comes(redis_url: str, damage: Damage, index: str) -> None:
    async with queue_bench(redis_url) as side:
        odd, other = await side.submit(), await side.submit()
        await damage(side, odd)
        for job_id in (odd, other):
            await side.client.zadd(f"{{hr:inference}}:{index}", {job_id: 1})

        await side.schedule.promote()

        await ended_as_corrupt(side, odd)
        assert [claim.job_id for claim in await side.claim()] == [other]


@pytest.mark.parametrize("field", ["spec", "checkpoint", "progress", "metric:train", "1", "novel"])
@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"{", b"[[1]]", b"x" * 3000])
async def test_a_damaged_field_of_the_hash_stops_no_claim(redis_url: str, field: str, value: bytes) -> None:
    async with queue_bench(redis_url) as side:
        odd, other = await side.submit(), await side.submit()
        await side.client.hset(keys.job(odd), field, value)

        claims = await side.claim()

        assert [claim.job_id for claim in claims] == [odd, other]
        assert [await side.settle(claim, success()) for claim in claims] == [True, True]
        assert len((await side.jobs.list_jobs(INFERENCE)).jobs) == 2
        await side.timeline.read(odd, after=0)
        await side.timeline.read_attempts(odd)


async def test_an_unreadable_text_in_a_job_stops_no_worker_and_no_listing(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        odd, other = await side.submit(), await side.submit()
        packed = (await raw(side, odd)).replace(b"\xa1m", b"\xa1\xff")
        await put(side, odd, packed)

        claims = await side.claim()
        assert [claim.job_id for claim in claims] == [odd, other]
        [seen] = [s for s in await side.recovery.silent_jobs(lease_s=10_000.0) if s.job_id == odd]
        assert seen.fence == claims[0].fence
        assert [await side.settle(claim, success()) for claim in claims] == [True, True]
        rows = {row.id: row.error and row.error.code for row in (await side.jobs.list_jobs(INFERENCE)).jobs}
    assert rows == {odd: "job_unreadable", other: None}
