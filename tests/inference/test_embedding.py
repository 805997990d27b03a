"""Texts become vectors: pooled, normalised and cut as the manifest and the job say, each in a run of its own length."""

from pathlib import Path
from typing import Any, Literal

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given
from inference_worker.tasks.text_embedding import rounded
from onnx import TensorProto
from shared_schemas.models import EmbeddingSpec, Model
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import Floats, a_model, bag_of_words, encoder, linear, word_tokenizer
from tests.support.served_model import Serving, serving

Pooling = Literal["mean", "cls", "last"]
WORDS = [f"w{i}" for i in range(20)]
TOKENIZER = word_tokenizer(WORDS)
CLS, SEP, FIRST_WORD = 2, 3, 4
N_TOKENS = FIRST_WORD + len(WORDS)
WIDTH = 3
TABLE = np.random.default_rng(0).standard_normal((N_TOKENS, WIDTH)).astype(np.float32)
TABLE[0] = 1e6  # padding, which no vector may show
CONTEXT = 40


def an_encoder(
    folder: Path,
    *,
    pooling: Pooling | None = "mean",
    normalize: bool = False,
    onnx_file: bytes | None = None,
    dimensions: int = WIDTH + 2,
    **options: Any,
) -> Model:
    """The last two numbers of a vector are the type of the tokens, and the length of the run."""
    spec = EmbeddingSpec(dimensions=dimensions, pooling=pooling, normalize=normalize)
    given: dict[str, Any] = {"tokenizer": TOKENIZER, "context_length": CONTEXT, "embedding": spec, **options}
    file = encoder(TABLE) if onnx_file is None else onnx_file
    return a_model(ArtifactStore(folder), file, task="text-embedding", **given)


async def embed(model: Serving, text: str, **parameters: Any) -> Any:
    return np.array((await model.ask(text, **parameters))["embedding"])


def states(text: str, *, run_length: int) -> Floats:
    """[tokens, WIDTH + 2]"""
    ids = [CLS, *(FIRST_WORD + WORDS.index(word) for word in text.split()), SEP]
    rows = TABLE[ids]
    return np.hstack([rows, np.zeros((len(ids), 1), "f"), np.full((len(ids), 1), run_length, "f")])


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
async def test_the_states_of_a_text_are_pooled_as_the_manifest_says_without_the_padding(
    tmp_path: Path, pooling: Pooling
) -> None:
    async with serving(tmp_path, an_encoder(tmp_path, pooling=pooling)) as model:
        answer = await model.ask("w1 w2 w3")

    of_tokens = states("w1 w2 w3", run_length=16)
    expected = {"mean": of_tokens.mean(axis=0), "cls": of_tokens[0], "last": of_tokens[-1]}[pooling]
    assert answer["embedding"] == pytest.approx(expected.tolist(), rel=1e-6)
    assert answer == {"embedding": answer["embedding"], "tokens": 5}


async def test_a_graph_may_pool_by_itself(tmp_path: Path) -> None:
    table = bag_of_words(TABLE, output="sentence_embedding")

    async with serving(tmp_path, an_encoder(tmp_path, pooling=None, onnx_file=table, dimensions=WIDTH)) as model:
        vector = await embed(model, "w1 w2 w3")

    np.testing.assert_allclose(vector, states("w1 w2 w3", run_length=16).mean(axis=0)[:WIDTH], rtol=1e-6)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE])
async def test_the_states_may_have_other_floats(tmp_path: Path, dtype: int) -> None:
    table = np.minimum(TABLE, 100.0)

    async with serving(tmp_path, an_encoder(tmp_path, onnx_file=encoder(table, dtype=dtype))) as model:
        vector = await embed(model, "w1 w2 w3")

    np.testing.assert_allclose(vector, states("w1 w2 w3", run_length=16).mean(axis=0), atol=2e-3)


