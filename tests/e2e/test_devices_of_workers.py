"""GET /workers shows on what each worker runs, and how much memory is in use. With real processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import psutil
import pytest
from headrace import Client
from shared_schemas.retry import RetryPolicy
from shared_schemas.service.process import processor

from tests.e2e.test_up import up
from tests.support.gateways import TRAINING, running_gateway
from tests.support.gpu_driver import GIB, UUIDS, two_gpus
from tests.support.inference_process import inference_process
from tests.support.onnx_models import linear
from tests.support.publishing import Publisher, publisher, publishing_system
from tests.support.queue_bench import queue_bench
from tests.support.training_process import a_training, training_process

DEADLINE_S = 60.0
# The shortest lease means the most renewals.
LEASE_S = 0.5


async def worker(http: httpx.AsyncClient, kind: str, wanted: Callable[[Any], bool] = bool) -> Any:
    """The device of the worker of a kind, once it is as wanted. Registrations are announced to nobody."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            for each in (await http.get("/workers")).json()["workers"]:
                if each["kind"] == kind and each.get("device") and wanted(each["device"]):
                    return each
            await anyio.sleep(0.05)


async def test_a_worker_on_the_cpu_shows_the_memory_of_its_process_as_it_grows(redis_url: str, tmp_path: Path) -> None:
    serving = {"lease_s": LEASE_S}
    with publishing_system(redis_url, tmp_path, serving=serving) as gateway:
        async with publisher(gateway) as user:
            before = await worker(user.http, "inference")
            await ask_of_a_large_model(user)
            process = psutil.Process(before["pid"])
            least = before["device"]["rss_bytes"] + (64 << 20)
            # More is in use while the model is loaded than afterwards.
            grown = await worker(
                user.http,
                "inference",
                lambda device: (
                    device["rss_bytes"] > least and abs(device["rss_bytes"] - process.memory_info().rss) < (64 << 20)
                ),
            )

    device = grown["device"]
    assert (device["name"], device["hardware"]) == ("cpu", processor())
    assert device["uuid"] is None
    assert 0 < device["used_bytes"] <= device["memory_bytes"] <= psutil.virtual_memory().total
    assert grown["facts"]["device"] == "cpu"


async def ask_of_a_large_model(user: Publisher) -> None:
    weights = np.random.default_rng(0).standard_normal((4096, 8192), dtype=np.float32)
    features, labels = [f"f{i}" for i in range(4096)], [f"l{i}" for i in range(8192)]
    manifest = {"task": "tabular-classification", "features": features, "labels": labels}
    ref = (await user.publish(linear(weights, np.zeros(8192, np.float32)), "large", manifest=manifest))["result"]
    await user.ask(ref["model"], [0.0] * 4096)


async def test_a_training_worker_counts_the_process_that_trains(redis_url: str, tmp_path: Path) -> None:
    with running_gateway(redis_url, tmp_path) as gateway, training_process(redis_url, tmp_path, lease_s=LEASE_S):
        async with gateway.client() as http:
            before = await worker(http, "training")
            (tmp_path / "table.csv").write_text("x,kind\n" + "1,a\n2,b\n" * 50)
            body = {"model_type": "mlp", "data_path": "table.csv", "label_column": "kind"}
            await http.post("/jobs/training", json={**body, "hyperparameters": {"epochs": 100_000}})
            # PyTorch alone takes more.
            grown = await worker(
                http, "training", lambda device: device["rss_bytes"] > before["device"]["rss_bytes"] + (100 << 20)
            )

    assert grown["pid"] == before["pid"]


async def test_a_training_without_its_gpu_fails_with_its_code(redis_url: str, tmp_path: Path) -> None:
    """The driver shows a GPU that PyTorch cannot use, as a driver does that is too old for it."""
    driver = two_gpus(tmp_path)
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, retry=RetryPolicy(max_attempts=1)), queue=TRAINING)
        with training_process(redis_url, tmp_path, device="cuda:1", variables=driver):
            job = await side.done(job_id, deadline_s=DEADLINE_S)

    assert job.error is not None
    assert (job.error.code, job.error.retryable) == ("device_unavailable", True)


