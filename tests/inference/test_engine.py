"""A batching engine on a real ONNX model: results, failures, time limits and cancelled callers."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import numpy as np
import pytest
import structlog
from inference_worker.engines.batcher import BatchLimits
from inference_worker.engines.batching import BatchingEngine
from inference_worker.engines.compute import ComputeThread
from inference_worker.engines.session import OrtSession
from inference_worker.tensors import Array, Row, Rows, text_row
from shared_schemas.errors import AttemptFailed, WorkerUnfit
from shared_schemas.service import failpoints

from tests.support.onnx_models import bigram, endless_loop, long_loop, mlp

TABLE = np.random.default_rng(0).standard_normal((50, 50)).astype(np.float32)
POISON = 50


@asynccontextmanager
async def serving(
    model: bytes, folder: Path, *, run_timeout_s: float = 20.0, max_batch: int = 16, max_wait_ms: float = 0.0
) -> AsyncIterator[BatchingEngine]:
    path = folder / "model.onnx"
    path.write_bytes(model)
    session = OrtSession(path, device="cpu", intra_op_threads=1)
    engine = BatchingEngine(
        session, BatchLimits(max_batch=max_batch, max_wait_ms=max_wait_ms), run_timeout_s=run_timeout_s
    )
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            await tasks.start(engine.run)
            try:
                yield engine
            finally:
                tasks.cancel_scope.cancel()


async def answers(engine: BatchingEngine, rows: list[Row], output: str = "logits") -> list[Array | str]:
    """The output of each row, or the code of its error. All rows are sent at the same time."""
    found: dict[int, Array | str] = {}

    async def ask(index: int) -> None:
        try:
            found[index] = (await engine.infer(rows[index]))[output]
        except AttemptFailed as error:
            found[index] = error.info().code

    async with anyio.create_task_group() as callers:
        for index in range(len(rows)):
            callers.start_soon(ask, index)
    return [found[index] for index in range(len(rows))]


async def test_batched_results_are_those_of_single_runs(tmp_path: Path) -> None:
    inputs = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)
    rows = [Row({"features": x}) for x in inputs]

    async with serving(mlp([8, 64, 64, 3]), tmp_path) as engine:
        alone = [(await engine.infer(row))["logits"] for row in rows]
        n_alone = engine.n_runs
        together = await answers(engine, rows)

    assert n_alone == 40
    assert engine.n_runs - n_alone < 10
    np.testing.assert_allclose(together, alone, rtol=1e-5)


async def test_texts_of_different_lengths_get_their_own_positions(tmp_path: Path) -> None:
    texts = [list(range(1, 1 + n)) for n in (1, 5, 16, 17, 40, 3)]
    rows = [text_row(ids, longest=48, take=len(ids) - 1) for ids in texts]

    async with serving(bigram(TABLE), tmp_path) as engine:
        found = await answers(engine, rows)

    assert all(np.array_equal(logits, TABLE[ids[-1]]) for logits, ids in zip(found, texts, strict=True))


@pytest.mark.parametrize("poisoned", [{0}, {7}, {15}, {3, 11}])
async def test_a_row_that_cannot_be_processed_fails_alone(tmp_path: Path, poisoned: set[int]) -> None:
    rows = [text_row([POISON if i in poisoned else i], longest=16, take=0) for i in range(16)]

    async with serving(bigram(TABLE), tmp_path, max_wait_ms=5000) as engine:
        found = await answers(engine, rows)

    assert engine.n_rows > 16, "they did not run as one batch at first"
    for i, answer in enumerate(found):
        if i in poisoned:
            assert answer == "model_failed"
        else:
            assert np.array_equal(answer, TABLE[i])


async def test_a_full_batch_runs_although_more_time_to_wait_is_left(tmp_path: Path) -> None:
    rows = [text_row([i], longest=16, take=0) for i in range(4)]

    async with serving(bigram(TABLE), tmp_path, max_batch=4, max_wait_ms=10_000) as engine:
        with anyio.fail_after(5):
            await answers(engine, rows)

    assert engine.n_runs == 1


async def test_callers_that_come_in_consecutive_turns_of_the_event_loop_share_a_run(tmp_path: Path) -> None:
    async with serving(bigram(TABLE), tmp_path) as engine:

        async def ask_after(turns: int) -> None:
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            await engine.infer(text_row([turns], longest=16, take=0))

        async with anyio.create_task_group() as callers:
            for turns in range(8):
                callers.start_soon(ask_after, turns)

    assert (engine.n_runs, engine.n_rows) == (1, 8)


async def test_the_row_of_a_cancelled_caller_never_runs(tmp_path: Path) -> None:
    rows = [text_row([i], longest=16, take=0) for i in range(4)]

    async with serving(bigram(TABLE), tmp_path, max_batch=4, max_wait_ms=10_000) as engine:
        async with anyio.create_task_group() as impatient:
            for row in rows[:3]:
                impatient.start_soon(engine.infer, row)
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        await answers(engine, rows)

    assert (engine.n_runs, engine.n_rows) == (1, 4)


class Gate:
    """Runs of a model wait here. n_reached: how many have come so far."""

    def __init__(self) -> None:
        self.n_reached, self._reached, self._opened = 0, threading.Event(), threading.Event()

    def __call__(self, name: str) -> None:
        if name == "session_run":
            self.n_reached += 1
            self._reached.set()
            assert self._opened.wait(20)

    def open(self) -> None:
        self._opened.set()

    async def until_reached(self) -> None:
        assert await anyio.to_thread.run_sync(self._reached.wait, 20)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    failpoints.arm(gate)
    yield gate
    gate.open()
    failpoints.arm(lambda name: None)


async def test_a_caller_cancelled_after_its_batch_was_formed_does_not_run_either(tmp_path: Path, gate: Gate) -> None:
    row = text_row([1], longest=16, take=0)

    async with serving(bigram(TABLE), tmp_path, max_batch=2) as engine:
        async with anyio.create_task_group() as busy, anyio.create_task_group() as impatient:
            busy.start_soon(answers, engine, [row] * 2)
            await gate.until_reached()
            impatient.start_soon(answers, engine, [row] * 2)
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
            gate.open()
        await anyio.wait_all_tasks_blocked()

    assert (engine.n_runs, engine.n_rows) == (1, 2)


async def test_a_batch_stays_open_for_more_rows_while_the_model_is_busy(tmp_path: Path, gate: Gate) -> None:
    row = text_row([1], longest=16, take=0)

    async with serving(bigram(TABLE), tmp_path) as engine, anyio.create_task_group() as callers:
        for n_more in (1, 1, 2):
            callers.start_soon(answers, engine, [row] * n_more)
            await gate.until_reached()
            await anyio.wait_all_tasks_blocked()
        gate.open()

    assert (engine.n_runs, engine.n_rows) == (2, 4)


QUICK, ENDLESS = np.array([1, 1], dtype=np.float32), np.array([1e18, 1], dtype=np.float32)


@pytest.mark.parametrize("at_fault", [{3}, {0, 7}])
async def test_a_row_that_takes_too_long_fails_alone(tmp_path: Path, at_fault: set[int]) -> None:
    rows = [Row({"features": ENDLESS if i in at_fault else QUICK}) for i in range(8)]

    async with serving(long_loop(2), tmp_path, run_timeout_s=1.0, max_batch=8, max_wait_ms=5000) as engine:
        with anyio.fail_after(4.5):
            found = await answers(engine, rows, "prediction")

    assert {i for i, answer in enumerate(found) if isinstance(answer, str)} == at_fault
    assert {answer for answer in found if isinstance(answer, str)} == {"model_timeout"}


async def test_a_row_that_had_no_time_alone_may_be_tried_again(tmp_path: Path) -> None:
    """The time for the rows of a batch one by one is limited."""
    retryable: list[bool] = []

    async def ask(engine: BatchingEngine) -> None:
        with pytest.raises(AttemptFailed, match="too long") as failure:
            await engine.infer(Row({"features": ENDLESS}))
        retryable.append(failure.value.info().retryable)

    async with serving(long_loop(2), tmp_path, run_timeout_s=0.3, max_batch=4, max_wait_ms=5000) as engine:
        with anyio.fail_after(4):
            async with anyio.create_task_group() as callers:
                for _ in range(4):
                    callers.start_soon(ask, engine)

    assert sorted(retryable) == [False, False, True, True]


async def test_rows_of_a_list_that_are_at_fault_leave_the_others_their_outputs(tmp_path: Path) -> None:
    ids = [POISON if i in (0, 7, 39) else i for i in range(40)]
    rows = Rows({name: np.array([[i] * 16 for i in ids]) for name in ("input_ids", "attention_mask")})

    async with serving(bigram(TABLE), tmp_path, max_batch=8) as engine:
        outputs, errors = await engine.infer_rows(rows)
        with pytest.raises(AttemptFailed, match="could not process"):
            await engine.infer(rows)

    assert {row: error.info().code for row, error in errors.items()} == dict.fromkeys((0, 7, 39), "model_failed")
    assert np.array_equal(outputs["logits"][:, 0], TABLE[[i for i in ids if i != POISON]])


async def test_single_rows_share_the_runs_of_a_list(tmp_path: Path, gate: Gate) -> None:
    inputs = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)
    found: dict[str, Array] = {}

    async with serving(mlp([8, 64, 64, 3]), tmp_path) as engine, anyio.create_task_group() as callers:

        async def ask(item: Row | Rows, name: str) -> None:
            found[name] = (await engine.infer(item))["logits"]

        callers.start_soon(ask, Rows({"features": inputs}), "list")
        await gate.until_reached()
        callers.start_soon(ask, Row({"features": inputs[3]}), "single")
        await anyio.wait_all_tasks_blocked()
        gate.open()

    assert (engine.n_runs, engine.n_rows) == (3, 41)
    assert (found["single"].shape, found["list"].shape) == ((3,), (40, 3))
    np.testing.assert_allclose(found["list"][3], found["single"], rtol=1e-5)


async def test_a_run_begins_only_once_the_one_before_has_stopped(tmp_path: Path, gate: Gate) -> None:
    row = text_row([1], longest=16, take=0)

    async with serving(bigram(TABLE), tmp_path, run_timeout_s=0.1) as engine:
        assert await answers(engine, [row]) == ["model_timeout"]
        async with anyio.create_task_group() as callers:
            later: list[Array | str] = []

            async def ask() -> None:
                later.extend(await answers(engine, [row]))

            callers.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert gate.n_reached == 1
            gate.open()

    assert np.array_equal(later[0], TABLE[1])
    assert gate.n_reached == 2


async def test_a_run_that_does_not_stop_ends_the_worker(tmp_path: Path, gate: Gate) -> None:
    (tmp_path / "model.onnx").write_bytes(bigram(TABLE))
    row = text_row([1], longest=16, take=0)

    with ComputeThread(OrtSession(tmp_path / "model.onnx", device="cpu"), stopping_s=0.1) as thread:
        with pytest.raises(TimeoutError):
            await thread.run([(row, 0, 1)], limit_s=0.1)
        with pytest.raises(WorkerUnfit):
            await thread.run([(row, 0, 1)], limit_s=0.1)

    assert gate.n_reached == 1


async def test_a_run_that_takes_too_long_is_stopped_and_the_engine_serves_on(tmp_path: Path) -> None:
    row = Row({"features": np.ones(2, dtype=np.float32)})

    async with serving(endless_loop(2), tmp_path, run_timeout_s=0.2) as engine:
        first = await answers(engine, [row, row], "prediction")
        second = await answers(engine, [row], "prediction")

    assert first + second == ["model_timeout"] * 3


async def test_an_engine_that_stops_in_the_middle_of_a_run_ends_soon_and_answers_every_caller(tmp_path: Path) -> None:
    row = Row({"features": np.ones(2, dtype=np.float32)})
    found: list[Array | str] = []

    async def ask(engine: BatchingEngine) -> None:
        found.extend(await answers(engine, [row] * 5, "prediction"))

    async with anyio.create_task_group() as callers:
        with anyio.fail_after(10):
            async with serving(endless_loop(2), tmp_path, max_batch=2) as engine:
                callers.start_soon(ask, engine)
                await anyio.wait_all_tasks_blocked()

    assert found == ["worker_stopping"] * 5


async def test_a_stopped_engine_accepts_no_rows(tmp_path: Path) -> None:
    async with serving(bigram(TABLE), tmp_path) as engine:
        pass

    with pytest.raises(AttemptFailed, match="unloaded") as refusal:
        await engine.infer(text_row([1], longest=16))
    assert refusal.value.info().retryable


@pytest.fixture
def lose_device() -> Iterator[Callable[[], None]]:
    """After it is called, every run fails."""

    def fail(name: str) -> None:
        raise RuntimeError(name)

    yield lambda: failpoints.arm(fail)
    failpoints.arm(lambda name: None)


async def test_a_lost_device_is_reported_to_another_caller_if_the_first_is_cancelled(
    tmp_path: Path, lose_device: Callable[[], None]
) -> None:
    row = text_row([1], longest=16, take=0)
    first = anyio.CancelScope()
    errors: list[str] = []

    async def ask(engine: BatchingEngine, name: str, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await engine.infer(row)
            except AttemptFailed as error:
                errors.append(f"{name}: {error.info().code}")

    def cancel_first(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if event["event"] == "session_broken":
            first.cancel()
        raise structlog.DropEvent

    structlog.configure(processors=[cancel_first])
    try:
        async with serving(bigram(TABLE), tmp_path, max_batch=1) as engine:
            await engine.infer(row)
            lose_device()
            async with anyio.create_task_group() as callers:
                callers.start_soon(ask, engine, "first", first)
                callers.start_soon(ask, engine, "second", anyio.CancelScope())
    finally:
        structlog.reset_defaults()

    assert first.cancel_called
    assert errors == ["second: device_failed"]


async def test_a_row_that_fails_while_a_known_good_row_runs_is_itself_at_fault(tmp_path: Path) -> None:
    async with serving(bigram(TABLE), tmp_path) as engine:
        await engine.infer(text_row([1], longest=16, take=0))
        found = await answers(engine, [text_row([POISON], longest=16, take=0), text_row([2], longest=16, take=0)])

    assert found[0] == "model_failed"
    assert np.array_equal(found[1], TABLE[2])
