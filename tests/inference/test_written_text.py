"""A text is written by a model with a cache, through the handler, from real graphs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest
from inference_worker.handler import InferenceHandler
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from shared_schemas.errors import AttemptFailed, HeadraceError, InvalidInput
from shared_schemas.events import Emitted, JobEvent
from shared_schemas.given_manifest import GivenManifest
from shared_schemas.models import DecoderSpec
from shared_schemas.outcome import Success
from shared_schemas.specs import InferenceParameters, InferenceSpec
from shared_schemas.store.files import ArtifactStore
from tokenizers import Tokenizer
from worker_runtime.handler import StopReason

from tests.support.attempts import CollectingAttempt
from tests.support.decoder_graphs import TINY, llama
from tests.support.onnx_models import Published, a_model, bigram, byte_tokenizer

TOKENIZER = byte_tokenizer()
EOS = 3
PROMPT = "Each reader gets every event once, and in order."


@asynccontextmanager
async def handling(
    folder: Path, *, end: int = EOS, context: int = TINY.context, graph: bytes | None = None, **settings: Any
) -> AsyncIterator[InferenceHandler]:
    store = ArtifactStore(folder)
    model = a_model(
        store,
        llama(replace(TINY, context=context), scale=2.0).SerializeToString() if graph is None else graph,
        task="text-generation",
        tokenizer=TOKENIZER,
        context_length=context,
        decoder=DecoderSpec(end_token_ids=(end,)),
    )
    async with LoadedModels(
        Published(model).resolve, store, Settings(device="cpu", intra_op_threads=1, **settings)
    ) as models:
        yield InferenceHandler(models, device="cpu")


def asking(input_data: Any = PROMPT, **parameters: Any) -> CollectingAttempt:
    given = InferenceParameters(**({"max_tokens": 40, "temperature": 0.0} | parameters))
    return CollectingAttempt(InferenceSpec(model_id="model", input_data=input_data, parameters=given))


async def success_of(handler: InferenceHandler, attempt: CollectingAttempt) -> Success:
    outcome = await handler.run(attempt)
    assert isinstance(outcome, Success)
    return outcome


async def answer_of(handler: InferenceHandler, attempt: CollectingAttempt) -> Any:
    return msgspec.json.decode((await success_of(handler, attempt)).result)


async def test_the_chunks_are_the_text_and_the_answer_says_how_it_was_made(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        attempt = asking()
        outcome = await success_of(handler, attempt)
    answer = msgspec.json.decode(outcome.result)
    chunks = [event for event in attempt.events if isinstance(event, Emitted)]
    assert "".join(chunk.chunk for chunk in chunks) == answer["text"]
    assert [chunk.finish_reason for chunk in chunks][-1] == answer["finish_reason"] == "length"
    assert (answer["tokens"], answer["prompt_tokens"]) == (40, 1 + len(PROMPT))
    assert answer["speed"]["first_token_s"] > 0.0
    assert answer["speed"]["tokens_per_s"] > 0.0
    assert outcome.facts["batch_invariant"] == "yes"
    assert int(outcome.facts["cache_tokens"]) > TINY.context


async def test_a_seed_gives_one_text_alone_and_in_a_crowd_and_another_seed_another(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:

        async def digest_of(text: str, seed: int) -> str | None:
            return (await success_of(handler, asking(text, temperature=1.0, seed=seed))).digest

        alone = await digest_of(PROMPT, 1)
        found = dict[int, str | None]()

        async def write(n: int) -> None:
            found[n] = await digest_of(PROMPT if n % 4 == 0 else PROMPT[n:] * 2, 1 if n < 16 else n)

        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(write, n)
    assert {found[n] for n in (0, 4, 8, 12)} == {alone}
    assert len(set(found.values())) == 17


async def test_an_end_token_ends_the_text_and_is_no_part_of_it(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        whole = await answer_of(handler, asking())
    end = next(letter for letter in whole["text"][3:] if letter.isascii())
    [end_id] = Tokenizer.from_str(TOKENIZER.decode()).encode(end).ids
    async with handling(tmp_path, end=end_id) as handler:
        answer = await answer_of(handler, asking())
    assert (answer["finish_reason"], answer["text"]) == ("stop", whole["text"].split(end)[0])
    assert answer["tokens"] < whole["tokens"]


async def test_a_stop_string_ends_the_text_before_it(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        whole = (await answer_of(handler, asking()))["text"]
        stop = whole[7:10]
        answer = await answer_of(handler, asking(stop=(stop,)))
    assert (answer["text"], answer["finish_reason"]) == (whole[: whole.index(stop)], "stop")


async def test_what_is_cut_of_a_long_prompt_is_said_and_the_text_ends_with_the_context(tmp_path: Path) -> None:
    async with handling(tmp_path, context=64) as handler:
        long = await answer_of(handler, asking("a" * 99, max_tokens=20))
        short = await answer_of(handler, asking("a" * 29, max_tokens=60))
    assert (long["prompt_tokens"], long["truncated_prompt_tokens"], long["tokens"]) == (100, 56, 20)
    assert long["warnings"] == [{"code": "input_truncated"}]
    assert (short["prompt_tokens"], short["tokens"], short["finish_reason"]) == (30, 34, "length")
    assert "warnings" not in short


async def test_a_text_beyond_the_cache_is_refused_and_says_what_there_is(tmp_path: Path) -> None:
    async with handling(tmp_path, text_cache_bytes=1 << 20, context=4096) as handler:
        with pytest.raises(InvalidInput, match="room for 2048"):
            await handler.run(asking(max_tokens=2040))


def _has_begun(events: list[JobEvent]) -> bool:
    return any(isinstance(event, Emitted) for event in events)


async def test_a_cancelled_job_makes_room_and_a_paused_one_is_released(tmp_path: Path) -> None:
    async with handling(tmp_path, written_texts=1) as handler:
        first, second = asking(max_tokens=200), asking(max_tokens=2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handler.run, first)
            await first.until(_has_begun)
            tasks.cancel_scope.cancel()
        assert (await answer_of(handler, second))["tokens"] == 2
        paused = asking(max_tokens=200)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handler.run, paused)
            await paused.until(_has_begun)
            paused.stop = StopReason.PAUSED
        assert (await answer_of(handler, second))["tokens"] == 2


@pytest.mark.parametrize("decoder", [{"end_token_ids": (260,)}, {"end_token_ids": (4,)}])
async def test_a_model_that_does_not_fit_its_manifest_is_refused(tmp_path: Path, decoder: dict[str, Any]) -> None:
    graph = bigram(np.zeros((260, 260), np.float32)) if decoder["end_token_ids"] == (4,) else None
    async with handling(tmp_path, end=decoder["end_token_ids"][0], graph=graph) as handler:
        with pytest.raises(AttemptFailed) as error:
            await handler.run(asking())
    failure: HeadraceError = error.value
    assert failure.info().code == "model_unsupported"


@pytest.mark.parametrize(
    "given",
    [
        {"task": "tensors", "decoder": {"end_token_ids": [2]}},
        {"task": "text-generation", "device": "cuda", "decoder": {"end_token_ids": [2]}},
        {"task": "text-generation", "decoder": {"end_token_ids": []}},
        {"task": "text-generation", "decoder": {"end_token_ids": [2], "layers": 3}},
    ],
)
def test_a_manifest_with_an_impossible_decoder_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, GivenManifest)
