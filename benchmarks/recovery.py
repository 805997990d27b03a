"""Recovery: how long it takes until all jobs of dead workers run again, and until delivered entries start.

This is about Headrace alone. It promises one lease and three seconds. The time starts when the workers are killed, and
is that of Redis. A worker has renewed its leases up to a third of a lease before, so its jobs can run again in less
than a lease.
"""

from collections.abc import Awaitable

import anyio
import msgspec
from shared_schemas.job import Job

from benchmarks.measuring import Column, Figures, Found, Table, alternate, table
from benchmarks.server import bench_redis
from tests.support.recovery import seconds_until_begun, seconds_until_run_again

LEASE_S, SHORT_LEASE_S = 15.0, 3.0
DEADLINE_S = 180.0


class Case(msgspec.Struct, frozen=True):
    """slots: those of each worker; 0 for a case of n_jobs entries that were delivered and not
    begun."""

    workers: int
    slots: int
    n_jobs: int = 0


CASES = {
    "1,000 jobs of one worker": Case(1, 1000),
    "4 workers of 64 slots": Case(4, 64),
    "5,000 entries delivered, none begun": Case(1, 0, 5000),
}
COLUMNS = [
    Column("jobs", "n_jobs"),
    Column("lease s", "lease_s", ".0f"),
    Column("last runs again after s", "after_s", ".1f", "spread"),
    Column("beyond the lease s", "beyond_s", ".1f"),
    Column("dead letters", "dead"),
]


def run(*, repeats: int, scale: float) -> Found:
    lease_s = LEASE_S if scale == 1.0 else SHORT_LEASE_S
    return alternate(CASES, lambda case: anyio.run(_measure, case, lease_s), repeats=repeats)


def tables(found: Found) -> list[Table]:
    return [table("Recovery of what dead workers held", found, COLUMNS)]


async def _measure(case: Case, lease_s: float) -> Figures:
    with bench_redis() as bench:
        after_s, jobs = await _recovery(case, bench.url, lease_s)
    return {
        "n_jobs": len(jobs),
        "lease_s": lease_s,
        "after_s": after_s,
        "beyond_s": after_s - lease_s,
        "dead": sum(job.error is not None for job in jobs),
    }


def _recovery(case: Case, url: str, lease_s: float) -> Awaitable[tuple[float, list[Job]]]:
    if case.slots == 0:
        return seconds_until_begun(url, n_jobs=case.n_jobs, lease_s=lease_s, deadline_s=DEADLINE_S)
    return seconds_until_run_again(url, workers=case.workers, slots=case.slots, lease_s=lease_s, deadline_s=DEADLINE_S)
