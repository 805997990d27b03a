"""The log of all jobs is trimmed while a gateway is cut off from Redis: its open streams say what
is missing."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from shared_schemas.ids import JobId
from shared_schemas.specs import TrainingSpec
from shared_schemas.stream import keys
from shared_schemas.stream.change_log import ChangeLog

from tests.support.fault_proxy import Greeting, fault_proxy
from tests.support.gateways import DEADLINE_S, TRAINING, Driver, Frame, driver, frames, running_gateway
from tests.support.workers import Bench, a_submission

ALL = 99
SPEC = TrainingSpec(model_type="mlp", data_path="a.csv", seed=1)


async def submitted(drive: Driver, n: int) -> list[JobId]:
    """Each job is submitted in a call of its own, and so is an entry of its own in the log."""
    return [await Bench(drive.client).submit(SPEC, queue=TRAINING) for _ in range(n)]


async def keep_newest(drive: Driver, n: int) -> None:
    """Trim the log to its newest n changes."""
    if n >= ALL:
        return
    if n == 0:
        await drive.client.delete(keys.log(TRAINING))
        return
    kept = await ChangeLog(drive.nodes).read(TRAINING)
    await drive.client.xtrim(keys.log(TRAINING), minid=kept[-n].id, approximate=False)


# How many changes come before the stream opens, are sent to it, come while the gateway is cut off, and are kept;
# whether the stream must have a `gap`.
CASES = {
    "trimmed past its place": (3, 1, 4, 2, True),
    "trimmed past its place, and nothing is left": (3, 1, 4, 0, True),
    "trimmed, and the log was empty when it opened": (0, 0, 4, 2, True),
    "trimmed, and it had been handed nothing": (3, 0, 4, 2, True),
    "all is kept": (3, 1, 4, ALL, False),
    "all is kept, and the log was empty when it opened": (0, 0, 4, ALL, False),
    "trimmed before its place": (3, 1, 4, 5, False),
    "nothing happened": (3, 1, 0, ALL, False),
}


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "the log of all jobs is trimmed while a gateway is cut off from Redis",
    sees="`gap` in the open stream, once",
)
@pytest.mark.parametrize("case", CASES)
async def test_an_open_stream_says_what_was_trimmed_while_its_gateway_was_cut_off(
    redis_url: str, tmp_path: Path, case: str
) -> None:
    before, sent, missed, kept, is_gap = CASES[case]
    received: list[Frame] = []
    with fault_proxy(redis_url) as proxy, running_gateway(proxy.url, tmp_path) as gateway:
        async with driver(redis_url) as drive, gateway.client() as http:
            await submitted(drive, before)
            async with http.stream("GET", "/events") as response:
                stream = frames(response)
                for job_id in await submitted(drive, sent):
                    await read_until(job_id, stream, [])
                proxy.greet(Greeting.REFUSE)
                proxy.cut()
                while_away = await submitted(drive, missed)
                await keep_newest(drive, kept)
                proxy.greet(Greeting.SERVE)
                [last] = await submitted(drive, 1)
                await read_until(last, stream, received)

    gaps = [frame for frame in received if frame.event == "gap"]
    seen = [frame.json["job_id"] for frame in received if frame.event != "gap"]
    assert [frame.json["queue"] for frame in gaps] == [TRAINING] * is_gap
    assert received[0].event == "gap" or not is_gap
    assert seen == [*(while_away[missed - kept :] if is_gap else while_away), last]


async def read_until(job_id: JobId, stream: AsyncIterator[Frame], received: list[Frame]) -> None:
    with anyio.fail_after(DEADLINE_S):
        async for frame in stream:
            received.append(frame)
            if frame.event != "gap" and frame.json["job_id"] == job_id:
                return


async def submitted_at_once(drive: Driver, n: int) -> None:
    for _ in range(n // 500):
        await drive.submitter.submit_all(TRAINING, [a_submission(SPEC, queue=TRAINING) for _ in range(500)])


@pytest.mark.quick
async def test_the_log_keeps_as_many_changes_as_its_setting_says(redis_url: str, tmp_path: Path) -> None:
    with running_gateway(redis_url, tmp_path, log_changes=2000) as gateway:
        async with driver(redis_url) as drive, gateway.client() as http:
            with anyio.fail_after(DEADLINE_S):
                while not await drive.client.exists(keys.log_length(TRAINING)):  # noqa: ASYNC110 - nothing announces it
                    await anyio.sleep(0.02)
            await submitted_at_once(drive, 6000)
            kept = len(await ChangeLog(drive.nodes).read(TRAINING, limit=10_000))
            [queue] = [each for each in (await http.get("/queues")).json()["queues"] if each["name"] == TRAINING]
            metrics = (await http.get("/metrics")).text

            await ChangeLog(drive.nodes).keep(TRAINING, 4000)
            await submitted_at_once(drive, 6000)
            longer = len(await ChangeLog(drive.nodes).read(TRAINING, limit=10_000))

    assert 2000 <= kept <= 3500
    assert 4000 <= longer <= 5500
    assert queue["log_from"] is not None
    assert f'headrace_queue_log_seconds{{queue="{TRAINING}"}}' in metrics
