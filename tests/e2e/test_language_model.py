"""A model with a cache writes texts for many jobs at once, through a real gateway, Redis and worker."""

import asyncio
from pathlib import Path

from shared_schemas.models import DecoderSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.decoder_graphs import TINY, llama
from tests.support.onnx_models import a_model, byte_tokenizer
from tests.support.serving_processes import DEADLINE_S, serving

PROMPT = "Each reader gets every event once, and in order."


async def test_a_replay_under_the_load_of_sixteen_others_is_identical(redis_url: str, tmp_path: Path) -> None:
    model = a_model(
        ArtifactStore(tmp_path / "artifacts"),
        llama(scale=2.0).SerializeToString(),
        task="text-generation",
        tokenizer=byte_tokenizer(),
        context_length=TINY.context,
        decoder=DecoderSpec(end_token_ids=(3,)),
    )
    async with serving(redis_url, tmp_path, model) as client:

        async def submit(text: str, seed: int) -> str:
            parameters = {"max_tokens": 120, "seed": seed}
            job = await client.submit_inference(model_id="model", input_data=text, parameters=parameters)
            return job.job_id

        async def replay(job_id: str) -> bool | None:
            replayed = await client.replay(job_id)
            done = await client.wait(replayed.job_id, timeout_s=DEADLINE_S)
            return None if done.replay is None else done.replay.identical

        first = await submit(PROMPT, 1)
        result = await client.result(first, timeout_s=DEADLINE_S)
        others = [await submit(PROMPT[n:] * (n % 3 + 1), n) for n in range(16)]
        assert await asyncio.gather(*(replay(first) for _ in range(3))) == [True] * 3
        texts = [await client.result(job_id, timeout_s=DEADLINE_S) for job_id in others]
        again = await client.result(await submit(PROMPT, 2), timeout_s=DEADLINE_S)

    assert result["speed"]["first_token_s"] > 0.0
    assert len({text["text"] for text in texts}) == 16
    assert again["text"] != result["text"]
