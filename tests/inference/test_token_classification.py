"""Each token of a text is labelled, and the answer says where in the text it is."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from shared_schemas.models import Model, TokenLabelSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import a_model, bag_of_words, bigram, byte_tokenizer, linear, word_tokenizer
from tests.support.served_model import serving

WORDS = ["ada", "love", "##lace", "in", "lon", "##don", "née"]
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
OF_WORD = {"ada": 1, "love": 2, "##lace": 0, "in": 0, "lon": 3, "##don": 4, "née": 1}
SPECIAL, CONTEXT = 4, 12
TABLE = np.zeros((SPECIAL + len(WORDS), len(LABELS)), dtype=np.float32)
TABLE[:SPECIAL, 1] = 100.0  # special tokens, which no answer may show
for word, label in OF_WORD.items():
    TABLE[SPECIAL + WORDS.index(word), label] = 3.0
SCORE = pytest.approx(np.exp(3) / (np.exp(3) + len(LABELS) - 1))


def a_labeller(folder: Path, *, onnx_file: bytes | None = None, **options: Any) -> Model:
    given: dict[str, Any] = {"tokenizer": word_tokenizer(WORDS), "context_length": CONTEXT, "labels": LABELS, **options}
    file = bigram(TABLE) if onnx_file is None else onnx_file
    return a_model(ArtifactStore(folder), file, task="token-classification", **given)


async def test_entities_have_their_place_in_the_text(tmp_path: Path) -> None:
    text = "Ada  Lovelace\tin london"

    async with serving(tmp_path, a_labeller(tmp_path)) as model:
        simple = await model.ask(text)
        first = await model.ask(text, aggregation="first")
        tokens = await model.ask(text, aggregation="none")

    per, loc = {"label": "PER", "score": SCORE}, {"label": "LOC", "score": SCORE}
    london = {**loc, "start": 17, "end": 23, "text": "london"}
    assert simple == {"entities": [{**per, "start": 0, "end": 9, "text": "Ada  Love"}, london], "tokens": 8}
    assert first == {"entities": [{**per, "start": 0, "end": 13, "text": "Ada  Lovelace"}, london], "tokens": 8}
    assert [(each["label"], each["text"]) for each in tokens["entities"]] == [
        ("B-PER", "Ada"), ("I-PER", "Love"), ("B-LOC", "lon"), ("I-LOC", "don")
    ]  # fmt: skip


async def test_places_are_counted_in_code_points_of_the_text_as_it_was_given(tmp_path: Path) -> None:
    text = "🙂👩\u200d🚀 Ne\u0301e ADA"

    async with serving(tmp_path, a_labeller(tmp_path, onnx_file=bigram(TABLE))) as model:
        answer = await model.ask(text, aggregation="none")

    assert [(each["start"], each["text"]) for each in answer["entities"]][-1] == (len(text) - 3, "ADA")
    assert all(text[each["start"] : each["end"]] == each["text"] for each in answer["entities"])


async def test_tokens_of_bytes_share_the_place_of_their_character(tmp_path: Path) -> None:
    table = np.zeros((260, 2), dtype=np.float32)
    table[:, 1] = 3.0
    bytewise = a_labeller(tmp_path, onnx_file=bigram(table), tokenizer=byte_tokenizer(), labels=("O", "X"))

    async with serving(tmp_path, bytewise) as model:
        answer = await model.ask("é\n🙂 a", aggregation="none")
        words = await model.ask("é\n🙂 a", aggregation="first")

    places = [(each["start"], each["end"]) for each in answer["entities"]]
    assert places == [(0, 1)] * 2 + [(1, 2)] + [(2, 3)] * 4 + [(3, 4), (4, 5)]
    assert [each["text"] for each in words["entities"]] == ["é\n🙂 a"]


async def test_the_manifest_says_how_tokens_are_joined_and_which_labels_are_left_out(tmp_path: Path) -> None:
    spec = TokenLabelSpec(aggregation="max", ignored_labels=("O", "LOC"))

    async with serving(tmp_path, a_labeller(tmp_path, token_labels=spec)) as model:
        answer = await model.ask("ada in london")
        other = await model.ask("ada in london", aggregation="none")

    assert [each["label"] for each in answer["entities"]] == ["PER"]
    assert [each["label"] for each in other["entities"]] == ["B-PER", "B-LOC", "I-LOC"]


async def test_a_long_text_is_cut_before_its_last_special_token_and_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, a_labeller(tmp_path)) as model:
        answer = await model.ask("ada " * 100, aggregation="none")

    assert len(answer["entities"]) == CONTEXT - 2
    assert (answer["tokens"], answer["truncated_tokens"]) == (102, 102 - CONTEXT)
    assert answer["warnings"] == [{"code": "input_truncated"}]


async def test_a_text_without_entities_has_none_and_one_without_tokens_fails_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, a_labeller(tmp_path)) as model:
        answers = await model.ask(["in", "", 7, "ada"])

    assert answers[0] == {"entities": [], "tokens": 3}
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, "invalid_input", "invalid_input", None]


async def test_the_answer_is_the_same_alone_and_in_company(tmp_path: Path) -> None:
    texts = ["ada", "lovelace in london", "in", "née ada"] * 5

    async with serving(tmp_path, a_labeller(tmp_path), max_wait_ms=20.0) as model:
        together = await model.outcome(texts)
        alone = [await model.ask(text) for text in texts]
        again = await model.outcome(texts)

    assert msgspec.json.decode(together.result) == alone
    assert together.digest == again.digest


async def test_scores_that_are_not_finite_are_null(tmp_path: Path) -> None:
    table = TABLE.copy()
    table[SPECIAL, 2] = np.nan

    async with serving(tmp_path, a_labeller(tmp_path, onnx_file=bigram(table))) as model:
        assert await model.ask("ada in") == {"entities": None, "tokens": 4, "nonfinite_count": 1}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no tokenizer": ({"tokenizer": None}, "without a tokenizer"),
    "no room": ({"context_length": 2}, "no room for a text"),
    "more labels": ({"labels": ("O", "X")}, "one logit for each token and label"),
    "one logit for all tokens": ({"onnx_file": bag_of_words(TABLE)}, "one logit for each token and label"),
    "no texts": ({"onnx_file": linear(np.eye(2, dtype="f"), np.zeros(2, "f"))}, "takes input_ids"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_model_that_does_not_fit_is_unsupported(tmp_path: Path, wrong: str) -> None:
    options, said = WRONG[wrong]

    async with serving(tmp_path, a_labeller(tmp_path, **options)) as model:
        failure = await model.failure("ada")

    assert failure.startswith("model_unsupported")
    assert said in failure
