"""Random damages to Redis under a busy queue: all undamaged jobs end, and no process does."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from shared_schemas.errors import JobExpired, JobNotFound, JobUnreadable
from shared_schemas.ids import JobId
from shared_schemas.stream import keys

from tests.chaos.damages import Damager
from tests.support.gateways import running_gateway
from tests.support.worker_process import worker_process
from tests.support.workers import INFERENCE, Bench, bench

LEASE_S = 1.0
# The job to damage is chosen among the RECENT newest jobs. Most of these are still open.
RECENT, AT_ONCE = 30, 10
PATHS = ["/jobs?limit=100", "/jobs?status=queued", "/dead-letters?limit=100", "/queues", "/workers", "/metrics"]


async def has_ended(side: Bench, job_id: JobId) -> bool:
    try:
        return (await side.jobs.find(job_id)).state.is_terminal
    except JobExpired:
        return True
    except (JobNotFound, JobUnreadable):
        return False


async def until_ended(side: Bench, jobs: set[JobId], damager: Damager) -> None:
    """Wait until all these jobs have ended. Their listings may be lost, so ask for a repair from
    the log first."""
    await side.client.set(keys.mend(INFERENCE), "-")
    left = set(jobs)
    with anyio.move_on_after(60):
        while left:
            left -= {job_id for job_id in sorted(left) if await has_ended(side, job_id)}
            await anyio.sleep(0.1)
    assert not left, [(job_id, await side.client.hgetall(keys.job(job_id))) for job_id in sorted(left)][:3]
    assert damager.done


@pytest.mark.parametrize(
    "n_damages", [pytest.param(200, marks=pytest.mark.quick), pytest.param(2000, marks=pytest.mark.timeout(1200))]
)
@pytest.mark.fault(
    "redis",
    "2,000 random damages to stored jobs, timelines, indexes and streams of a busy queue",
    sees="a damaged job becomes a dead letter, `corrupt_record`, or is listed as `job_unreadable`; all other jobs end",
)
async def test_all_undamaged_jobs_end_and_no_process_does(
    redis_url: str, tmp_path: Path, rng: random.Random, n_damages: int
) -> None:
    jobs: list[JobId] = []

    async def submit(side: Bench) -> None:
        for _ in range(AT_ONCE):
            soon = datetime.now(UTC) + timedelta(seconds=rng.uniform(0.1, 1.0))
            options = [
                {},
                {},
                {"run_at": soon},
                {"tags": ("a", "b")},
                {"start_deadline_s": 300.0},
                {"result_ttl_s": 60.0},
            ]
            what = rng.choice(["answer", "answer", "say", "linger", "stumble", "refuse"])
            jobs.append(await side.submit(input_data=what, **rng.choice(options)))

    logs = [tmp_path / f"worker-{i}.log" for i in range(2)]
    async with bench(redis_url) as side:
        damager = Damager(side.client, rng, lambda: jobs[-RECENT:])
        with (
            running_gateway(redis_url, tmp_path) as gateway,
            worker_process(redis_url, "obey", lease_s=LEASE_S, slots=4, log=logs[0], log_format="json") as first,
            worker_process(redis_url, "obey", lease_s=LEASE_S, slots=4, log=logs[1], log_format="json") as second,
        ):
            async with gateway.client() as http:
                for n in range(n_damages):
                    if n % AT_ONCE == 0:
                        await submit(side)
                    await damager.damage()
                    if n % 100 == 99:
                        answers = {path: (await http.get(path)).status_code for path in PATHS}
                        assert set(answers.values()) == {200}, answers
                        assert (await http.get(f"/jobs/{rng.choice(jobs)}")).status_code in (200, 404, 410, 501)
                    assert [process.poll() for process in (first, second, gateway.process)] == [None] * 3
                damages_at_jobs = set(damager.harmed)
                await until_ended(side, set(jobs) - damages_at_jobs, damager)
                fresh = [await side.submit(input_data="answer") for _ in range(20)]
                await until_ended(side, set(fresh), damager)
                assert [process.poll() for process in (first, second, gateway.process)] == [None] * 3
        assert len(damager.done) == n_damages
