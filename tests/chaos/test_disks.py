"""Disks of Redis that are full or damaged, and a Redis with settings that would lose jobs."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
import redis
from shared_schemas.errors import JobNotFound
from shared_schemas.events import Emitted
from shared_schemas.ids import JobId
from shared_schemas.job import JobState

from tests.support.gateways import Gateway, running_gateway
from tests.support.redis_server import RedisServer, executable, running_redis
from tests.support.tiny_disk import TinyDisk, tiny_disk
from tests.support.worker_process import worker_process
from tests.support.workers import bench

TRAINING = {"model_type": "mlp", "data_path": "table.csv"}
DEADLINE_S = 40.0


@pytest.fixture
def disk() -> Iterator[TinyDisk]:
    with tiny_disk(1024) as disk:
        yield disk


@pytest.fixture
def on_disk(disk: TinyDisk, request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis whose append-only file is on the tiny disk, and everything else elsewhere."""
    options = ("--dir", str(disk.path), "--auto-aof-rewrite-percentage", "0", *getattr(request, "param", ()))
    with tempfile.TemporaryDirectory(prefix="hr-") as folder, running_redis(Path(folder), options=options) as server:
        yield server


async def status_of_submit(http: httpx.AsyncClient) -> int:
    return (await http.post("/jobs/training", json=TRAINING)).status_code


async def until_submits_get(http: httpx.AsyncClient, wanted: int) -> None:
    """Submit until the response has this status. Until then each response must be 202 or 503."""
    with anyio.fail_after(DEADLINE_S):
        while (status := await status_of_submit(http)) != wanted:
            assert status in (202, 503)
            await anyio.sleep(0.05)


async def until_exit(server: RedisServer) -> int:
    assert server.process is not None
    with anyio.fail_after(DEADLINE_S):
        return await anyio.to_thread.run_sync(server.process.wait)


async def until_logged(log: Path, words: str) -> None:
    with anyio.fail_after(DEADLINE_S):
        while words not in log.read_text():  # noqa: ASYNC110, ASYNC240 - a small file, which announces nothing
            await anyio.sleep(0.05)


@pytest.mark.fault(
    "redis",
    "the disk of Redis is full, appendfsync everysec",
    sees="503 for submissions; running jobs continue, and end once there is space",
)
async def test_a_full_disk_of_redis_refuses_submits_and_loses_no_result(
    on_disk: RedisServer, disk: TinyDisk, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    with running_gateway(on_disk.url, tmp_path) as gateway:
        async with bench(on_disk.url) as side, gateway.client() as http:
            job_id = await side.submit()
            with worker_process(on_disk.url, "speak", lease_s=30.0, log=log):
                await side.until(job_id, lambda event: isinstance(event, Emitted))
                disk.fill()
                await until_submits_get(http, 503)
                ready = await http.get("/readyz")
                await until_logged(log, "settle_postponed")
                disk.free()
                job = await side.done(job_id, deadline_s=DEADLINE_S)
                await until_submits_get(http, 202)
            chunks = [event.chunk for event in await side.events(job_id) if isinstance(event, Emitted)]
            assert (await http.get("/readyz")).status_code == 200

    assert ready.status_code == 503
    assert "disk full" in " ".join(ready.json()["faults"])
    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)
    assert chunks == [f"{n} " for n in range(60)]


@pytest.mark.fault(
    "redis",
    "the disk of Redis is full, appendfsync always",
    sees="Redis exits; 503 until it is started again; no acknowledged job is missing",
)
@pytest.mark.parametrize("on_disk", [("--appendfsync", "always")], indirect=True)
async def test_a_redis_that_ends_itself_on_a_full_disk_has_every_acknowledged_job(
    on_disk: RedisServer, disk: TinyDisk, tmp_path: Path
) -> None:
    with running_gateway(on_disk.url, tmp_path) as gateway:
        async with bench(on_disk.url) as side, gateway.client() as http:
            job_id = await side.submit()
            with worker_process(on_disk.url, "speak", lease_s=30.0):
                await side.until(job_id, lambda event: isinstance(event, Emitted))
                disk.fill()
                acknowledged = []
                while (answer := await http.post("/jobs/training", json=TRAINING)).status_code == 202:
                    acknowledged.append(JobId(answer.json()["job_id"]))
                assert answer.status_code == 503
                assert await until_exit(on_disk) == 1
                assert (await http.get(f"/jobs/{job_id}/status")).status_code == 503
                disk.free()
                on_disk.start()
                job = await side.done(job_id, deadline_s=DEADLINE_S)
                await until_submits_get(http, 202)
            for known in acknowledged:
                assert (await side.folded(known)).state is JobState.QUEUED

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)