async def test_a_normalised_vector_has_length_one_after_it_is_cut_too(tmp_path: Path) -> None:
    async with serving(tmp_path, an_encoder(tmp_path, normalize=True)) as model:
        whole, cut = await embed(model, "w1 w2"), await embed(model, "w1 w2", dimensions=2)
        too_many = await model.failure("w1", dimensions=WIDTH + 3)
        too_many_of_list = await model.failure(["w1", "w2"], dimensions=WIDTH + 3)

    assert (len(whole), len(cut)) == (WIDTH + 2, 2)
    assert np.linalg.norm(whole) == pytest.approx(1.0, abs=1e-7)
    np.testing.assert_allclose(cut, whole[:2] / np.linalg.norm(whole[:2]), atol=1e-7)
    assert too_many == f"invalid_input: the vectors of this model have {WIDTH + 2} dimensions"
    assert "5 dimensions" in too_many_of_list


async def test_a_vector_that_is_not_normalised_is_only_cut(tmp_path: Path) -> None:
    async with serving(tmp_path, an_encoder(tmp_path)) as model:
        whole, cut = await embed(model, "w1 w2"), await embed(model, "w1 w2", dimensions=2)

    np.testing.assert_allclose(cut, whole[:2], rtol=1e-6)


async def test_a_vector_of_zeros_stays_zero(tmp_path: Path) -> None:
    zeros = bag_of_words(np.zeros_like(TABLE), output="sentence_embedding")
    model_of_zeros = an_encoder(tmp_path, pooling=None, onnx_file=zeros, dimensions=WIDTH, normalize=True)

    async with serving(tmp_path, model_of_zeros) as model:
        assert await model.ask("w1") == {"embedding": [0.0] * WIDTH, "tokens": 3}


async def test_a_long_text_is_cut_before_its_last_special_token_and_says_so(tmp_path: Path) -> None:
    words = [WORDS[i % len(WORDS)] for i in range(100)]

    async with serving(tmp_path, an_encoder(tmp_path, pooling="last")) as model:
        long = await model.ask(" ".join(words))
        longest = await model.ask(" ".join(words[: CONTEXT - 2]))

    assert long["embedding"] == longest["embedding"]
    np.testing.assert_allclose(long["embedding"][:WIDTH], TABLE[SEP], rtol=1e-6)
    assert (long["tokens"], long["truncated_tokens"]) == (102, 62)
    assert long["warnings"] == [{"code": "input_truncated"}]
    assert set(longest) == {"embedding", "tokens"}


async def test_a_text_of_a_million_words_is_cut_as_well(tmp_path: Path) -> None:
    async with serving(tmp_path, an_encoder(tmp_path)) as model:
        answer = await model.ask("w1 " * 1_000_000)

    assert (answer["tokens"], answer["truncated_tokens"]) == (1_000_002, 1_000_002 - CONTEXT)


async def test_a_short_text_is_never_padded_to_a_long_one_that_waits_beside_it(tmp_path: Path) -> None:
    words = {16: 3, 24: 20, 32: 28, CONTEXT: 38}
    texts = [" ".join(WORDS[:1] * n) for n in words.values()] * 8

    async with serving(tmp_path, an_encoder(tmp_path), max_wait_ms=200.0) as model:
        n_before = await model.count_runs()
        answers = await model.ask(texts)
        n_runs = await model.count_runs() - n_before

    assert [round(answer["embedding"][-1]) for answer in answers] == [*words] * 8
    assert n_runs == len(words)


async def test_the_answer_is_the_same_alone_and_in_company(tmp_path: Path) -> None:
    texts = [" ".join(WORDS[i : i + 1 + i % 5]) for i in range(12)]

    async with serving(tmp_path, an_encoder(tmp_path), max_wait_ms=50.0) as model:
        together = await model.outcome(texts)
        alone = [await model.ask(text) for text in texts]
        again = await model.outcome(texts)

    assert msgspec.json.decode(together.result) == alone
    assert together.digest == again.digest


