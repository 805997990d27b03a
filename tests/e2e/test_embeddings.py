"""Embeddings through a real gateway, Redis and worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headrace import AsyncClient, BadRequest
from shared_schemas.models import EmbeddingSpec, Model
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import driver, running_gateway
from tests.support.inference_process import inference_process
from tests.support.onnx_models import a_model, encoder, word_tokenizer

DEADLINE_S = 60.0
LONG = "a queue on redis streams " * 12
WORDS = sorted(set(LONG.split()))


@asynccontextmanager
async def serving(redis_url: str, folder: Path, model: Model) -> AsyncIterator[AsyncClient]:
    async with driver(redis_url) as drive:
        await drive.publish(model.name, manifest=model.manifest)
    with running_gateway(redis_url, folder) as gateway, inference_process(redis_url, folder / "artifacts"):
        async with AsyncClient(gateway.url) as client:
            yield client


async def ask(client: AsyncClient, input_data: Any, **parameters: Any) -> Any:
    job = await client.submit_inference(model_id="model", input_data=input_data, parameters=parameters)
    return await client.result(job.job_id, timeout_s=DEADLINE_S)


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
