"""The master is lost or demoted and a replica that misses its last writes takes over: what survives
stays true.

What was written in between is lost, jobs included: Redis replicates without waiting. The replica is
cut off by being promoted early, while everybody still writes to the old master; a proxy then leads
the clients to it.
"""

import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import msgspec
import pytest
from headrace_local.system import free_port
from shared_schemas.errors import BackendUnavailable, JobNotFound
from shared_schemas.events import Done, Emitted, JobEvent
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.stream.connection import AsyncRedis, connect, connect_one
from shared_schemas.stream.declaring import declared
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.submission import Submitter

from tests.support import outage
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.gateways import DEADLINE_S, running_gateway
from tests.support.outage import JobFollower, accepted, healthy, is_done, is_output
from tests.support.redis_server import RedisServer, running_redis
from tests.support.worker_process import worker_process
from tests.support.workers import Bench, a_submission, bench

Connect = Callable[[RedisSettings], AsyncRedis]
RECOVERY_S = 5.0
# Redis 7 waits five seconds for more replicas before it sends its data to one.
AT_ONCE = ("--repl-diskless-sync-delay", "0")
SPOKEN = [f"{n} " for n in range(60)]


class Pair(msgspec.Struct, frozen=True):
    """front: what clients know. It leads to the old master until they are moved."""

    old: RedisServer
    new: RedisServer
    new_port: int
    front: FaultProxy

    async def cut_off(self) -> None:
        """Make the replica miss every write from now on."""
        async with bench(self.old.url) as old, bench(self.new.url) as new:
            # This goes through the replication stream, so everything before it has arrived too.
            await old.client.set("mark", 1)
            assert await old.client.wait(1, 20_000) == 1
            await new.client.replicaof("NO", "ONE")

    def move_clients(self) -> None:
        self.front.lead_to(self.new.url)
        self.front.cut()


