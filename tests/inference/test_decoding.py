"""A real decoder on ONNX Runtime writes many texts at once, and each as it would alone."""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
import numpy as np
import onnx
import pytest
from inference_worker.engines.decoding.engine import DecodingEngine, DecodingLimits
from inference_worker.engines.decoding.exactness import UNTRIED
from inference_worker.engines.decoding.form import form_of
from inference_worker.engines.decoding.sequence import Sequence, Take, Taken
from inference_worker.engines.session import OrtSession, Stop
from inference_worker.tensors import Array
from shared_schemas.errors import AttemptFailed, InvalidInput, WorkerUnfit
from shared_schemas.service import failpoints

from tests.support.decoder_graphs import TINY, Shape, depending_on_company, llama, quantized

CONTEXT = TINY.context
PROMPT = [7, 200, 31, 31, 90, 4, 18, 77, 3, 250, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@asynccontextmanager
async def running(engine: DecodingEngine) -> AsyncIterator[DecodingEngine]:
    async with anyio.create_task_group() as tasks:
        await tasks.start(engine.run)
        yield engine
        tasks.cancel_scope.cancel()


def an_engine(path: Path, *, is_tried: bool = True, **limits: float) -> DecodingEngine:
    session = OrtSession(path, device="cpu", intra_op_threads=1)
    return DecodingEngine(session, DecodingLimits(**limits), context_length=CONTEXT, is_tried=is_tried)


def greedy(logits: Array, position: int) -> Taken:
    token = int(logits.argmax())
    return Taken(token, (token, logits.tobytes()), is_last=False)


Text: TypeAlias = list[tuple[int, bytes]]


async def written(engine: DecodingEngine, prompt: list[int], n: int, *, take: Take = greedy) -> Text:
    """Each token with the bits that it was chosen from."""
    pieces: Text = []
    async for new in engine.write(Sequence(prompt, n, take)):
        pieces += new
    return pieces


def by_hand(path: Path, prompt: list[int], n: int) -> list[int]:
    """Greedy, with no cache but a new run over the whole text for each token."""
    session = OrtSession(path, device="cpu", intra_op_threads=1)
    form, tokens = form_of(session), list(prompt)
    empty = np.zeros((1, form.kv_heads, 0, form.head_size), form.dtype)
    for _ in range(n):
        ids = np.array([tokens], np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)} | {past: empty for past, _ in form.names}
        tokens.append(int(session.run(feed, Stop())["logits"][0, -1].argmax()))
    return tokens[len(prompt) :]


async def test_a_text_is_that_of_runs_without_a_cache(tmp_path: Path) -> None:
    path = saved(llama(scale=2.0), tmp_path)
    async with running(an_engine(path)) as engine:
        tokens = [token for token, _ in await written(engine, PROMPT, 40)]
    assert tokens == by_hand(path, PROMPT, 40)
    assert len(set(tokens)) > 10


@pytest.mark.parametrize("bits", [0, 8, 4], ids=["fp32", "int8", "int4"])
async def test_a_text_has_the_same_bits_alone_and_in_a_crowd_that_comes_and_goes(tmp_path: Path, bits: int) -> None:
    model = llama(scale=2.0)
    path = saved(quantized(model, bits) if bits else model, tmp_path)
    random = np.random.default_rng(0)
    async with running(an_engine(path, prefix_bytes=0)) as engine:
        assert engine.invariance.sizes is not None
        alone = await written(engine, PROMPT, 60)
        crowd, found = list[Text](), list[Text]()

        async def other() -> None:
            prompt = random.integers(0, TINY.vocabulary, int(random.integers(1, 100))).tolist()
            crowd.append(await written(engine, prompt, int(random.integers(1, 50))))

        async def same() -> None:
            found.append(await written(engine, PROMPT, 60))

        async with anyio.create_task_group() as tasks:
            for n in range(40):
                tasks.start_soon(same if n % 8 == 3 else other)
                if n % 3 == 0:
                    await anyio.lowlevel.checkpoint()
    assert found == [alone] * 5
    assert len(crowd) == 35


async def test_one_row_is_padded_where_a_run_of_one_row_has_other_bits(tmp_path: Path) -> None:
    path = saved(depending_on_company(llama(scale=2.0), only_alone=True), tmp_path)
    async with running(an_engine(path)) as engine:
        assert str(engine.invariance.sizes) == "2+"
        alone = await written(engine, PROMPT, 30)
        beside = await asyncio.gather(written(engine, PROMPT, 30), written(engine, PROMPT[::-1], 30))
    assert beside[0] == alone
    # Without the padding, a text does depend on its company.
    async with running(an_engine(path, is_tried=False)) as engine:
        alone = await written(engine, PROMPT, 30)
        beside = await asyncio.gather(written(engine, PROMPT, 30), written(engine, PROMPT[::-1], 30))
    assert beside[0] != alone


