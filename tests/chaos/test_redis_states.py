"""Redis is away, frozen, loading, read-only or out of memory: who waits, what is said, how soon all moves again.

A real gateway and a real worker over one Redis of the test's own, seen through HTTP.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen

import anyio
import httpx
import msgspec
import pytest

from tests.support import outage
from tests.support.gateways import Gateway, running_gateway
from tests.support.outage import Line, accepted, assert_refused, healthy, is_done, is_output, submit, used_by
from tests.support.redis_server import RedisServer
from tests.support.worker_process import worker_process

WINDOW_S = 5.0
RECOVERY_S = 5.0
# A few percent of one core: reconnecting, renewing and looking at the queue.
MOST_CPU = 0.05


class System(msgspec.Struct, frozen=True):
    gateway: Gateway
    worker: Popen[bytes]
    gateway_log: Path
    worker_log: Path
    http: httpx.AsyncClient


@asynccontextmanager
async def running_system(redis_url: str, folder: Path, **settings: object) -> AsyncIterator[System]:
    log = folder / "worker.log"
    with (
        running_gateway(redis_url, folder, redis_timeout_s=1) as gateway,
        worker_process(redis_url, "obey", log=log, slots=8, log_format="json", **settings) as worker,
    ):
        async with gateway.client() as http:
            yield System(gateway, worker, folder / "gateway.log", log, http)


@pytest.mark.parametrize("state", outage.OUTAGES)
@pytest.mark.fault(
    24,
    "Redis killed, frozen, LOADING or READONLY for five seconds, then back",
    sees="503 with Retry-After, open lines stay open; all moves again within 5 s",
)
async def test_all_wait_quietly_while_redis_is_away_and_move_within_five_seconds_of_its_return(
    own_redis: RedisServer, tmp_path: Path, state: str
) -> None:
    async with running_system(own_redis.url, tmp_path, lease_s=15.0) as system, anyio.create_task_group() as lines:
        http = system.http
        await outage.publish_model(own_redis.url)
        ticking, ending = Line(await accepted(http, "tick")), Line(await accepted(http, "speak"))
        for line in (ticking, ending):
            lines.start_soon(line.follow, http)
            await line.until(is_output)

        with outage.OUTAGES[state](own_redis):
            async with (
                used_by(system.gateway.process, system.gateway_log) as by_gateway,
                used_by(system.worker, system.worker_log) as by_worker,
            ):
                await anyio.sleep(WINDOW_S)
                used = {"gateway": by_gateway(), "worker": by_worker()}
            assert_refused(await submit(http, "answer"))
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/readyz")).status_code == 503
            n_seen = len(ticking.seen)
        back_at = time.monotonic()

        # Claim and settle of a new job, settle of one that ended meanwhile, record of one that goes on.
        fresh = Line(await accepted(http, "answer"))
        lines.start_soon(fresh.follow, http)
        await fresh.until(is_done)
        await ending.until(is_done)
        await ticking.until(is_output, after=n_seen + 20)
        took_s = time.monotonic() - back_at
        lines.cancel_scope.cancel()

        assert system.worker.poll() is None
        assert [int(frame.id) for frame in ticking.seen] == list(range(1, len(ticking.seen) + 1))
    assert took_s < RECOVERY_S
    for log in (system.gateway_log, system.worker_log):
        healthy(log)
    for name, usage in used.items():
        assert usage.cpu < MOST_CPU, (name, usage)
        assert len(usage.lines) <= WINDOW_S, (name, usage)
