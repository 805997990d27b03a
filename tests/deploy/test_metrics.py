"""/metrics of the gateway and of a worker, read by Prometheus' own parser after real jobs."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from headrace_local.system import free_port
from prometheus_client.parser import text_string_to_metric_families
from shared_schemas.events import Emitted

from tests.support.gateways import INFERENCE, MODEL, driver, running_gateway
from tests.support.worker_process import worker_process
from tests.support.workers import bench

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def samples_of(url: str) -> Samples:
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.get(f"{url}/metrics")
    reply.raise_for_status()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def labels(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(given.items()))


async def test_a_gateway_counts_requests_and_shows_the_state_of_the_queues(redis_url: str, tmp_path: Path) -> None:
    with running_gateway(redis_url, tmp_path) as gateway:
        async with driver(redis_url) as drive, gateway.client() as http:
            await drive.publish()
            for _ in range(3):
                await http.post("/jobs/inference", json={"model_id": MODEL, "input_data": "x"})
            await http.get("/jobs/nothing/status")
            await http.get("/no/such/path/of/any/kind")

            samples = await samples_of(gateway.url)

    of_post = labels(method="POST", route="/jobs/inference", status="202")
    assert samples["headrace_http_requests_total", of_post] == 3
    assert samples["headrace_submit_jobs_sum", ()] == 3
    assert samples["headrace_queue_jobs", labels(queue=INFERENCE, state="queued")] == 3
    assert samples["headrace_queue_oldest_waiting_seconds", labels(queue=INFERENCE)] > 0
    assert samples["headrace_redis_up", ()] == 1
    # A path is text of the caller, and each path would make another series.
    assert not [name for name in samples if "/no/such" in str(name) or "nothing" in str(name)]


async def test_a_gateway_without_redis_shows_what_it_has_counted(tmp_path: Path) -> None:
    with running_gateway(f"unix://{tmp_path}/none.sock", tmp_path) as gateway:
        samples = await samples_of(gateway.url)

    assert samples["headrace_redis_up", ()] == 0
    assert samples["process_cpu_seconds_total", ()] > 0


async def test_a_worker_counts_what_it_runs(redis_url: str) -> None:
    port = free_port()
    with worker_process(redis_url, "obey", slots=4, metrics_port=port):
        async with bench(redis_url) as jobs:
            for behaviour in ("say", "say", "refuse"):
                await jobs.done(await jobs.submit(input_data=behaviour))

            samples = await samples_of(f"http://127.0.0.1:{port}")

    assert samples["headrace_attempts_total", labels(queue=INFERENCE, outcome="success")] == 2
    assert samples["headrace_attempts_total", labels(queue=INFERENCE, outcome="failure")] == 1
    for name in ("headrace_job_wait_seconds", "headrace_attempt_run_seconds"):
        assert samples[f"{name}_count", labels(queue=INFERENCE)] == 3
    assert samples["headrace_slots", ()] == 4
    assert samples["headrace_heartbeat_delay_seconds_count", labels(queue=INFERENCE)] >= 1


@pytest.mark.timeout(60)
async def test_a_worker_says_that_its_event_loop_is_held_up(redis_url: str) -> None:
    port = free_port()
    with worker_process(redis_url, "obey", metrics_port=port):
        async with bench(redis_url) as jobs, httpx.AsyncClient(trust_env=False, timeout=20) as http:
            await jobs.until_workers(1)
            healthz = f"http://127.0.0.1:{port}/healthz"
            before = await http.get(healthz)
            job_id = await jobs.submit(input_data="freeze")
            await jobs.until(job_id, lambda event: isinstance(event, Emitted))
            # The event is there a moment before the handler blocks the event loop, for ten seconds.
            while (meanwhile := await http.get(healthz)).status_code == 200:
                pass
            counted = await http.get(f"http://127.0.0.1:{port}/metrics")
            await jobs.done(job_id)
            after = await http.get(healthz)
            other = await http.get(f"http://127.0.0.1:{port}/other")

    replies = [before, meanwhile, counted, after, other]
    assert [reply.status_code for reply in replies] == [200, 503, 200, 200, 404]


@pytest.mark.parametrize("part", ["training_worker", "inference_worker"])
def test_a_worker_whose_port_is_taken_says_so_and_ends(redis_url: str, tmp_path: Path, part: str) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        settings = {
            "METRICS_PORT": str(taken.getsockname()[1]),
            "REDIS_URL": redis_url,
            "ARTIFACTS_ROOT": str(tmp_path),
        }
        environment = os.environ | {f"HEADRACE_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", part]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 78
    assert "HEADRACE_METRICS_PORT: EADDRINUSE" in done.stderr