async def test_a_model_whose_rows_depend_on_each_other_makes_no_promise(tmp_path: Path) -> None:
    engine = an_engine(saved(depending_on_company(llama(), only_alone=False), tmp_path))
    assert engine.invariance.is_known
    assert engine.invariance.sizes is None


async def test_without_the_trial_nothing_is_promised(tmp_path: Path) -> None:
    engine = an_engine(saved(llama(), tmp_path), is_tried=False)
    assert (engine.exactness, engine.invariance.sizes) == (UNTRIED, None)


async def test_an_equal_beginning_is_read_once_and_changes_no_bit(tmp_path: Path) -> None:
    path = saved(llama(scale=2.0), tmp_path)
    other = [*PROMPT[:20], 99, 98, 97, 96]
    async with running(an_engine(path, prefix_bytes=0)) as engine:
        expected = await written(engine, other, 20)
        assert engine.n_tokens_reused == 0
    async with running(an_engine(path)) as engine:
        await written(engine, PROMPT, 5)
        assert await written(engine, other, 20) == expected
        assert engine.n_tokens_reused == 16


async def test_a_cancelled_text_frees_its_cache_for_the_next_step(tmp_path: Path) -> None:
    path = saved(llama(), tmp_path)
    need = len(PROMPT) + 100
    async with running(
        an_engine(path, cache_bytes=need * 2 * TINY.layers * TINY.kv_heads * TINY.head_size * 4)
    ) as engine:
        assert engine.capacity == need
        async with aclosing(engine.write(Sequence(PROMPT, 100, greedy))) as first, asyncio.TaskGroup() as tasks:
            await anext(first)
            second = tasks.create_task(written(engine, PROMPT, 10))
            await anext(first)
            assert not second.done()  # there is no room for it
            await first.aclose()
        assert len(await second) == 10


async def test_a_text_that_can_never_fit_is_refused(tmp_path: Path) -> None:
    engine = an_engine(saved(llama(), tmp_path), cache_bytes=20_000)
    async with running(engine):
        with pytest.raises(InvalidInput, match=f"room for {engine.capacity}"):
            await written(engine, PROMPT, 64)


async def test_a_fault_in_one_text_leaves_the_others_alone(tmp_path: Path) -> None:
    def faulty(logits: Array, position: int) -> Taken:
        if position == 5:
            raise AttemptFailed("model_output_invalid", "no token has a finite score")
        return greedy(logits, position)

    async with running(an_engine(saved(llama(scale=2.0), tmp_path))) as engine:
        alone = await written(engine, PROMPT, 30)
        good, bad = await asyncio.gather(
            written(engine, PROMPT, 30), written(engine, PROMPT[::-1], 30, take=faulty), return_exceptions=True
        )
        assert good == alone
        assert isinstance(bad, AttemptFailed)
        assert bad.info().code == "model_output_invalid"


async def test_who_waits_when_the_engine_ends_may_try_again(tmp_path: Path) -> None:
    async with running(an_engine(saved(llama(), tmp_path))) as engine:
        sequence = engine.write(Sequence(PROMPT, 200, greedy))
        await anext(sequence)
    with pytest.raises(AttemptFailed) as error:
        async for _ in sequence:
            pass
    assert (error.value.info().code, error.value.info().retryable) == ("worker_stopping", True)


async def test_a_thread_that_cannot_go_on_asks_for_a_new_process_and_lets_nobody_wait(tmp_path: Path) -> None:
    def break_the_step(place: str) -> None:
        if place == "decoding_step":
            raise LookupError(place)

    async with running(an_engine(saved(llama(TINY), tmp_path))) as engine:
        failpoints.arm(break_the_step)
        try:
            with pytest.raises(WorkerUnfit):
                await written(engine, PROMPT, 4)
        finally:
            failpoints.arm(lambda _: None)
        with pytest.raises(WorkerUnfit):
            await written(engine, PROMPT, 4)


async def test_a_cache_takes_the_memory_that_its_texts_fill(tmp_path: Path) -> None:
    shape = Shape(layers=8, kv_heads=4, context=16_384)
    session = OrtSession(saved(llama(shape), tmp_path), device="cpu", intra_op_threads=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine = DecodingEngine(session, DecodingLimits(cache_bytes=1 << 30), context_length=shape.context)
    async with running(engine):
        assert engine.form.token_bytes == 2 * 8 * 4 * 16 * 4
        # A slot of the longest text is 64 MiB, and there are more than 20.
        for _ in range(30):
            await written(engine, PROMPT, 8)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 100 << 20


Change = Callable[[onnx.ModelProto], None]


def _without_present(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


def _with_position_ids(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("position_ids", onnx.TensorProto.INT64, ["a", "b"]))


@pytest.mark.parametrize("change", [_without_present, _with_position_ids])
def test_a_graph_of_another_form_is_refused(tmp_path: Path, change: Change) -> None:
    model = llama()
    change(model)
    with pytest.raises(AttemptFailed) as error:
        an_engine(saved(model, tmp_path))
    assert error.value.info().code == "model_unsupported"
