"""The same row has the same bits alone and in company, where the model allows it, and jobs may ask for it."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import numpy as np
import pytest
from inference_worker.engines.batcher import BatchLimits
from inference_worker.engines.batching import BatchingEngine
from inference_worker.engines.invariance import (
    ALWAYS,
    NEVER,
    UNKNOWN,
    Invariance,
    RowSizes,
    combined,
    probed,
    sample_rows,
)
from inference_worker.engines.session import OrtSession, Stop
from inference_worker.handler import InferenceHandler
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from inference_worker.tensors import Array, Arrays, Row
from shared_schemas.models import TensorSpec
from shared_schemas.outcome import Success
from shared_schemas.specs import InferenceParameters, InferenceSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.attempts import CollectingAttempt
from tests.support.onnx_models import (
    Published,
    a_model,
    convolution,
    endless_loop,
    int4,
    int8_dynamic,
    mlp,
    normed,
    product64,
)

MODELS = {
    "mlp": mlp([256, 128, 16]),
    "normed": normed(256, 16),
    "convolution": convolution(16, 16),
    "int4": int4(256, 16),
    "product64": product64(256, 16),
    "int8_dynamic": int8_dynamic(256, 16),
}


def clock() -> float:
    """No time passes."""
    return 0.0


def opened(model: bytes, folder: Path, *, threads: int = 1) -> OrtSession:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return OrtSession(path, device="cpu", intra_op_threads=threads)


def invariance_of(session: OrtSession, *, most: int = 64) -> Invariance:
    rows = sample_rows(session.inputs, most, varying=16)
    assert rows is not None
    return probed(lambda feed: session.run(feed, Stop()), rows, within_s=1.0, clock=clock)


@asynccontextmanager
async def serving(session: OrtSession, invariance: Invariance, *, max_batch: int = 64) -> AsyncIterator[BatchingEngine]:
    engine = BatchingEngine(session, BatchLimits(max_batch=max_batch), invariance=invariance)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            await tasks.start(engine.run)
            yield engine
            tasks.cancel_scope.cancel()


def some_rows(session: OrtSession, n: int) -> list[Row]:
    dtype = np.float64 if session.inputs[0].dtype == "float64" else np.float32
    values = np.random.default_rng(5).standard_normal((n, 256)) * 10.0 ** (np.arange(n) % 3)[:, np.newaxis]
    return [Row({"features": row}) for row in values.astype(dtype)]


async def bits(engine: BatchingEngine, rows: list[Row], *, alone: bool = False) -> list[bytes]:
    """Of the outputs of rows that are sent at the same time."""
    found: dict[int, bytes] = {}

    async def ask(index: int) -> None:
        found[index] = (await engine.infer(rows[index], alone=alone))["logits"].tobytes()

    async with anyio.create_task_group() as callers:
        for index in range(len(rows)):
            callers.start_soon(ask, index)
    return [found[index] for index in range(len(rows))]


async def bits_in_company(engine: BatchingEngine, rows: list[Row]) -> set[tuple[bytes, ...]]:
    """Of the same rows, each time in batches of another size."""
    found = {tuple([(await bits(engine, [row]))[0] for row in rows])}
    for n in (2, 3, 5, 16, len(rows)):
        found.add(
            tuple([one for first in range(0, len(rows), n) for one in await bits(engine, rows[first : first + n])])
        )
    return found


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "int8_dynamic"])
async def test_in_the_sizes_that_were_found_each_row_has_the_same_bits(tmp_path: Path, name: str, threads: int) -> None:
    session = opened(MODELS[name], tmp_path, threads=threads)
    invariance = invariance_of(session)
    assert invariance.sizes is not None

    async with serving(session, invariance) as engine:
        found = await bits_in_company(engine, some_rows(session, 45))

    assert len(found) == 1


async def test_without_these_sizes_the_company_changes_the_bits(tmp_path: Path) -> None:
    """Negative control of the test above: the same rows of the same model, not padded."""
    session = opened(MODELS["int4"], tmp_path)
    invariance = invariance_of(session)

    async with serving(session, UNKNOWN) as engine:
        found = await bits_in_company(engine, some_rows(session, 45))

    assert len(found) > 1, "this processor needs no padding: use a model that does"
    assert (invariance.sizes or RowSizes()).smallest > 1


async def test_rows_that_share_a_scale_never_have_the_same_bits_but_alone(tmp_path: Path) -> None:
    session = opened(MODELS["int8_dynamic"], tmp_path)
    invariance = invariance_of(session)
    rows = some_rows(session, 20)

    async with serving(session, invariance) as engine:
        n_runs = engine.n_runs
        alone = await bits(engine, rows, alone=True)
        n_alone = engine.n_runs - n_runs
        one_by_one = [(await bits(engine, [row]))[0] for row in rows]
        together = await bits(engine, rows)

    assert invariance == NEVER
    assert (n_alone, alone) == (20, one_by_one)
    assert together != alone


Kernel = Callable[[Array], Array]


def in_classes(*smallest: int) -> Kernel:
    """A kernel for each range of sizes that begins at one of these, all different in the last bits."""

    def run(rows: Array) -> Array:
        kernel = sum(len(rows) >= size for size in smallest)
        return rows * np.float32(1 + kernel * 2**-20)

    return run


def by_place(rows: Array) -> Array:
    """What comes after the last multiple of 4 is computed by another kernel, as the end of a vector is."""
    found = rows.copy()
    found[len(rows) // 4 * 4 :] *= np.float32(1 + 2**-20)
    return found


@pytest.mark.parametrize(
    ("kernel", "found"),
    [
        (in_classes(), RowSizes(1)),
        (in_classes(2), RowSizes(2)),
        (in_classes(4), RowSizes(4)),
        (in_classes(4, 49), RowSizes(4, 48)),
        (in_classes(33), RowSizes(1, 32)),
        (in_classes(8), None),
        (in_classes(2, 12), None),
        (by_place, None),
        (lambda rows: rows / np.abs(rows).max(), None),
        (lambda rows: rows - rows.mean(axis=0), None),
    ],
)
def test_the_sizes_are_those_from_a_small_one_up_that_agree(kernel: Kernel, found: RowSizes | None) -> None:
    rows = sample_rows([TensorSpec(name="x", dtype="float32", shape=("n", 3))], 128, varying=16)
    assert rows is not None

    assert probed(lambda feed: {"y": kernel(feed["x"])}, rows, within_s=1.0, clock=clock) == Invariance(found)


@pytest.mark.parametrize(
    ("times", "most_runs"),
    [
        ([0.0, 0.3], 1),
        ([0.0, 0.1, 0.15], 2),
        ([0.0, 0.001, 0.002, *np.arange(0.1, 9.0, 0.1).tolist()], 90),
    ],
    ids=["large", "slow", "slower than it seemed"],
)
def test_a_trial_that_cannot_end_in_time_ends_soon(times: list[float], most_runs: int) -> None:
    """times: that the clock shows, one after another."""
    rows, clock, n_runs = {"x": np.zeros((128, 3), dtype=np.float32)}, iter(times), 0

    def run(feed: Arrays) -> Arrays:
        nonlocal n_runs
        n_runs += 1
        return feed

    assert probed(run, rows, within_s=1.0, clock=lambda: next(clock)) == UNKNOWN
    assert n_runs <= most_runs


async def test_a_model_that_never_ends_is_not_probed_for_long(tmp_path: Path) -> None:
    session, stop = opened(endless_loop(3), tmp_path), Stop()
    rows = sample_rows(session.inputs, 8, varying=1)
    assert rows is not None
    alarm = threading.Timer(0.2, stop.now)
    alarm.start()

    found = await anyio.to_thread.run_sync(
        lambda: probed(lambda feed: session.run(feed, stop), rows, within_s=1.0, clock=clock)
    )

    assert found == UNKNOWN


def test_what_is_known_of_several_shapes_is_what_holds_for_all() -> None:
    assert combined([ALWAYS, Invariance(RowSizes(2))]) == Invariance(RowSizes(2))
    assert combined([Invariance(RowSizes(2, 48)), Invariance(RowSizes(4))]) == Invariance(RowSizes(4, 48))
    assert combined([ALWAYS, NEVER]) == NEVER
    assert combined([NEVER, UNKNOWN]) == UNKNOWN


def test_nothing_is_known_of_strings_and_of_large_rows() -> None:
    assert sample_rows([TensorSpec(name="x", dtype="string", shape=("n",))], 4, varying=1) is None
    assert sample_rows([TensorSpec(name="x", dtype="float32", shape=("n", 1 << 20))], 8, varying=1) is None


@pytest.mark.parametrize("name", ["mlp", "int4", "int8_dynamic"])
async def test_a_reproducible_job_has_the_same_digest_under_load(tmp_path: Path, name: str) -> None:
    store = ArtifactStore(tmp_path)
    features, labels = [f"f{i}" for i in range(256)], [f"l{i}" for i in range(16)]
    model = a_model(store, MODELS[name], features=features, labels=labels)
    rows = [(row.inputs["features"] * 10).tolist() for row in some_rows(opened(MODELS[name], tmp_path), 60)]
    settings = Settings(device="cpu", intra_op_threads=1)

    def asking(row: list[float], *, reproducible: bool) -> CollectingAttempt:
        parameters = InferenceParameters(reproducible=reproducible)
        return CollectingAttempt(InferenceSpec(model_id="model", input_data=row, parameters=parameters))

    async with LoadedModels(Published(model).resolve, store, settings) as models:
        handler, found = InferenceHandler(models, device="cpu"), dict[int, Success]()

        async def ask(index: int, *, reproducible: bool) -> None:
            outcome = await handler.run(asking(rows[index], reproducible=reproducible))
            assert isinstance(outcome, Success)
            found[index] = outcome

        async def ask_all(*, reproducible: bool) -> list[Success]:
            async with anyio.create_task_group() as callers:
                for index in range(len(rows)):
                    # Of each three jobs, one does not care, and runs in any company.
                    callers.start_soon(lambda i=index: ask(i, reproducible=reproducible and i % 3 > 0))
            return [found[index] for index in range(len(rows))]

        with anyio.fail_after(30):
            alone = list[Success]()
            for index in range(len(rows)):
                await ask(index, reproducible=index % 3 > 0)
                alone.append(found[index])
            loaded = await ask_all(reproducible=True)
            careless = await ask_all(reproducible=False)

    asked = [index for index in range(len(rows)) if index % 3]
    assert [loaded[index].digest for index in asked] == [alone[index].digest for index in asked]
    assert [bytes(loaded[index].result) for index in asked] == [bytes(alone[index].result) for index in asked]
    results = [[bytes(each.result) for each in of_all] for of_all in (alone, careless)]
    # Negative control: in any company, the answers of the one model without sizes differ.
    assert (results[0] == results[1]) == (name != "int8_dynamic")
    facts = loaded[1].facts
    assert facts["batch_invariant"] == ("no" if name == "int8_dynamic" else "yes")
    assert len(msgspec.json.encode(facts)) < 200
