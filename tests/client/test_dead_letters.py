"""Dead letters from both clients and the command line, against a real gateway."""

import json
from functools import partial

import anyio.to_thread
import pytest
from headrace import AsyncClient, Client, InvalidJob, NotFound
from shared_schemas.attempts import AttemptEnd
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.outcome import Failure, Retry
from shared_schemas.stream.schedule import Schedule

from tests.client.test_client import in_thread
from tests.client.test_commands import COLOUR, MISSING, headrace, on_a_terminal
from tests.support.dead_letters import SPEC, made_dead
from tests.support.gateways import TRAINING, Driver, driver
from tests.support.workers import Bench

FLAKY = ErrorInfo(code="disk_full", message="no room", retryable=True)
FINAL = ErrorInfo(code="data_empty", message="no rows [really]", row=3)


async def failed_twice(drive: Driver) -> JobId:
    job_id = await Bench(drive.client).submit(SPEC, queue=TRAINING)
    await drive.finish(job_id, Retry(FLAKY, 0.0))
    await Schedule(drive.nodes, TRAINING).promote()
    await drive.finish(job_id, Failure(FINAL))
    return job_id


async def test_both_clients_list_show_retry_and_purge(gateway_url: str, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        first = await failed_twice(drive)
        flaky, *rest = await made_dead(drive, TRAINING, ["flaky", "x", "x"])
        with Client(gateway_url) as client:
            listed = await in_thread(lambda: list(client.dead_letters(page_size=2)))
            one = await in_thread(client.dead_letter, first)
            [retried] = await in_thread(client.retry_dead_letters, code="flaky")
            rerun = await in_thread(client.attempts, retried.retried_as)
            [purged] = await in_thread(client.purge_dead_letters, queue=TRAINING, limit=1)
        async with AsyncClient(gateway_url) as other:
            again = await other.retry_dead_letters(kind="training", code="x")
            left = [row async for row in other.dead_letters(queue=TRAINING)]
            same = await other.dead_letter(first)
            attempts = await other.attempts(first)
            swept = await other.purge_dead_letters(all=True)
        jobs = [await drive.jobs.find(job_id) for job_id in (purged, first)]

    assert [row.id for row in listed] == [*rest[::-1], flaky, first]
    assert [attempt.ended for attempt in listed[-1].attempts] == [AttemptEnd.RETRIED, AttemptEnd.FAILED]
    assert one == same
    assert (one.error, one.attempts) == (FINAL, tuple(attempts))
    assert (retried.job_id, retried.error, rerun) == (flaky, None, ())
    assert purged == rest[-1]
    assert [job.job_id for job in again] == rest[:-1]
    assert ([row.id for row in left], swept) == ([first], [first])
    assert [job.state for job in jobs] == [JobState.FAILED] * 2


async def test_more_than_one_request_can_take_are_purged_in_several(gateway_url: str, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        made = await made_dead(drive, TRAINING, ["x"] * 1003)
        async with AsyncClient(gateway_url) as client:
            purged = await client.purge_dead_letters(code="x")

    assert purged == made[::-1]


async def test_what_is_wrong_is_said_before_or_by_the_gateway(gateway_url: str, redis_url: str) -> None:
    async with AsyncClient(gateway_url) as client:
        with pytest.raises(InvalidJob):
            await client.purge_dead_letters(all=True, limit=1001)
        with pytest.raises(NotFound):
            await client.dead_letter(MISSING)
        with pytest.raises(NotFound):
            await client.attempts(MISSING)


async def test_a_person_lists_looks_retries_and_purges(gateway_url: str, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        first = await failed_twice(drive)
        _, last = await made_dead(drive, TRAINING, ["flaky", "x"])
        listed = await headrace("dead-letters", "list", url=gateway_url)
        shown = await headrace("dead-letters", "show", first, url=gateway_url)
        attempts = await headrace("attempts", first, url=gateway_url)
        by_name = await headrace("dead-letters", "retry", first, url=gateway_url)
        by_code = await headrace("dead-letters", "retry", "--code", "flaky", url=gateway_url)
        unasked = await headrace("dead-letters", "purge", "--all", url=gateway_url)
        kept = await headrace("dead-letters", "list", url=gateway_url)
        purged = await headrace("dead-letters", "purge", "--all", "--yes", url=gateway_url)
        none = await headrace("dead-letters", "list", "--code", "x", url=gateway_url)

    for part in (first.encode(), b"data_empty", b"no rows [really]", b"2 attempts", b"flaky"):
        assert part in listed.stdout
    for part in (b"retried", b"disk_full: no room", b"failed", b"no rows [really]", b"row 3", b"driver"):
        assert part in shown.stdout
    assert b"retried" in attempts.stdout
    assert [done.returncode for done in (listed, shown, attempts, by_name, by_code, purged, none)] == [0] * 7
    assert (unasked.returncode, unasked.stdout) == (2, b"")
    assert last.encode() in kept.stdout
    assert (purged.stdout.strip(), none.stdout.strip()) == (b"purged 1", b"no dead letters with code x")


async def test_a_script_gets_json_and_exit_codes(gateway_url: str, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        first, second = await made_dead(drive, TRAINING, ["x", "y"])
        listed = json.loads((await headrace("dead-letters", "list", "--code", "x", "--json", url=gateway_url)).stdout)
        shown = json.loads((await headrace("dead-letters", "show", first, "--json", url=gateway_url)).stdout)
        half = await headrace("dead-letters", "retry", first, first, "--json", url=gateway_url)
        missing = await headrace("dead-letters", "show", MISSING, url=gateway_url)
        gone = await headrace("dead-letters", "show", first, url=gateway_url)
        purged = await headrace("dead-letters", "purge", "--queue", TRAINING, "-y", "--json", url=gateway_url)
        empty = await headrace("dead-letters", "retry", "--all", "--json", url=gateway_url)

    assert ([row["id"] for row in listed], shown["id"]) == ([first], first)
    assert len(shown["attempts"]) == 1
    [retried] = json.loads(half.stdout)
    assert (half.returncode, retried["job_id"]) == (3, first)
    assert (missing.returncode, gone.returncode) == (3, 3)
    assert retried["retried_as"].encode() in gone.stderr
    assert json.loads(purged.stdout) == [second]
    assert (empty.returncode, json.loads(empty.stdout)) == (0, [])


@pytest.mark.parametrize(
    "arguments", [("retry",), ("retry", "--all", "--code", "x"), ("retry", MISSING, "--all"), ("purge", "--yes")]
)
async def test_an_unclear_choice_is_wrong_usage(gateway_url: str, arguments: tuple[str, ...]) -> None:
    done = await headrace("dead-letters", *arguments, url=gateway_url)

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


async def test_colours_are_for_terminals_and_the_code_is_never_cut(gateway_url: str, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        [job_id] = await made_dead(drive, TRAINING, ["a_code_of_the_usual_kind"])

    for arguments in (("list",), ("show", job_id)):
        show = partial(on_a_terminal, "dead-letters", *arguments, url=gateway_url, COLUMNS="80")
        coloured = await anyio.to_thread.run_sync(show)
        plain = await anyio.to_thread.run_sync(partial(show, NO_COLOR="1"))

        assert COLOUR.search(coloured)
        assert not COLOUR.search(plain)
        assert b"a_code_of_the_usual_kind" in plain
