"""Runs Headrace under a steady load while its processes are killed, stopped and cut off, then
checks the promises.

    uv run python -m tests.chaos.soak --minutes 5 [--seed S] [--rate JOBS_PER_S] [--training]
        [--redis-server PATH] [--appendfsync always|everysec|no] [--keep FOLDER]

It runs in rounds: load and faults, then rest, then a check. Each round empties the history at its
start, so a run of any length needs only the memory and disk of one round. The exit status is 1 if
an invariant was broken.

Headrace promises that nothing is lost with appendfsync always. With everysec, a Redis that is
killed while its disk is busy may lose writes that it has answered.
"""

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import msgspec
from headrace_local.samples import write_samples
from shared_schemas.ids import JobId, default_queue
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.stream.connection import connect
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.workers import Workers

from tests.chaos import dump as dumps
from tests.chaos import parts as processes
from tests.chaos.checker import Violation, check
from tests.chaos.conductor import QUEUE, Conductor, plan
from tests.chaos.history import Dump, Ended, History, Sampled, nonces_in, read
from tests.chaos.load import Load
from tests.support.gateways import driver
from tests.support.redis_server import choose, running_redis

ROUND_S = 60.0
REST_S = 60.0
STOP_S = 60.0
LEASE_S, SLOTS = 2.0, 8
TRAINING = default_queue(JobKind.TRAINING)
_STORIES = 5


