"""A publishing job whose worker, gateway or Redis ends at any point publishes one version, or none."""

import hashlib
import signal
from pathlib import Path

import anyio
import httpx
import pytest
from headrace import AsyncClient
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.store.files import ArtifactStore

from tests.support.armed import command
from tests.support.gateways import running_gateway
from tests.support.inference_process import PUBLISHING, inference_process
from tests.support.onnx_tensors import identity
from tests.support.publishing import publisher
from tests.support.redis_server import running_redis

MODEL = identity("float32", ("n",))
LEASE = {"lease_s": 1.5}


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "kill -9 of a publishing worker at any step",
    sees="one version; it becomes visible once the job has succeeded",
)
@pytest.mark.parametrize(
    ("point", "nth"),
    [("attempt_begun", 1), ("probe_reported", 1), ("probe_reported", 3), ("handler_ended", 1), ("attempt_let_go", 1)],
)
async def test_a_killed_worker_leaves_one_version(redis_url: str, tmp_path: Path, point: str, nth: int) -> None:
    artifacts = tmp_path / "artifacts"
    with (
        running_gateway(redis_url, tmp_path) as gateway,
        inference_process(redis_url, artifacts, module=PUBLISHING, armed=("kill", point, nth), **LEASE) as first,
    ):
        async with publisher(gateway) as user:
            job = await user.submit(MODEL, "model")
            assert await anyio.to_thread.run_sync(first.wait) == -signal.SIGKILL
            seen = await user.versions("model")
            with inference_process(redis_url, artifacts, module=PUBLISHING, **LEASE):
                ended = await user.ended(job["job_id"])

            assert seen == ([1] if point == "attempt_let_go" else [])
            assert ended["status"] == "succeeded"
            assert await user.versions("model") == [1]
            assert ended["result"]["model"] == "model@1"


@pytest.mark.fault(
    "workers",
    "SIGSTOP of a publishing worker until another one has published the model",
    sees="one version",
)
async def test_a_worker_that_was_stopped_publishes_nothing_after_another_has(redis_url: str, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    with (
        running_gateway(redis_url, tmp_path) as gateway,
        inference_process(
            redis_url, artifacts, module=PUBLISHING, armed=("stop", "probe_reported", 2), **LEASE
        ) as stopped,
    ):
        async with publisher(gateway) as user:
            job = await user.submit(MODEL, "model")
            with inference_process(redis_url, artifacts, module=PUBLISHING, **LEASE) as second:
                ended = await user.ended(job["job_id"])
                stopped.send_signal(signal.SIGCONT)
                second.send_signal(signal.SIGSTOP)
                # The first worker goes on from where it was, and then takes the next job.
                after = await user.ended((await user.submit(MODEL, "other"))["job_id"])
                second.send_signal(signal.SIGCONT)

            assert (ended["status"], after["status"]) == ("succeeded", "succeeded")
            assert await user.versions("model") == [1]


@pytest.mark.fault(
    "gateways",
    "kill -9 of a gateway that has stored a publishing job and has not answered",
    sees="the same request with the same key gives the same job; one version",
)
async def test_a_gateway_killed_before_it_answers_makes_one_version_with_the_same_key(
    redis_url: str, tmp_path: Path
) -> None:
    artifacts, key = tmp_path / "artifacts", {"Idempotency-Key": "one"}
    armed = command("kill", "job_accepted", "gateway")[2:]
    with running_gateway(redis_url, tmp_path, module=armed) as gateway:
        async with publisher(gateway) as user:
            body = {"name": "model", "onnx": await user.upload(MODEL)}
            with pytest.raises(httpx.RemoteProtocolError):
                await user.http.post("/models", json=body, headers=key)
    with (
        running_gateway(redis_url, tmp_path) as gateway,
        inference_process(redis_url, artifacts, module=PUBLISHING),
    ):
        async with publisher(gateway) as user:
            again = await user.http.post("/models", json=body, headers={**key, "Prefer": "wait=60"})

            assert again.headers["idempotency-replayed"] == "true"
            assert again.json()["result"]["model"] == "model@1"
            assert await user.versions("model") == [1]


@pytest.mark.fault(
    "gateways",
    "kill -9 of a gateway that has the last byte of an upload, and has not put the file in its place",
    sees="the file is not complete; the next request completes it, with its last byte alone",
)
@pytest.mark.parametrize("way", ["the client", "the last byte", "the whole file"])
async def test_an_upload_that_was_not_put_in_its_place_is_completed(redis_url: str, tmp_path: Path, way: str) -> None:
    sha256, last = hashlib.sha256(MODEL).hexdigest(), len(MODEL) - 1
    told = {"sha256": sha256, "n_bytes": len(MODEL), "is_complete": False}
    progress: list[tuple[int, int]] = []
    armed = command("kill", "artifact_written", "gateway")[2:]
    with running_gateway(redis_url, tmp_path, module=armed) as gateway:
        async with gateway.client() as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.put(f"/files/{sha256}", content=MODEL)
    with running_gateway(redis_url, tmp_path) as gateway:
        async with gateway.client() as http, AsyncClient(gateway.url) as client:
            assert (await http.get(f"/files/{sha256}")).json() == told
            match way:
                case "the client":
                    await client.upload(MODEL, on_progress=lambda *done: progress.append(done))
                    assert progress == [(len(MODEL), len(MODEL))] * 2, "it asked, and sent one part"
                case "the last byte":
                    headers = {"Content-Range": f"bytes {last}-{last}/{len(MODEL)}"}
                    assert (await http.put(f"/files/{sha256}", content=MODEL[-1:], headers=headers)).status_code == 201
                case _:
                    assert (await http.put(f"/files/{sha256}", content=MODEL)).status_code == 201
            assert (await http.get(f"/files/{sha256}")).json() == told | {"is_complete": True}
    ref = ArtifactRef(sha256=sha256, n_bytes=len(MODEL))
    assert ArtifactStore(tmp_path / "artifacts").verify(ref).read_bytes() == MODEL


@pytest.mark.fault(
    "redis",
    "kill -9 of Redis while a model is checked",
    sees="the job goes on; one version",
)
async def test_redis_that_is_killed_loses_no_publishing_job(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    folder = tmp_path / "redis"
    folder.mkdir()
    with (
        running_redis(folder) as server,
        running_gateway(server.url, tmp_path) as gateway,
        inference_process(server.url, artifacts, module=PUBLISHING, armed=("block:3", "probe_reported", 2), **LEASE),
    ):
        async with publisher(gateway) as user:
            job = await user.submit(MODEL, "model")
            async with user.http.stream("GET", f"/jobs/{job['job_id']}/events") as events:
                async for line in events.aiter_lines():
                    if '"line":"checking' in line:
                        break
            server.kill()
            server.start()
            ended = await user.ended(job["job_id"])

            assert ended["status"] == "succeeded"
            assert await user.versions("model") == [1]
