"""Checks with the checker of the fault tests that the jobs of a benchmark ran correctly."""

import anyio
from shared_schemas.ids import default_queue
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.stream.connection import connect
from shared_schemas.stream.redis_settings import RedisSettings

from tests.chaos.checker import check
from tests.chaos.dump import is_at_rest, take

INFERENCE = default_queue(JobKind.INFERENCE)
SETTLED_S = 30.0


def check_history(url: str, n: int) -> None:
    """RuntimeError unless there are n jobs, all have succeeded once, and nothing else is left of
    them."""
    anyio.run(_check, url, n)


async def _check(url: str, n: int) -> None:
    client = connect(RedisSettings(redis_url=url))
    try:
        with anyio.fail_after(SETTLED_S):
            # The worker has run the last job, and may still be settling it.
            while not await is_at_rest(client, INFERENCE):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        dump = await take(client, [INFERENCE], since_ms=0)
    finally:
        await client.aclose()
    wrong = [str(violation) for violation in check([], dump)]
    states = {job.fields["state"] for job in dump.jobs.values()}
    if len(dump.jobs) != n or states != {JobState.SUCCEEDED}:
        wrong.append(f"{len(dump.jobs)} jobs of {n} are there, in the states {sorted(states)}")
    if wrong:
        raise RuntimeError("\n".join(wrong[:5]))
