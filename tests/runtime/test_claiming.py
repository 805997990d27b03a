"""Jobs that wait together are begun together."""

from prometheus_client import REGISTRY
from shared_schemas.outcome import Success
from worker_runtime import Attempt

from tests.support.workers import INFERENCE, ScriptedHandler, a_submission, bench, running_worker, success

N_JOBS, N_ROUNDS = 12, 12


def count_claims() -> float:
    """How many calls have begun an attempt in this process so far."""
    return REGISTRY.get_sample_value("headrace_claim_jobs_count", {"queue": INFERENCE}) or 0.0


async def test_jobs_that_are_stored_together_are_begun_by_two_calls(redis_url: str) -> None:
    """One call ends the wait, with the first job. The other begins all that wait beside it."""

    async def script(_: Attempt) -> Success:
        return success()

    counts = list[float]()
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(script), slots=32):
        await jobs.until_workers(1)
        for _ in range(N_ROUNDS):
            made = await jobs.submitter.submit_all(INFERENCE, [a_submission() for _ in range(N_JOBS)])
            for each in made:
                await jobs.done(each.job_id)
            counts.append(count_claims())

    # The first rounds show the worker that jobs come together.
    assert (counts[-1] - counts[3]) / (N_ROUNDS - 4) <= 2.5
