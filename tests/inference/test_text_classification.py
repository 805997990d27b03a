"""A text is classified as a whole or, if it is longer than the context, without its end."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_schemas.models import Model
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import a_model, bag_of_words, pair_scorer, word_tokenizer
from tests.support.served_model import serving

SEP, N_SPECIAL, CONTEXT = 3, 4, 20


def a_classifier(folder: Path, *, onnx_file: bytes | None = None, **options: Any) -> Model:
    """The logit of `whole` is how often [SEP] is among the tokens, as a part of them."""
    table = np.zeros((N_SPECIAL + 1, 2), dtype=np.float32)
    table[SEP, 0] = 1
    given: dict[str, Any] = {
        "tokenizer": word_tokenizer(["w"]),
        "context_length": CONTEXT,
        "labels": ("whole", "cut"),
        **options,
    }
    file = bag_of_words(table) if onnx_file is None else onnx_file
    return a_model(ArtifactStore(folder), file, task="text-classification", **given)


async def test_a_long_text_is_cut_before_its_last_special_token(tmp_path: Path) -> None:
    async with serving(tmp_path, a_classifier(tmp_path)) as model:
        long = await model.ask("w " * 100)
        longest = await model.ask("w " * (CONTEXT - 2))
        empty = await model.ask("")

    assert long["scores"] == longest["scores"]
    assert long["score"] == pytest.approx(1 / (1 + np.exp(-1 / CONTEXT)))
    assert (long["truncated_tokens"], long["warnings"]) == (102 - CONTEXT, [{"code": "input_truncated"}])
    assert empty["score"] == pytest.approx(1 / (1 + np.exp(-1 / 2)))


async def test_a_context_without_room_for_a_text_is_unsupported(tmp_path: Path) -> None:
    async with serving(tmp_path, a_classifier(tmp_path, context_length=2)) as model:
        assert "no room for a text" in await model.failure("w")


async def test_a_graph_may_take_token_types_which_are_zero(tmp_path: Path) -> None:
    table = np.array([0, 0, 0.25, 0.5, 1], dtype=np.float32)
    with_types = a_classifier(tmp_path, onnx_file=pair_scorer(table), labels=("only",))

    async with serving(tmp_path, with_types) as model:
        answer = await model.ask("w w")

    assert answer["scores"] == {"only": 1.0}