@asynccontextmanager
async def replicated() -> AsyncIterator[Pair]:
    old_port, new_port = free_port(), free_port()
    with (
        tempfile.TemporaryDirectory(prefix="hr-") as one,
        tempfile.TemporaryDirectory(prefix="hr-") as two,
        running_redis(Path(one), options=("--port", str(old_port), *AT_ONCE)) as old,
        running_redis(Path(two), options=("--port", str(new_port), *AT_ONCE)) as new,
        fault_proxy(old.url) as front,
    ):
        async with bench(new.url) as side:
            await side.client.replicaof("127.0.0.1", old_port)
            with anyio.fail_after(DEADLINE_S):
                while (await side.client.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110
                    await anyio.sleep(0.01)
        try:
            yield Pair(old, new, new_port, front)
        finally:
            # A server that was just promoted may still write its first file, and ignores SIGTERM until then.
            new.kill()


def spoken(events: list[JobEvent], attempt: int) -> list[str]:
    return [event.chunk for event in events if isinstance(event, Emitted) and event.attempt == attempt]


async def until_event(side: Bench, job_id: JobId, n: int) -> None:
    await side.until(job_id, lambda event: event.n > n)


async def cancel(side: Bench, job_id: JobId) -> None:
    await side.control.cancel(job_id)
    await side.until(job_id, lambda event: isinstance(event, Done))


@pytest.mark.fault(
    "failover",
    "the master dies and a replica that misses its last writes takes over",
    sees="a lost job is 404; every other job has one timeline and one end, and runs again if its end was lost",
)
async def test_after_a_failover_that_lost_writes_every_surviving_job_has_one_story_and_one_end(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    async with replicated() as pair, bench(pair.front.url) as side:
        settings = {"slots": 3, "log": log, "log_format": "json", "redis_timeout_s": 1}
        with worker_process(pair.front.url, "obey", lease_s=2.0, **settings) as worker:
            finished = await side.submit(input_data="answer")
            ended_with = (await side.done(finished), await side.events(finished))
            goes_on, cancelled = await side.submit(input_data="tick"), await side.submit(input_data="tick")
            settled_late = await side.submit(input_data="speak")
            for job_id in (goes_on, cancelled, settled_late):
                await side.until(job_id, lambda event: isinstance(event, Emitted))
            begun_late = await side.submit(input_data="speak")

            await pair.cut_off()
            assert (await side.done(settled_late)).state is JobState.SUCCEEDED
            await side.until(begun_late, lambda event: isinstance(event, Emitted))
            await cancel(side, cancelled)
            vanished = await side.submit(input_data="tick")
            await side.until(vanished, lambda event: isinstance(event, Emitted))

            pair.old.kill()
            pair.move_clients()
            # Two slots are taken by jobs that go on, so these jobs can run only once the vanished one has stopped.
            survivors = [await side.done(job_id, deadline_s=60) for job_id in (settled_late, begun_late)]
            await side.until(goes_on, lambda event: isinstance(event, Emitted))
            for job_id in (goes_on, cancelled):
                await cancel(side, job_id)
                survivors.append(await side.folded(job_id))
            with pytest.raises(JobNotFound):
                await side.jobs.find(vanished)
            assert worker.poll() is None
        spoken_late = spoken(await side.events(settled_late), survivors[0].attempt)
        spoken_twice = spoken(await side.events(begun_late), survivors[1].attempt)
        assert (await side.folded(finished), await side.events(finished)) == ended_with

    assert [job.state for job in survivors] == [*[JobState.SUCCEEDED] * 2, *[JobState.CANCELLED] * 2]
    # An attempt whose end the new master never saw has not crashed.
    assert [(job.attempt, job.crashes) for job in survivors] == [(2, 0), (1, 0), (1, 0), (2, 0)]
    # No event of the attempt whose start the new master never saw.
    assert [spoken_late, spoken_twice] == [SPOKEN] * 2
    lost = {line["job_id"] for line in healthy(log) if line["event"] == "claim_lost"}
    assert {vanished, begun_late} <= lost


@pytest.mark.parametrize("connections", ["are cut", "stay open"])
@pytest.mark.fault(
    "failover",
    "the old master is demoted under open connections, and the new one misses its last writes",
    sees="503 for a moment at most; an open stream starts again after a gap; everything works within 5 s of the change",
)
async def test_clients_leave_a_demoted_master_and_readers_get_a_gap_for_what_it_lost(
    tmp_path: Path, connections: str
) -> None:
    log = tmp_path / "worker.log"
    async with replicated() as pair, anyio.create_task_group() as group:
        url = pair.front.url
        with (
            running_gateway(url, tmp_path, redis_timeout_s=1) as gateway,
            worker_process(url, "obey", lease_s=15.0, slots=4, log=log, log_format="json") as worker,
        ):
            async with gateway.client() as http, bench(pair.old.url) as old, bench(pair.new.url) as new:
                await outage.publish_model(url)
                ticking = JobFollower(await accepted(http, "tick"))
                group.start_soon(ticking.follow, http)
                await ticking.until(is_output)
                await pair.cut_off()
                n_kept = len(await new.events(JobId(ticking.job_id)))
                await ticking.until(lambda frame: int(frame.id) >= n_kept + 40)

                # The operator knows nothing of the clients: the address moves, and their connections stay.
                pair.front.lead_to(pair.new.url)
                await old.client.replicaof("127.0.0.1", pair.new_port)
                if connections == "are cut":
                    pair.front.cut()
                changed_at, n_seen = time.monotonic(), len(ticking.seen)

                fresh = JobFollower(await accepted(http, "answer"))
                group.start_soon(fresh.follow, http)
                await fresh.until(is_done)
                await ticking.until(is_output, after=n_seen)
                took_s = time.monotonic() - changed_at
                # Wait until the numbers have passed those that were lost.
                await until_event(new, JobId(ticking.job_id), n_seen)

                await new.control.cancel(JobId(ticking.job_id))
                await ticking.until(is_done)
                job = await new.folded(JobId(ticking.job_id))
                assert worker.poll() is None

    assert took_s < RECOVERY_S
    assert (job.state, job.attempt, job.crashes) == (JobState.CANCELLED, 1, 0)
    after_gap = [i for i, frame in enumerate(ticking.seen) if frame.event == "gap"]
    assert len(after_gap) == 1
    numbers = [int(frame.id) for frame in ticking.seen[after_gap[0] + 1 :]]
    assert numbers == list(range(1, job.last_event + 1))
    for each in (log, tmp_path / "gateway.log"):
        assert len(healthy(each)) < 40


@pytest.mark.quick
@pytest.mark.parametrize("writes_by", [connect, connect_one])
@pytest.mark.parametrize("reads_by", [connect, connect_one])
@pytest.mark.fault(
    "failover",
    "a master is demoted while a client that only reads is connected to it",
    sees="an accepted job is found: once one connection of a process learns of the change, all are reopened",
)
async def test_a_client_that_only_reads_leaves_a_demoted_master_with_one_that_writes(
    writes_by: Connect, reads_by: Connect
) -> None:
    submission = a_submission()
    async with replicated() as pair, bench(pair.old.url) as old:
        settings = RedisSettings(redis_url=pair.front.url)
        async with writes_by(settings) as writing, reads_by(settings) as reading:
            assert await declared(Nodes(reading)) == await declared(Nodes(writing)) == []
            await pair.cut_off()
            pair.front.lead_to(pair.new.url)
            # The new master replicates from nobody, so it never gets what it missed.
            await old.client.replicaof("127.0.0.1", free_port())

            # Redis 6.2 hides from the client library why it refused a script.
            with suppress(BackendUnavailable):
                await Submitter(Nodes(writing)).submit(submission)
            await Submitter(Nodes(writing)).submit(submission)

            assert (await Jobs(Nodes(reading)).find(submission.job_id)).state is JobState.QUEUED


@pytest.mark.quick
@pytest.mark.fault(
    "failover",
    "a master is demoted under a subscription that gets no notification and does not change",
    sees="a reader gets its events as before: the subscription moves to the new master",
)
async def test_a_quiet_subscription_leaves_a_demoted_master_with_a_connection_that_writes() -> None:
    async with replicated() as pair, bench(pair.old.url) as old:
        settings = RedisSettings(redis_url=pair.front.url, redis_timeout_s=1.0)
        async with connect(settings) as writing, PubSubConnection(writing) as pubsub:
            await pubsub.subscribe("quiet")
            messages = pubsub.messages()
            assert await anext(messages) == ("quiet", None)
            assert await declared(Nodes(writing)) == []
            await pair.cut_off()
            pair.front.lead_to(pair.new.url)
            await old.client.replicaof("127.0.0.1", free_port())
            with suppress(BackendUnavailable):
                await Submitter(Nodes(writing)).submit(a_submission())

            with anyio.fail_after(DEADLINE_S), pytest.raises(BackendUnavailable):
                await anext(messages)
            with pytest.raises(BackendUnavailable):
                await pubsub.subscribe("loud")
