"""A text is generated token by token, from a real ONNX model with known probabilities."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import numpy as np
import pytest
from inference_worker.loading import LoadedModels
from inference_worker.model import LoadedModel
from inference_worker.settings import Settings
from inference_worker.tasks.task import FinishReason, Request
from inference_worker.tasks.text_generation import GeneratedText
from shared_schemas.specs import InferenceParameters
from shared_schemas.store.files import ArtifactStore
from tokenizers import Tokenizer

from tests.support.onnx_models import Published, a_model, bigram, byte_tokenizer, running_sum

TOKENIZER = byte_tokenizer()
BOS, EOS = 2, 3
RANDOM = np.random.default_rng(0).standard_normal((260, 260)).astype(np.float32)
GREEDY = InferenceParameters(temperature=0.0)


def saying(text: str) -> bytes:
    """A model that answers <bos> with `text`, whose bytes must all differ, and ends."""
    ids = [BOS, *Tokenizer.from_str(TOKENIZER.decode()).encode(text).ids, EOS]
    assert len(set(ids)) == len(ids)
    table = np.zeros((260, 260), dtype=np.float32)
    table[ids[:-1], ids[1:]] = 9.0
    return bigram(table)


@asynccontextmanager
async def serving(onnx: bytes, folder: Path, *, context_length: int = 32) -> AsyncIterator[LoadedModel]:
    store = ArtifactStore(folder)
    model = a_model(store, onnx, task="text-generation", tokenizer=TOKENIZER, context_length=context_length)
    settings = Settings(device="cpu", intra_op_threads=1)
    async with LoadedModels(Published(model).resolve, store, settings) as models, models.use("model") as loaded:
        yield loaded


async def write(
    model: LoadedModel, prompt: str = "", parameters: InferenceParameters = GREEDY, *, seed: int = 0
) -> tuple[GeneratedText, list[tuple[str, FinishReason | None]]]:
    chunks: list[tuple[str, FinishReason | None]] = []

    async def emit(index: int, chunk: str, reason: FinishReason | None) -> None:
        assert index == 0
        chunks.append((chunk, reason))

    answer = await model.task.answer(prompt, 0, Request(parameters, seed, emit, lambda n_bytes: None))
    return answer, chunks


async def test_a_text_arrives_character_by_character_and_ends_at_eos(tmp_path: Path) -> None:
    async with serving(saying("né日🙂!"), tmp_path) as model:
        answer, chunks = await write(model)

    assert answer == GeneratedText(text="né日🙂!", finish_reason="stop", prompt_tokens=1, tokens=11)
    assert chunks == [("n", None), ("é", None), ("日", None), ("🙂", None), ("!", None), ("", "stop")]


async def test_a_text_ends_at_max_tokens_even_within_a_character(tmp_path: Path) -> None:
    async with serving(saying("a日b"), tmp_path) as model:
        answer, chunks = await write(model, parameters=InferenceParameters(temperature=0.0, max_tokens=3))

    assert answer == GeneratedText(text="a�", finish_reason="length", prompt_tokens=1, tokens=3)
    assert chunks == [("a", None), ("�", "length")]


async def test_a_text_ends_before_a_stop_string(tmp_path: Path) -> None:
    async with serving(saying("one stak"), tmp_path) as model:
        answer, chunks = await write(model, parameters=InferenceParameters(temperature=0.0, stop=("st", "zz")))

    assert (answer.text, answer.finish_reason) == ("one ", "stop")
    assert chunks == [("o", None), ("n", None), ("e", None), (" ", None), ("", "stop")]


async def test_what_only_looked_like_a_stop_string_is_part_of_the_text(tmp_path: Path) -> None:
    async with serving(saying("one stak"), tmp_path) as model:
        answer, chunks = await write(model, parameters=InferenceParameters(temperature=0.0, stop=("stop", "kx")))

    assert (answer.text, answer.finish_reason) == ("one stak", "stop")
    assert ("sta", None) in chunks
    assert chunks[-1] == ("k", "stop")


@pytest.mark.parametrize("seed", range(5))
async def test_the_chunks_joined_are_the_text_whatever_the_bytes(tmp_path: Path, seed: int) -> None:
    async with serving(bigram(RANDOM), tmp_path) as model:
        answer, chunks = await write(model, "x", InferenceParameters(max_tokens=80), seed=seed)

    assert "".join(chunk for chunk, _ in chunks) == answer.text
    assert [reason for _, reason in chunks][-1] == answer.finish_reason
    assert all(reason is None for _, reason in chunks[:-1])


async def test_a_seed_gives_the_same_text_alone_and_in_a_batch(tmp_path: Path) -> None:
    parameters = InferenceParameters(max_tokens=40, temperature=0.8, top_k=50)
    alone: list[str] = []
    crowded: dict[int, str] = {}

    async def write_one(seed: int) -> None:
        crowded[seed] = (await write(model, "prompt " * (seed % 4), parameters, seed=seed))[0].text

    async with serving(running_sum(RANDOM / 8), tmp_path) as model:
        for seed in range(12):
            alone.append((await write(model, "prompt " * (seed % 4), parameters, seed=seed))[0].text)
        n_alone = model.engine.n_runs
        async with anyio.create_task_group() as crowd:
            for seed in range(12):
                crowd.start_soon(write_one, seed)
        n_crowded = model.engine.n_runs - n_alone

    assert [crowded[seed] for seed in range(12)] == alone
    assert len(set(alone)) == 12
    assert n_crowded < n_alone / 2, "texts written at the same time share runs"


async def test_the_model_sees_the_last_tokens_of_its_context_and_no_more(tmp_path: Path) -> None:
    table = np.zeros((260, 260), dtype=np.float32)
    ids = Tokenizer.from_str(TOKENIZER.decode()).encode("abx").ids
    table[ids[0], ids[1]] = 5.0  # each "a" in sight votes for "b",
    table[ids[2], EOS] = 3.0  # each "x" for the end

    async with serving(running_sum(table), tmp_path, context_length=8) as model:
        seen, _ = await write(model, "a" + "x" * 1, InferenceParameters(temperature=0.0, max_tokens=1))
        forgotten, _ = await write(model, "aaaa" + "x" * 8, InferenceParameters(temperature=0.0, max_tokens=1))

    assert (seen.text, forgotten.text) == ("b", "")
    assert forgotten.prompt_tokens == 13


async def test_special_tokens_are_never_generated(tmp_path: Path) -> None:
    table = np.zeros((260, 260), dtype=np.float32)
    table[:, [0, 1, BOS]] = 50.0

    async with serving(bigram(table), tmp_path) as model:
        answer, _ = await write(model, "x", InferenceParameters(max_tokens=30))

    assert answer.tokens > 0
    assert answer.text