def append_only_file(server: RedisServer) -> Path:
    """The file to damage. Redis 7 has a folder of parts, older versions have one file."""
    parts = [*server.folder.glob("appendonlydir/*.incr.aof"), *server.folder.glob("appendonly.aof")]
    return parts[0]


def damage(path: Path) -> bytes:
    """Change one byte of the framing near the middle. -> the content before"""
    whole = path.read_bytes()
    at = whole.index(b"\r\n$", len(whole) // 2) + 2
    path.write_bytes(whole[:at] + b"?" + whole[at + 1 :])
    return whole


def repair(server: RedisServer) -> None:
    """Cut the file off where the damage begins, as redis-check-aof does."""
    server_binary = Path(executable())
    name = server_binary.name.replace("-server", "-check-aof")
    checker = server_binary.with_name(name)
    # The program checks files if it is started under this name.
    program = checker if checker.exists() else server_binary
    subprocess.run(
        # Check the file and not its manifest: valkey-check-aof 9.1.2 cannot read the base file of Valkey 9.
        [name, "--fix", str(append_only_file(server))],
        executable=program,
        input=b"y\n",
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.quick
@pytest.mark.fault(
    "redis",
    "one byte in the middle of the append-only file is damaged",
    sees=(
        "Redis does not start; 503; after a restore, everything is there; after a repair, everything before the damage"
    ),
)
@pytest.mark.parametrize("is_restored", [True, False], ids=["restored", "repaired"])
async def test_a_damaged_append_only_file_is_503_until_it_is_repaired(
    own_redis: RedisServer, tmp_path: Path, is_restored: bool
) -> None:
    with running_gateway(own_redis.url, tmp_path) as gateway:
        async with bench(own_redis.url) as side, gateway.client() as http:
            jobs = [await side.submit() for _ in range(20)]
            own_redis.stop()
            whole = damage(append_only_file(own_redis))
            with pytest.raises(redis.exceptions.RedisError):
                own_redis.start()
            for path in (f"/jobs/{jobs[0]}/status", "/jobs", "/queues", "/readyz"):
                assert (await http.get(path)).status_code == 503, path
            assert await status_of_submit(http) == 503

            if is_restored:
                append_only_file(own_redis).write_bytes(whole)
            else:
                repair(own_redis)
            own_redis.start()
            await until_submits_get(http, 202)
            kept = []
            for job_id in jobs:
                try:
                    kept.append((await side.folded(job_id)).id)
                except JobNotFound:
                    break

    assert kept == (jobs if is_restored else jobs[: len(kept)])
    assert len(kept) >= len(jobs) // 2 - 1


@pytest.mark.quick
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        pytest.param(
            ("--appendonly", "no"),
            "the append-only file is off",
            marks=pytest.mark.fault(
                "redis", "Redis runs without an append-only file", sees="`/readyz` and the workers' logs say so"
            ),
        ),
        pytest.param(
            ("--maxmemory-policy", "allkeys-lru"),
            "maxmemory-policy is allkeys-lru",
            marks=pytest.mark.fault(
                "redis",
                "Redis has an eviction policy that may remove jobs",
                sees="`/readyz` and the workers' logs say so",
            ),
        ),
    ],
)
async def test_a_redis_that_would_lose_jobs_is_named_by_the_gateway_and_by_workers(
    tmp_path: Path, options: tuple[str, str], fault: str
) -> None:
    log = tmp_path / "worker.log"
    with (
        tempfile.TemporaryDirectory(prefix="hr-") as folder,
        running_redis(Path(folder), options=options) as server,
        running_gateway(server.url, tmp_path) as gateway,
        worker_process(server.url, "answer", log=log),
    ):
        ready = await readiness(gateway)
        await until_logged(log, "redis_unfit")

    assert ready.status_code == 503
    assert fault in " ".join(ready.json()["faults"])
    [said] = [line for line in log.read_text().splitlines() if "redis_unfit" in line]
    assert fault in said


async def readiness(gateway: Gateway) -> httpx.Response:
    async with gateway.client() as http:
        return await http.get("/readyz")
