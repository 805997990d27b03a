"""Inference jobs from spec to result, with models that are loaded from a store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest
from inference_worker.handler import InferenceHandler
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from shared_schemas.errors import AttemptFailed, ClaimLost, HeadraceError, InvalidInput, ModelNotFound, SpecRejected
from shared_schemas.events import Emitted, JobEvent, Progressed
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import InferenceParameters, InferenceSpec, TrainingSpec
from shared_schemas.store.files import ArtifactStore
from tokenizers import Tokenizer
from worker_runtime.handler import Attempt, Handler, StopReason

from tests.support.attempts import CollectingAttempt
from tests.support.onnx_models import (
    Published,
    a_model,
    bag_of_words,
    bigram,
    byte_tokenizer,
    linear,
    logarithm,
)

TOKENIZER = byte_tokenizer(["good bad good bad good bad"], vocabulary_size=280)
RANDOM = np.random.default_rng(0).standard_normal((280, 280)).astype(np.float32)
RANDOM[:, 3] = -50.0  # it never ends by itself


@asynccontextmanager
async def handling(folder: Path) -> AsyncIterator[Handler]:
    """A handler with one small model for each task."""
    store = ArtifactStore(folder)
    identity = np.eye(2, dtype=np.float32)
    moods = np.zeros((280, 2), dtype=np.float32)
    moods[:, 1] = np.linspace(-1, 1, 280)
    text = {"tokenizer": TOKENIZER, "context_length": 32}
    tabular = {"features": ("length", "width")}
    published = Published(
        a_model(store, linear(identity, np.zeros(2, "f")), name="kind", labels=("long", "wide"), **tabular),
        a_model(store, logarithm(2), name="log", task="tabular-regression", **tabular),
        a_model(store, bag_of_words(moods), name="mood", task="text-classification", labels=("sad", "glad"), **text),
        a_model(store, bigram(RANDOM), name="writer", task="text-generation", **text),
        a_model(store, bigram(RANDOM[:200]), name="narrow", task="text-generation", **text),
    )
    settings = Settings(device="cpu", intra_op_threads=1)
    with anyio.fail_after(30):
        async with LoadedModels(published.resolve, store, settings) as models:
            yield InferenceHandler(models, items_in_flight=4, device="cpu")


def asking(model_id: str, input_data: Any, **parameters: Any) -> CollectingAttempt:
    return CollectingAttempt(
        InferenceSpec(model_id=model_id, input_data=input_data, parameters=InferenceParameters(**parameters))
    )


async def result_of(handler: Handler, attempt: Attempt) -> Any:
    outcome = await handler.run(attempt)
    assert isinstance(outcome, Success)
    assert outcome.digest is not None
    return msgspec.json.decode(outcome.result)


async def failure_of(handler: Handler, attempt: Attempt) -> HeadraceError:
    with pytest.raises((InvalidInput, AttemptFailed)) as failure:
        await handler.run(attempt)
    return failure.value


async def test_one_row_is_classified_by_names_or_by_order(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        named = await result_of(handler, asking("kind", {"width": 3, "length": 1}))
        ordered = await result_of(handler, asking("kind", [1, 3]))

    assert named == ordered
    assert named["label"] == "wide"
    assert named["score"] == named["scores"]["wide"] == pytest.approx(1 / (1 + np.exp(-2)))


async def test_a_list_of_rows_is_answered_in_order_with_progress(tmp_path: Path) -> None:
    attempt = asking("kind", [[i, 5] for i in range(10)], top_k=1)

    async with handling(tmp_path) as handler:
        answers = await result_of(handler, attempt)

    assert [answer["label"] for answer in answers] == ["wide"] * 5 + ["long"] * 5
    assert all(len(answer["scores"]) == 1 for answer in answers)
    assert attempt.events == [Progressed(fraction=1.0, step=10, total=10)]


async def test_one_bad_row_has_its_error_in_its_place(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        answers = await result_of(handler, asking("log", [[1, 1], {"length": 1}, [2, "x"], [0.5, 0.5]]))

    assert answers[0]["prediction"] == pytest.approx(np.log(2))
    assert answers[1]["error"]["code"] == answers[2]["error"]["code"] == "invalid_input"
    assert "width" in answers[1]["error"]["message"]
    assert answers[3] == {"prediction": 0.0}


async def test_a_job_without_a_usable_input_fails(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        of_one = await failure_of(handler, asking("log", {"length": 1}))
        of_many = await failure_of(handler, asking("log", [[1], [2]]))
        of_none = await failure_of(handler, asking("mood", []))

    assert [error.info().code for error in (of_one, of_many, of_none)] == ["invalid_input"] * 3
    assert of_one.info().column == "width"


async def test_an_answer_that_is_not_a_number_is_null(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        assert await result_of(handler, asking("log", [-1, -1])) == {"prediction": None, "nonfinite_count": 1}


async def test_texts_are_classified_the_same_alone_and_in_a_list(tmp_path: Path) -> None:
    texts = ["good", "bad day", "x" * 100, "日本"]

    async with handling(tmp_path) as handler:
        alone = [await result_of(handler, asking("mood", text)) for text in texts]
        together = await result_of(handler, asking("mood", [*texts, "", 7]))

    assert [answer["label"] for answer in together[:4]] == [answer["label"] for answer in alone]
    assert [answer["score"] for answer in together[:4]] == pytest.approx([answer["score"] for answer in alone])
    assert [answer["error"]["code"] for answer in together[4:]] == ["invalid_input"] * 2


async def test_a_text_is_written_live_and_returned(tmp_path: Path) -> None:
    attempt = asking("writer", "good", max_tokens=20, seed=1)

    async with handling(tmp_path) as handler:
        answer = await result_of(handler, attempt)

    outputs = [event for event in attempt.events if isinstance(event, Emitted)]
    assert "".join(output.chunk for output in outputs) == answer["text"]
    assert outputs[-1].finish_reason == answer["finish_reason"]
    assert len(outputs) > 5
    assert attempt.events == outputs


async def test_many_texts_are_written_at_once_each_under_its_index(tmp_path: Path) -> None:
    attempt = asking("writer", ["good", "good", "bad", 7], max_tokens=20, seed=1)

    async with handling(tmp_path) as handler:
        answers = await result_of(handler, attempt)
        alone = await result_of(handler, asking("writer", "good", max_tokens=20, seed=1))

    for index, answer in enumerate(answers[:3]):
        chunks = [event.chunk for event in attempt.events if isinstance(event, Emitted) and event.index == index]
        assert "".join(chunks) == answer["text"]
    assert answers[0] == alone
    assert answers[0]["text"] != answers[1]["text"]
    assert answers[3]["error"]["code"] == "invalid_input"


async def test_the_answer_to_a_text_beyond_the_context_has_the_number_of_tokens_cut(tmp_path: Path) -> None:
    """32 tokens are read, <bos> of a prompt included."""
    exact, longer = "!" * 32, "!" * 40

    async with handling(tmp_path) as handler:
        read, cut = await result_of(handler, asking("mood", [exact, longer]))
        prompt, long_prompt = await result_of(handler, asking("writer", ["!" * 31, longer], max_tokens=1))

    truncated = [{"code": "input_truncated"}]
    assert ("truncated_tokens" in read, "warnings" in read) == (False, False)
    assert (cut["truncated_tokens"], cut["warnings"]) == (8, truncated)
    assert cut["scores"] == read["scores"]
    assert (prompt["prompt_tokens"], "truncated_prompt_tokens" in prompt, "warnings" in prompt) == (32, False, False)
    assert (long_prompt["prompt_tokens"], long_prompt["truncated_prompt_tokens"]) == (41, 9)
    assert long_prompt["warnings"] == truncated


async def test_the_same_seed_gives_the_same_digest_and_without_one_the_job_decides(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        digests = [(await handler.run(asking("writer", "good", seed=seed))).digest for seed in (1, 1, 2, None, None)]

    assert digests[0] == digests[1]
    assert digests[3] == digests[4]
    assert len(set(digests)) == 3


async def test_the_facts_of_an_answer_are_complete_and_short(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        outcomes = [await handler.run(asking("kind", [1, 3])), await handler.run(asking("writer", "good"))]

    for outcome in outcomes:
        assert isinstance(outcome, Success)
        made_with = {"device", "threads", "processor", "onnxruntime"}
        assert made_with | {"batch_invariant", "batch_sizes"} == outcome.facts.keys()
        assert outcome.facts["device"] == "cpu"
        assert len(msgspec.json.encode(outcome.facts)) < 200


async def test_an_input_that_the_model_itself_rejects_fails_alone(tmp_path: Path) -> None:
    assert max(Tokenizer.from_str(TOKENIZER.decode()).encode("good").ids) >= 200, "beyond the narrow model"

    async with handling(tmp_path) as handler:
        answers = await result_of(handler, asking("narrow", ["good", "!"], max_tokens=1))

    assert answers[0]["error"]["code"] == "model_failed"
    assert answers[1]["tokens"] == 1


async def test_a_paused_job_is_released(tmp_path: Path) -> None:
    attempt = asking("writer", ["good"] * 8, max_tokens=8192, top_k=1)

    async with handling(tmp_path) as handler, anyio.create_task_group() as tasks:

        async def pause() -> None:
            await attempt.until(lambda events: len(events) > 3)
            attempt.stop = StopReason.PAUSED

        tasks.start_soon(pause)
        outcome = await handler.run(attempt)

    assert outcome == Release()


async def test_a_job_being_drained_is_finished(tmp_path: Path) -> None:
    attempt = asking("writer", ["good", "bad"], max_tokens=20)
    attempt.stop = StopReason.DRAINING

    async with handling(tmp_path) as handler:
        assert len(await result_of(handler, attempt)) == 2


async def test_a_cancelled_job_is_gone_at_once_and_its_model_idle(tmp_path: Path) -> None:
    attempt = asking("writer", ["good"] * 8, max_tokens=8192)

    async with handling(tmp_path) as handler:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handler.run, attempt)
            await attempt.until(lambda events: len(events) > 3)
            tasks.cancel_scope.cancel()
        n_events = len(attempt.events)
        await result_of(handler, asking("writer", "good", max_tokens=3))

    assert len(attempt.events) == n_events


class LostAttempt(CollectingAttempt):
    """Another attempt owns the job by now."""

    async def record(self, event: JobEvent) -> None:
        raise ClaimLost("another attempt owns the job")


async def test_a_job_that_another_worker_owns_ends_as_lost(tmp_path: Path) -> None:
    spec = InferenceSpec(model_id="writer", input_data=["good", "bad"])

    async with handling(tmp_path) as handler:
        with pytest.raises(ClaimLost):
            await handler.run(LostAttempt(spec))


async def test_an_unknown_model_is_not_found(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        with pytest.raises(ModelNotFound):
            await handler.run(asking("nobody", "x"))


async def test_a_training_job_is_refused(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        with pytest.raises(SpecRejected):
            await handler.run(CollectingAttempt(TrainingSpec(model_type="mlp", data_path="x.csv")))


async def test_a_worker_registers_its_runtime_and_device(tmp_path: Path) -> None:
    async with handling(tmp_path) as handler:
        assert handler.describe()["device"] == "cpu"