async def test_texts_that_cannot_be_used_fail_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, an_encoder(tmp_path)) as model:
        answers = await model.ask(["w1", "", " \n", 7, None, ["w1"], "w1"])
        empty = await model.failure("")

    assert answers[0] == answers[-1]
    assert [answer["error"]["code"] for answer in answers[1:-1]] == ["invalid_input"] * 5
    assert empty == "invalid_input: the text is empty"


async def test_special_tokens_in_a_text_are_plain_text(tmp_path: Path) -> None:
    async with serving(tmp_path, an_encoder(tmp_path)) as model:
        assert (await model.ask("[SEP]"))["tokens"] > 3


async def test_a_token_that_the_model_does_not_have_fails_its_text_alone(tmp_path: Path) -> None:
    narrow = encoder(TABLE[:-1])

    async with serving(tmp_path, an_encoder(tmp_path, onnx_file=narrow), max_wait_ms=50.0) as model:
        answers = await model.ask(["w1", WORDS[-1], "w2"])
        alone = await model.failure(WORDS[-1])

    assert ["error" in answer for answer in answers] == [False, True, False]
    assert answers[1]["error"]["code"] == "model_failed"
    assert alone.startswith("model_failed")


async def test_a_vector_that_is_not_finite_is_null(tmp_path: Path) -> None:
    table = TABLE.copy()
    table[FIRST_WORD + 1] = np.nan
    broken = an_encoder(tmp_path, onnx_file=encoder(table), normalize=True)

    async with serving(tmp_path, broken, max_wait_ms=50.0) as model:
        answers = await model.ask(["w1", "w2"])

    assert answers[0] == {"embedding": None, "tokens": 3, "nonfinite_count": WIDTH}
    assert answers[1]["embedding"] is not None


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no embedding": ({"embedding": None}, "how its vectors are made"),
    "no tokenizer": ({"tokenizer": None}, "without a tokenizer"),
    "no context length": ({"context_length": None}, "context length"),
    "no room for a word": ({"context_length": 2}, "no room for a text"),
    "more dimensions": ({"dimensions": WIDTH + 3}, "does not fit the dimensions"),
    "fewer dimensions": ({"dimensions": WIDTH}, "does not fit the dimensions"),
    "no pooled output": ({"pooling": None}, "has an output named sentence_embedding"),
    "no states": (
        {"onnx_file": bag_of_words(TABLE, output="sentence_embedding")},
        "has an output named last_hidden_state",
    ),
    "one state for all tokens": (
        {"onnx_file": bag_of_words(TABLE, output="last_hidden_state"), "dimensions": WIDTH},
        "does not fit the dimensions",
    ),
    "integers": ({"onnx_file": encoder(np.zeros_like(TABLE), dtype=TensorProto.INT64)}, "has floats"),
    "no texts": ({"onnx_file": linear(np.eye(2, dtype="f"), np.zeros(2, "f"))}, "takes input_ids"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_model_that_does_not_fit_is_unsupported(tmp_path: Path, wrong: str) -> None:
    options, said = WRONG[wrong]

    async with serving(tmp_path, an_encoder(tmp_path, **options)) as model:
        failure = await model.failure("w0")

    assert failure.startswith("model_unsupported")
    assert said in failure


async def test_a_tokenizer_file_that_is_none_is_corrupt(tmp_path: Path) -> None:
    async with serving(tmp_path, an_encoder(tmp_path, tokenizer=b'{"model": 1}')) as model:
        assert (await model.failure("w0")).startswith("model_corrupt")


@given(numbers=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_the_same_in_float32_and_those_of_unit_vectors_are_short(numbers: list[float]) -> None:
    shown = rounded(np.array(numbers, dtype=np.float64))

    assert np.array(shown, dtype=np.float32).tolist() == numbers
    assert all(len(repr(each)) <= len("-0.00000123456789") for each in shown if 1e-6 <= abs(each) <= 1.0)


@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_of_any_size_are_rounded(numbers: list[float]) -> None:
    np.testing.assert_allclose(rounded(np.array(numbers)), numbers, rtol=1e-8)
