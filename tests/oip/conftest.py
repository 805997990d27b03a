"""One gateway, worker and Redis for the tests of the Open Inference Protocol, with models of each task."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import tritonclient.http
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import Gateway, running_gateway
from tests.support.inference_process import inference_process
from tests.support.oip_models import models, publish
from tests.support.redis_server import running_redis


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("oip")
    with tempfile.TemporaryDirectory(prefix="hr-") as short, running_redis(Path(short)) as redis:
        asyncio.run(publish(redis.url, models(ArtifactStore(folder / "artifacts"))))
        # Long enough that no test is helped by a regular look at the timeline.
        with (
            running_gateway(redis.url, folder, keep_alive_s=3600, infer_wait_s=40) as gateway,
            inference_process(redis.url, folder / "artifacts"),
        ):
            # Its answer shows that the worker has begun.
            body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
            httpx.post(f"{gateway.url}/v2/models/rows/infer", json=body, timeout=60).raise_for_status()
            yield gateway


@pytest.fixture
def triton(served: Gateway) -> Iterator[tritonclient.http.InferenceServerClient]:
    with tritonclient.http.InferenceServerClient(served.url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture
def http(served: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False, timeout=60) as client:
        yield client
