"""Texts are labelled through a real gateway, Redis and worker as in torch, and as by the pipeline of transformers.

The comparison with the pipeline runs with `-m references`.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from headrace import BadRequest
from shared_schemas.models import TokenLabelSpec
from shared_schemas.store.files import ArtifactStore
from tokenizers import Tokenizer

from tests.support.onnx_models import BERT_TOKENS, a_model, word_tokenizer
from tests.support.references import LONGEST_S, written_by
from tests.support.serving_processes import DEADLINE_S, ask, serving
from tests.support.torch_models import LONGEST, TokenClassifier, exported, seeded

LABELS = ("O", "B-PER", "I-PER", "B-LOC")
TEXTS = ["Ada Lovelace met a naïve 🙂 in london", "a london queue " * 3, "x", "ada met ada " * 40]
WORDS = ["ada", "love", "##lace", "met", "a", "naive", "in", "lon", "##don", "queue"]


async def test_each_token_has_the_label_and_the_score_of_torch(redis_url: str, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(WORDS)
    network = seeded(TokenClassifier, len(WORDS) + len(BERT_TOKENS), len(LABELS))
    model = a_model(
        ArtifactStore(tmp_path / "artifacts"),
        exported(network, tmp_path / "model.onnx"),
        task="token-classification",
        tokenizer=tokenizer,
        context_length=LONGEST,
        labels=LABELS,
        token_labels=TokenLabelSpec(ignored_labels=()),
    )

    async with serving(redis_url, tmp_path, model) as client:
        answers = await ask(client, [*TEXTS, ""], aggregation="none")
        joined = await ask(client, TEXTS[0])
        with pytest.raises(BadRequest, match="takes a text"):
            await ask(client, 7)

    for text, answer in zip(TEXTS, answers, strict=False):
        expected = labelled(network, tokenizer, text)
        entities = answer["entities"]
        assert [(each["label"], each["start"], each["end"]) for each in entities] == [each[:3] for each in expected]
        np.testing.assert_allclose([each["score"] for each in entities], [each[3] for each in expected], atol=1e-5)
        assert all(text[each["start"] : each["end"]] == each["text"] for each in entities)
    assert [answer.get("truncated_tokens", 0) > 0 for answer in answers] == [False, False, False, True, False]
    assert answers[-1]["error"]["code"] == "invalid_input"
    assert len({each["label"] for answer in answers[:-1] for each in answer["entities"]}) > 1
    assert {each["label"] for each in joined["entities"]} <= {"O", "PER", "LOC"}


def labelled(network: torch.nn.Module, tokenizer: bytes, text: str) -> list[tuple[str, int, int, float]]:
    """(label, start, end, score) of each token of the text alone, without padding."""
    codec = Tokenizer.from_str(tokenizer.decode())
    codec.enable_truncation(LONGEST)
    encoded = codec.encode(text)
    inputs = [torch.tensor([each]) for each in (encoded.ids, encoded.attention_mask, encoded.type_ids)]
    with torch.no_grad():
        scores = network(*inputs)[0].softmax(dim=-1)
    best, labels = scores.max(dim=-1)
    return [
        (LABELS[label], *encoded.offsets[place], score)
        for place, (label, score) in enumerate(zip(labels.tolist(), best.tolist(), strict=True))
        if not encoded.special_tokens_mask[place]
    ]


@pytest.mark.references
@pytest.mark.timeout(LONGEST_S + 2 * DEADLINE_S)
@pytest.mark.parametrize("kind", ["wordpiece", "bytes"])
async def test_entities_are_those_of_the_pipeline_of_transformers(redis_url: str, tmp_path: Path, kind: str) -> None:
    folder = written_by("tests/references/token_pipeline.py", tmp_path / "reference")
    reference = msgspec.json.decode((folder / f"{kind}-expected.json").read_bytes())
    model = a_model(
        ArtifactStore(tmp_path / "artifacts"),
        (folder / f"{kind}.onnx").read_bytes(),
        task="token-classification",
        tokenizer=(folder / f"{kind}-tokenizer.json").read_bytes(),
        context_length=reference["context_length"],
        labels=reference["labels"],
    )

    async with serving(redis_url, tmp_path, model) as client:
        answers = [await ask(client, each["text"], aggregation=each["aggregation"]) for each in reference["expected"]]

    n_entities = 0
    for answer, expected in zip(answers, reference["expected"], strict=True):
        entities = [(each["label"], each["start"], each["end"]) for each in answer["entities"]]
        assert entities == [(each["label"], each["start"], each["end"]) for each in expected["entities"]], expected
        scores = [each["score"] for each in answer["entities"]]
        np.testing.assert_allclose(scores, [each["score"] for each in expected["entities"]], atol=1e-4)
        n_entities += len(entities)
    assert n_entities > 100
