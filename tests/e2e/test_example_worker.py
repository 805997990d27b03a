"""The worker of docs/examples, which uses only redis-py and docs/protocol.md, runs the jobs of a
real gateway."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.support.gateways import DEADLINE_S, ROOT, Gateway, frames, read_frames, running_gateway
from tests.support.redis_server import RedisServer

EXAMPLES = ROOT / "docs" / "examples"
QUEUE = "training-example"
LEASE_MS = 1500


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, made as the page says."""
    file = tmp_path_factory.mktemp("bundle") / "bundle.json"
    command = [sys.executable, "-m", "shared_schemas.stream.bundle"]
    file.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    return file


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(shared_redis.url, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@contextmanager
def worker(bundle: Path, redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the worker in an interpreter that can import nothing of Headrace but the example's own
    files."""
    hidden = "import sys; sys.modules.update({name: None for name in ('shared_schemas', 'worker_runtime', 'msgspec')})"
    code = f"{hidden}; import runpy; sys.path.insert(0, {str(EXAMPLES)!r}); runpy.run_path(sys.argv[0])"
    code = f"import sys; sys.argv[0] = {str(EXAMPLES / 'worker.py')!r}; {code}"
    environment = os.environ | {"LEASE_MS": str(LEASE_MS)}
    process = subprocess.Popen([sys.executable, "-c", code, str(bundle), redis_url, QUEUE], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def registered(http: httpx.AsyncClient, n: int) -> list[dict[str, Any]]:
    with anyio.fail_after(DEADLINE_S):
        while True:
            workers: list[dict[str, Any]] = (await http.get("/workers")).json()["workers"]
            # Other tests share this Redis, and may have left a worker that is still registered.
            if len(ours := [each for each in workers if each["queue"] == QUEUE]) == n:
                return ours
            await anyio.sleep(0.05)


async def submitted(http: httpx.AsyncClient, text: str) -> str:
    answer = await http.post("/jobs/training", json={"model_type": "x", "data_path": text, "queue": QUEUE})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def test_it_does_a_job_that_is_followed_to_its_result(gateway: Gateway, redis_url: str, bundle: Path) -> None:
    async with gateway.client() as http:
        with worker(bundle, redis_url) as process:
            [shown] = await registered(http, 1)
            job_id = await submitted(http, "abc")
            events = await read_frames(http, f"/jobs/{job_id}/events")
            job = (await http.get(f"/jobs/{job_id}")).json()

    assert (shown["pid"], shown["queue"], shown["slots"], shown["state"]) == (process.pid, QUEUE, 1, "running")
    assert [event.event for event in events] == ["state", "state", "progress", "progress", "progress", "done"]
    assert [int(event.id) for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.json["reason"] for event in events if "reason" in event.json] == ["submitted", "claimed", "succeeded"]
    assert (job["state"], job["result"], job["progress"]["fraction"]) == ("succeeded", {"letters": 3}, 1.0)
    assert (job["attempt"], job.get("failures", 0), job.get("crashes", 0)) == (1, 0, 0)


async def test_when_it_is_killed_a_second_one_takes_its_job_over(
    gateway: Gateway, redis_url: str, bundle: Path
) -> None:
    async with gateway.client() as http:
        with worker(bundle, redis_url) as first, worker(bundle, redis_url):
            await registered(http, 2)
            job_id = await submitted(http, "abcdefghij" * 2)
            async with http.stream("GET", f"/jobs/{job_id}/events") as response:
                async for event in frames(response):
                    if event.event == "progress":
                        break
            begun = (await http.get(f"/jobs/{job_id}")).json()
            [holder] = [each for each in (await registered(http, 2)) if each["name"] == begun["worker"]]
            os.kill(holder["pid"], signal.SIGKILL)
            events = await read_frames(http, f"/jobs/{job_id}/events")
            job = (await http.get(f"/jobs/{job_id}")).json()
            assert holder["pid"] != first.pid or first.wait(DEADLINE_S) == -signal.SIGKILL

    reasons = [event.json["reason"] for event in events if "reason" in event.json]
    assert reasons == ["submitted", "claimed", "worker_lost", "claimed", "succeeded"]
    assert (job["state"], job["attempt"], job["crashes"], job["result"]) == ("succeeded", 2, 1, {"letters": 20})


async def test_it_follows_requests_to_cancel_and_to_pause(gateway: Gateway, redis_url: str, bundle: Path) -> None:
    async with gateway.client() as http:
        with worker(bundle, redis_url):
            await registered(http, 1)
            for verb, reasons in [
                ("cancel", "cancel_requested cancelled"),
                ("pause", "pause_requested released paused"),
            ]:
                job_id = await submitted(http, "x" * 200)
                reasons_received = []
                async with http.stream("GET", f"/jobs/{job_id}/events") as response:
                    async for event in frames(response):
                        if event.event == "progress" and event.json["step"] == 1:
                            await http.post(f"/jobs/{job_id}/{verb}")
                        reasons_received.append(event.json.get("reason"))
                        if reasons_received[-1] == reasons.split()[-1]:
                            break
                assert [reason for reason in reasons_received if reason][2:] == reasons.split()
