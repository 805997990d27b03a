"""ONNX's own node tests, served: a gateway, a worker and Redis answer as ONNX Runtime does in process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import onnx
import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.models import ModelManifest, TensorSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import Driver, driver, running_gateway
from tests.support.inference_process import inference_process
from tests.support.onnx_nodes import NodeTest, node_tests, run_in_process
from tests.support.onnx_tensors import DTYPES, Array, read, signature, written

_AT_ONCE = 32
# Operators whose tests have every dtype, tensors without values, and results whose size the values decide.
_SAMPLE = (
    "castlike",
    "equal",
    "isinf",
    "isnan",
    "loop",
    "nonzero",
    "reshape",
    "string_concat",
    "string_split",
    "where",
)
_ANY = (TensorSpec(name="x", dtype="float32", shape=None),)


class Passed(msgspec.Struct, frozen=True, eq=False):
    """A node test that ONNX Runtime passes in process, and what came out there."""

    test: NodeTest
    outputs: list[Any]


def passed_in_process(tests: Sequence[NodeTest]) -> list[Passed]:
    passed = []
    for test in tests:
        try:
            outputs = run_in_process(test)
            test.check(outputs)
        except Exception:  # noqa: S112 - it raises many classes for what it cannot run, and some outputs are random
            continue
        passed.append(Passed(test, outputs))
    return passed


class Served:
    """A gateway with a worker."""

    def __init__(self, http: httpx.AsyncClient, drive: Driver, store: ArtifactStore) -> None:
        self._http, self._drive, self._store = http, drive, store
        self._publishing = asyncio.Lock()

    async def ask(self, name: str, test: NodeTest, input_data: Any) -> dict[str, Any]:
        """The job, done."""
        inputs, outputs = signature(onnx.load_from_string(test.model)) if test.is_carried else (_ANY, _ANY)
        async with self._publishing:
            await self._drive.publish(name, manifest=_manifest(self._store.put_bytes(test.model), inputs, outputs))
        body = {"model_id": name, "input_data": input_data}
        answer = await self._http.post("/jobs/inference", json=body, headers={"Prefer": "wait=60"})
        assert answer.status_code == 200, (test.name, answer.text[:300])
        job: dict[str, Any] = answer.json()
        return job


def _tensors(test: NodeTest) -> tuple[TensorSpec, ...]:
    inputs, outputs = signature(onnx.load_from_string(test.model))
    return inputs + outputs


def _manifest(file: ArtifactRef, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> ModelManifest:
    return ModelManifest(task="tensors", model_type="onnx", onnx=file, inputs=inputs, outputs=outputs)


@asynccontextmanager
async def serving(redis_url: str, folder: Path) -> AsyncIterator[Served]:
    store = ArtifactStore(folder / "artifacts")
    with (
        # The default is less than what an average over a volume takes in JSON.
        running_gateway(redis_url, folder, max_body_bytes=8 << 20) as gateway,
        # Room for a few models, so that most of them are unloaded on the way.
        inference_process(redis_url, folder / "artifacts", models_bytes=1 << 20),
    ):
        async with gateway.client() as http, driver(redis_url) as drive:
            yield Served(http, drive, store)


async def fails_when_served(served: Served, each: Passed, number: int) -> str:
    """Why, or nothing."""
    # Both ways of writing a tensor; nested lists cannot say what stands behind a dimension of 0.
    nested = number % 2 == 0 and all(0 not in array.shape for array in each.test.inputs.values())
    inputs = {name: written(array, nested=nested) for name, array in each.test.inputs.items()}
    job = await served.ask(f"node-{number}", each.test, inputs)
    if job["state"] != "succeeded":
        return f"{each.test.name}: {job['error']}"
    answers = job["result"]["outputs"]
    outputs = [read(answers[name]) for name in each.test.outputs]
    try:
        each.test.check(outputs)
        for here, there in zip(outputs, each.outputs, strict=True):
            check_same(here, np.asarray(there))
    except AssertionError as error:
        return f"{each.test.name}: {error}"
    return ""


def check_same(here: Array, there: Array) -> None:
    """JSON lost no bit. A NaN is a NaN, whatever else is in it."""
    assert (here.dtype, here.shape) == (there.dtype, there.shape)
    if here.dtype == np.object_:
        assert here.tolist() == there.tolist()
        return
    is_nan = there != there
    assert np.array_equal(here != here, is_nan)
    assert here[~is_nan].tobytes() == there[~is_nan].tobytes()


async def failures_of(served: Served, tests: Sequence[Passed]) -> list[str]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def ask(number: int, each: Passed) -> str:
        async with limit:
            return await fails_when_served(served, each, number)

    return [found for found in await asyncio.gather(*(ask(i, each) for i, each in enumerate(tests))) if found]


@pytest.mark.onnx_nodes
@pytest.mark.timeout(1800)
async def test_each_node_test_that_passes_in_process_passes_when_it_is_served(redis_url: str, tmp_path: Path) -> None:
    carried = [test for test in node_tests() if test.is_carried]
    passed = passed_in_process(carried)

    async with serving(redis_url, tmp_path) as served:
        failed = await failures_of(served, passed)

    print(f"{len(carried)} node tests of tensors, of which ONNX Runtime passes {len(passed)} in process")
    assert not failed, "\n".join(failed)
    assert len(passed) > 1000


async def test_of_the_node_tests_a_sample_passes_when_it_is_served(redis_url: str, tmp_path: Path) -> None:
    passed = passed_in_process([test for test in node_tests(_SAMPLE) if test.is_carried])

    async with serving(redis_url, tmp_path) as served:
        failed = await failures_of(served, passed)

    assert not failed, "\n".join(failed)
    assert {tensor.dtype for each in passed for tensor in _tensors(each.test)} == set(DTYPES)
    assert len(passed) > 50


@pytest.mark.onnx_nodes
@pytest.mark.timeout(600)
async def test_a_node_test_of_what_jobs_cannot_carry_is_refused_by_name(redis_url: str, tmp_path: Path) -> None:
    others = [test for test in node_tests() if not test.is_carried]
    passed = [each.test for each in passed_in_process(others)]

    async with serving(redis_url, tmp_path) as served:
        jobs = [await served.ask(f"node-{i}", test, {"x": 1}) for i, test in enumerate(passed)]

    print(f"{len(others)} node tests of other types, of which ONNX Runtime passes {len(passed)} in process")
    for test, job in zip(passed, jobs, strict=True):
        assert job["state"] == "failed", test.name
        assert job["error"]["code"] == "model_unsupported", test.name
        assert "which jobs cannot carry" in job["error"]["message"], test.name
