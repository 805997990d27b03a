"""Documents are ranked through a real gateway, Redis and worker as the same cross-encoder ranks them in torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from headrace import BadRequest
from shared_schemas.models import RerankSpec
from shared_schemas.store.files import ArtifactStore
from tokenizers import Tokenizer

from tests.support.onnx_models import BERT_TOKENS, a_model, word_tokenizer
from tests.support.serving_processes import ask, serving
from tests.support.torch_models import LONGEST, CrossEncoder, exported, seeded

DOCUMENTS = ["a queue on redis streams", "redis", "", "the stream of a mill " * 20, "mill wheels", "jobs wait " * 9]
QUERY = "where do jobs wait"
WORDS = sorted({word for text in [QUERY, *DOCUMENTS] for word in text.split()})


async def test_documents_are_ranked_as_torch_ranks_them(redis_url: str, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(WORDS)
    network = seeded(CrossEncoder, len(WORDS) + len(BERT_TOKENS))
    model = a_model(
        ArtifactStore(tmp_path / "artifacts"),
        exported(network, tmp_path / "model.onnx"),
        task="rerank",
        tokenizer=tokenizer,
        context_length=LONGEST,
        rerank=RerankSpec(activation="sigmoid"),
    )

    async with serving(redis_url, tmp_path, model) as client:
        question = {"query": QUERY, "documents": DOCUMENTS}
        answer = await ask(client, question)
        best = await ask(client, question | {"top_n": 2})
        of_list = await ask(client, [question, question | {"query": " "}])
        with pytest.raises(BadRequest, match="not a text"):
            await ask(client, question | {"documents": ["a", 5]})

    expected = scores(network, tokenizer)
    served = {each["index"]: each["relevance_score"] for each in answer["results"]}
    assert list(served) == np.argsort(-expected, kind="stable").tolist()
    np.testing.assert_allclose([served[i] for i in range(len(DOCUMENTS))], expected, atol=1e-5)
    assert np.ptp(expected) > 0.01
    assert [each["index"] for each in answer["results"] if "truncated_tokens" in each] == [3]
    assert best["results"] == answer["results"][:2]
    assert of_list[0] == answer
    assert of_list[1]["error"]["code"] == "invalid_input"


def scores(network: torch.nn.Module, tokenizer: bytes) -> np.ndarray:
    """Of each document, alone and without padding."""
    codec = Tokenizer.from_str(tokenizer.decode())
    codec.enable_truncation(LONGEST)
    logits = []
    for document in DOCUMENTS:
        encoded = codec.encode(QUERY, document)
        inputs = [torch.tensor([each]) for each in (encoded.ids, encoded.attention_mask, encoded.type_ids)]
        with torch.no_grad():
            logits.append(float(network(*inputs)))
    return 1 / (1 + np.exp(-np.array(logits)))
