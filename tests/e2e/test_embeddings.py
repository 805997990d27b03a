"""Embeddings through a real gateway, Redis and worker: of a small encoder, and of MiniLM beside torch.

The test of MiniLM runs with `-m minilm`. It exports the model as docs/serving.md says, which installs packages.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from headrace import AsyncClient, BadRequest
from shared_schemas.models import EmbeddingSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import a_model, encoder, word_tokenizer
from tests.support.publishing import publishing_system
from tests.support.references import LONGEST_S, written_by
from tests.support.serving_processes import DEADLINE_S, ask, serving

LONG = "a queue on redis streams " * 12
WORDS = sorted(set(LONG.split()))


async def test_a_list_of_texts_is_one_job_and_a_bad_text_fails_alone(redis_url: str, tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((4 + len(WORDS), 6)).astype(np.float32)
    model = a_model(
        ArtifactStore(tmp_path / "artifacts"),
        encoder(table),
        task="text-embedding",
        tokenizer=word_tokenizer(WORDS),
        context_length=40,
        embedding=EmbeddingSpec(dimensions=8, pooling="mean", normalize=True),
    )

    async with serving(redis_url, tmp_path, model) as client:
        texts = ["queue", LONG, "redis streams", "queue"]
        answers = await ask(client, [*texts, ""])
        alone = [await ask(client, text) for text in texts]
        cut = await ask(client, "queue", dimensions=3)
        with pytest.raises(BadRequest, match="takes a text"):
            await ask(client, 7)

    assert answers[:4] == alone
    assert answers[4] == {"error": {"code": "invalid_input", "message": "the text is empty"}}
    assert (answers[1]["tokens"], answers[1]["truncated_tokens"]) == (62, 22)
    vectors = [np.array(answer["embedding"]) for answer in alone]
    assert [np.linalg.norm(vector) for vector in vectors] == pytest.approx([1.0] * 4)
    np.testing.assert_allclose(cut["embedding"], vectors[0][:3] / np.linalg.norm(vectors[0][:3]), atol=1e-7)


@pytest.fixture
def minilm(tmp_path: Path) -> Path:
    """The folder that the script writes."""
    return written_by("docs/examples/export_minilm.py", tmp_path / "minilm")


@pytest.mark.minilm
@pytest.mark.timeout(LONGEST_S + 2 * DEADLINE_S)
async def test_the_vectors_of_minilm_are_those_of_torch(redis_url: str, tmp_path: Path, minilm: Path) -> None:
    exported = msgspec.json.decode((minilm / "embedding.json").read_bytes())
    expected = msgspec.json.decode((minilm / "expected.json").read_bytes())

    with publishing_system(redis_url, tmp_path) as gateway:
        async with AsyncClient(gateway.url) as client:
            model = await client.publish(
                minilm / "model.onnx",
                name="model",
                task="text-embedding",
                tokenizer=minilm / "tokenizer.json",
                **exported,
                timeout_s=DEADLINE_S,
            )
            answers = await ask(client, [each["text"] for each in expected])
            alone = [await ask(client, each["text"]) for each in expected]

    assert str(model.ref) == "model@1"
    difference = np.abs(
        np.array([answer["embedding"] for answer in answers]) - np.array([each["vector"] for each in expected])
    ).max()
    print(f"{len(expected)} texts, largest difference to torch {difference:.2e}")
    assert difference < 1e-4
    assert answers == alone
    assert [answer.get("truncated_tokens", 0) > 0 for answer in answers] == [False] * (len(expected) - 1) + [True]