class Options(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    seed: str
    rate: float = 40.0
    n_workers: int = 3
    with_training: bool = False
    appendfsync: str = "always"
    keep: Path | None = None


class Summary(msgspec.Struct):
    """counts: answers, jobs, attempts, faults and log lines, each by name."""

    seed: str
    seconds: float = 0.0
    counts: dict[str, Counter[str]] = msgspec.field(
        default_factory=lambda: {name: Counter() for name in ("answers", "jobs", "faults", "log lines")}
    )
    violations: list[Violation] = []

    @property
    def lost(self) -> int:
        return sum("lost" in violation.what for violation in self.violations if violation.invariant == "I1")

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {self.seconds / 60:.1f} minutes"]
        for name, counts in self.counts.items():
            lines.append(f"{name}: " + ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
        return "\n".join([*lines, f"lost {self.lost}, violations {len(self.violations)}"])


class Soak:
    """One run. parts: its processes, without Redis."""

    def __init__(self, options: Options, folder: Path, redis_url: str) -> None:
        self._options, self._folder = options, folder
        self._mark = secrets.token_hex(8)
        self.history = History(folder / "history.jsonl")
        self.client = connect(RedisSettings(redis_url=redis_url))
        self.parts = [processes.gateway(n, redis_url, folder, self._mark) for n in range(2)]
        for n in range(options.n_workers):
            self.parts.append(processes.worker(n, redis_url, folder, self._mark, lease_s=LEASE_S, slots=SLOTS))
        if options.with_training:
            self.parts.append(processes.trainer(redis_url, folder, self._mark))
        self._base: list[Sampled] = []
        self.summary = Summary(seed=options.seed)

    @property
    def urls(self) -> list[str]:
        return [part.url for part in self.parts if part.role == "gateway"]

    async def start(self) -> None:
        if self._options.with_training:
            write_samples(self._folder / "data")
        for part in self.parts:
            part.start()
        with anyio.fail_after(REST_S):
            await self._until_ready()
        self._base = await self._measure(base=True)

    async def round(self, number: int, seconds: float, conductor: Conductor) -> None:
        options, seed = self._options, f"{self._options.seed}/{number}"
        self.history.clear()
        for sample in self._base:
            self.history.keep(sample)
        since_ms = time.time_ns() // 1_000_000
        load = Load(self.urls, self.history, seed=seed, rate=options.rate, with_training=options.with_training)
        async with anyio.create_task_group() as group:
            group.start_soon(conductor.watch)
            async with anyio.create_task_group() as working:
                working.start_soon(load.run, seconds)
                working.start_soon(conductor.carry_out, plan(seed, seconds))
            await self._come_to_rest(load)
            # A part that was started again late may still be starting, which is not rest.
            with anyio.move_on_after(REST_S):
                await self._until_ready()
            group.cancel_scope.cancel()
        await self._measure(base=False)
        queues = [QUEUE, TRAINING] if options.with_training else [QUEUE]
        dump = await dumps.take(self.client, queues, since_ms=since_ms, artifacts=self._folder / "artifacts")
        await anyio.to_thread.run_sync(self._judge, dump, number)
        self._count(load, dump)

    async def stop(self) -> None:
        """End every part as a user would, and check that nothing of them is left."""
        for part in self.parts:
            part.is_ending = True
            part.signal(signal.SIGTERM)
        self.history.clear()
        for part in self.parts:
            if part.process is None:
                continue
            with anyio.move_on_after(STOP_S) as limit:
                await anyio.to_thread.run_sync(part.process.wait, abandon_on_cancel=True)
            if limit.cancel_called:
                self.history.append(Ended(process=part.name, status=-signal.SIGKILL))
                part.process.kill()
                part.process.wait()
        processes.note_orphans(self.history, self._mark)
        self._judge(Dump(jobs={}), -1)
        await self.client.aclose()

    async def _until_ready(self) -> None:
        wanted = sum(part.role == "worker" for part in self.parts)
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as http:
            # Nothing announces readiness, and the transport's own retries would wait longer each time.
            while not all([await _is_ready(http, url) for url in self.urls]):  # noqa: ASYNC110
                await anyio.sleep(0.1)
        while len(await Workers(Nodes(self.client)).registered(QUEUE)) < wanted:  # noqa: ASYNC110
            await anyio.sleep(0.1)

    async def _come_to_rest(self, load: Load) -> None:
        """Wait until no job is open. Resume jobs that clients left paused. The checker reports jobs
        that do not end in time."""
        queues = [QUEUE, TRAINING] if self._options.with_training else [QUEUE]
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as http:
            with anyio.move_on_after(REST_S):
                while not all([await dumps.is_at_rest(self.client, queue) for queue in queues]):
                    for job in await dumps.ids_in(self.client, QUEUE, JobState.PAUSED):
                        await load.resume(http, job, await self._nonce_of(job))
                    # Nothing announces that a system is at rest.
                    await anyio.sleep(0.2)

    async def _nonce_of(self, job: JobId) -> str:
        spec = (await Jobs(Nodes(self.client)).find(job)).spec
        return nonces_in(msgspec.json.encode(spec).decode())[0]

    async def _measure(self, *, base: bool) -> list[Sampled]:
        before = {part.name: processes.cpu_seconds(part) for part in self.parts if part.is_alive}
        await anyio.sleep(1.0)
        samples = [
            processes.measure(part, cpu=processes.cpu_seconds(part) - before[part.name], base=base)
            for part in self.parts
            if part.is_alive and part.name in before
        ]
        for sample in samples:
            self.history.append(sample)
        return samples

    def _judge(self, dump: Dump, number: int) -> None:
        for part in self.parts:
            for wrote in part.take_log():
                self.history.keep(wrote)
        violations = check(read(self._folder / "history.jsonl"), dump)
        self.summary.violations += violations
        for violation in violations[:_STORIES]:
            print(f"round {number}: {violation}", flush=True)
        if self._options.keep is not None:
            folder = self._options.keep / f"round-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._folder / "history.jsonl", folder)
            (folder / "dump.json").write_bytes(msgspec.json.encode(dump))

    def _count(self, load: Load, dump: Dump) -> None:
        counts = self.summary.counts
        counts["answers"] += load.counts
        counts["jobs"]["submitted"] += len(load.submitted)
        counts["jobs"]["accepted"] += len(load.accepted)
        for found in dump.jobs.values():
            counts["jobs"][found.fields["state"]] += 1
            counts["jobs"]["attempts"] += int(found.fields["attempt"])
        counts["log lines"] = Counter({part.name: part.lines for part in self.parts})


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).is_success
    except httpx.HTTPError:
        return False


async def soak(options: Options) -> Summary:
    with tempfile.TemporaryDirectory(prefix="hr-soak-") as name:
        folder, began = Path(name), time.monotonic()
        with running_redis(folder, options=("--appendfsync", options.appendfsync)) as server:
            async with driver(server.url) as side:
                await side.publish()
            run = Soak(options, folder, server.url)
            conductor = Conductor(server, run.client, run.history, run.parts)
            try:
                await run.start()
                n_rounds = max(1, round(options.seconds / ROUND_S))
                for number in range(n_rounds):
                    await run.round(number, options.seconds / n_rounds, conductor)
                    print(f"round {number + 1} of {n_rounds}: {len(run.summary.violations)} violations", flush=True)
            finally:
                with anyio.CancelScope(shield=True):
                    await run.stop()
            run.summary.seconds = time.monotonic() - began
            run.summary.counts["faults"] = conductor.counts
            return run.summary


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(1_000_000)))
    parser.add_argument("--rate", type=float, default=40.0, help="submissions a second")
    parser.add_argument("--training", action="store_true", help="a real training worker as well")
    parser.add_argument("--redis-server", metavar="PATH")
    parser.add_argument("--appendfsync", default="always", choices=["everysec", "always", "no"])
    parser.add_argument("--keep", type=Path, help="where histories and dumps of bad rounds are kept")
    given = parser.parse_args()
    if given.redis_server:
        choose(given.redis_server)
    options = Options(
        seconds=given.minutes * 60,
        seed=given.seed,
        rate=given.rate,
        with_training=given.training,
        appendfsync=given.appendfsync,
        keep=given.keep,
    )
    print(f"seed {options.seed}", flush=True)
    summary = anyio.run(soak, options)
    print(summary)
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