async def test_a_worker_shows_the_gpu_that_its_setting_names(redis_url: str, tmp_path: Path) -> None:
    driver = two_gpus(tmp_path)
    with (
        running_gateway(redis_url, tmp_path) as gateway,
        training_process(redis_url, tmp_path, device="cuda:1", variables=driver),
    ):
        async with gateway.client() as http:
            shown = await worker(http, "training")

    device = shown["device"]
    assert (device["name"], device["hardware"], device["uuid"]) == ("cuda:1", "Stand-in 1", UUIDS[1])
    assert (device["memory_bytes"], device["used_bytes"]) == (16 * GIB, 2 * GIB)
    assert shown["facts"]["device"] == "cuda:1"


async def test_a_gpu_that_auto_cannot_use_is_said_in_the_facts_and_the_log(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The driver shows a GPU on which ONNX Runtime can open no model."""
    monkeypatch.setenv("LD_LIBRARY_PATH", two_gpus(tmp_path)["LD_LIBRARY_PATH"])
    with (
        running_gateway(redis_url, tmp_path) as gateway,
        inference_process(redis_url, tmp_path / "artifacts", device="auto"),
    ):
        async with gateway.client() as http:
            shown = await worker(http, "inference")

    lines = [line for line in capfd.readouterr().err.splitlines() if '"gpu_unused"' in line]
    said = [line["reason"] for line in map(json.loads, lines) if line["event"] == "gpu_unused"]
    assert shown["device"]["name"] == shown["facts"]["device"] == "cpu"
    assert said == [shown["facts"]["gpu_unused"]]
    assert "CUDA" in said[0] or "cuda" in said[0]


async def test_workers_that_were_started_apart_on_one_gpu_name_each_other(redis_url: str, tmp_path: Path) -> None:
    driver = two_gpus(tmp_path)
    with (
        running_gateway(redis_url, tmp_path) as gateway,
        training_process(redis_url, tmp_path, device="cuda:1", variables=driver),
        training_process(redis_url, tmp_path, device="cuda:1", variables=driver),
        training_process(redis_url, tmp_path, device="cuda:0", variables=driver),
        training_process(redis_url, tmp_path, device="cpu"),
    ):
        async with gateway.client() as http:
            found: list[Any] = []
            with anyio.fail_after(DEADLINE_S):
                while len(found) < 4:  # registrations are announced to nobody
                    await anyio.sleep(0.05)
                    found = [each for each in (await http.get("/workers")).json()["workers"] if each["device"]]

    on_one = [each for each in found if each["device"]["name"] == "cuda:1"]
    assert [each["gpu_shared_with"] for each in on_one] == [[on_one[1]["name"]], [on_one[0]["name"]]]
    assert [each["gpu_shared_with"] for each in found if each not in on_one] == [[], []]


def test_up_gives_each_worker_a_gpu_of_its_own(tmp_path: Path) -> None:
    options = ("--training-workers", "2", "--inference-workers", "0", "--publishing-workers", "1")
    with up(tmp_path / "data", *options, **two_gpus(tmp_path)) as running, Client(running.url) as client:
        devices = {each.name.rpartition("-")[0]: each.device for each in client.workers()}
        assert running.interrupt() == 0

    assert [devices[f"training-{n}"].uuid for n in (1, 2)] == list(UUIDS)
    assert devices["publishing-1"].name == "cpu"
    assert "share the GPU" not in running.said


def test_up_says_which_workers_share_a_gpu(tmp_path: Path) -> None:
    options = ("--training-workers", "3", "--inference-workers", "0", "--publishing-workers", "0")
    with up(tmp_path / "data", *options, **two_gpus(tmp_path)) as running, Client(running.url) as client:
        devices = {each.name.rpartition("-")[0]: each.device for each in client.workers()}
        assert running.interrupt() == 0

    assert [devices[f"training-{n}"].uuid for n in (1, 2, 3)] == [UUIDS[0], UUIDS[1], UUIDS[0]]
    assert "training-1 and training-3 share the GPU cuda:0" in running.said
