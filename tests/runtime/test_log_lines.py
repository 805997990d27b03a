"""A worker's log says of a few successful attempts in each second what they were, and counts the others."""

import anyio
import structlog
from shared_schemas.errors import AttemptFailed
from shared_schemas.outcome import Success
from structlog.testing import capture_logs
from worker_runtime import Attempt, RuntimeSettings, Worker

from tests.support.workers import ScriptedHandler, bench, success

N_JOBS, LINES_PER_S = 40, 3


async def test_attempts_that_succeed_become_a_few_lines_and_a_sum_and_failures_a_line_each(redis_url: str) -> None:
    async def script(attempt: Attempt) -> Success:
        if attempt.spec.tags:
            raise AttemptFailed("model_failed", "no")
        return success()

    structlog.reset_defaults()
    with capture_logs() as lines:
        settings = RuntimeSettings(redis_url=redis_url, slots=8, log_lines_per_s=LINES_PER_S)
        worker = Worker(settings, ScriptedHandler(script))
        async with bench(redis_url) as jobs, anyio.create_task_group() as group:
            ids = [await jobs.submit(tags=("bad",) if n % 4 == 0 else ()) for n in range(N_JOBS)]
            group.start_soon(lambda: worker.run(handle_signals=False))
            for job_id in ids:
                await jobs.done(job_id)
            with anyio.fail_after(10):
                while _told_of(lines, "success") < N_JOBS * 3 // 4:  # noqa: ASYNC110 - a list tells nobody
                    await anyio.sleep(0.02)
            worker.drain()

    assert _told_of(lines, "success") == N_JOBS * 3 // 4
    assert _told_of(lines, "failure") == N_JOBS // 4
    each = [line for line in lines if line["event"] == "attempt_settled" and line["outcome"] == "success"]
    sums = [line for line in lines if line["event"] == "attempts_settled"]
    assert sums
    assert 0 < len(each) <= LINES_PER_S * (len(sums) + 1)
    assert all({"count", "median_s", "worker"} <= line.keys() for line in sums)


def _told_of(lines: list[dict[str, object]], outcome: str) -> int:
    count = sum(line["event"] == "attempt_settled" and line["outcome"] == outcome for line in lines)
    for line in lines:
        if line["event"] == "attempts_settled" and line["outcome"] == outcome:
            count += int(str(line["count"]))
    return count
