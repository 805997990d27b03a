"""A model with a cache writes texts for many jobs at once, through a real gateway, Redis and worker."""

import asyncio
import random
from pathlib import Path

import pytest
from headrace import AsyncClient, Emitted
from shared_schemas.models import DecoderSpec, Model
from shared_schemas.store.files import ArtifactStore

from tests.support.decoder_graphs import TINY, llama
from tests.support.gateways import driver, running_gateway
from tests.support.inference_process import inference_process
from tests.support.onnx_models import a_model, byte_tokenizer
from tests.support.serving_processes import DEADLINE_S, serving

PROMPT = "Each reader gets every event once, and in order."
LEASE_S = 2.0


def a_language_model(folder: Path) -> Model:
    return a_model(
        ArtifactStore(folder / "artifacts"),
        llama(scale=2.0).SerializeToString(),
        task="text-generation",
        tokenizer=byte_tokenizer(),
        context_length=TINY.context,
        decoder=DecoderSpec(end_token_ids=(3,)),
    )


async def test_a_replay_under_the_load_of_sixteen_others_is_identical(redis_url: str, tmp_path: Path) -> None:
    model = a_language_model(tmp_path)
    async with serving(redis_url, tmp_path, model) as client:

        async def submit(text: str, seed: int) -> str:
            parameters = {"max_tokens": 120, "seed": seed, "temperature": 0.3}
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


@pytest.mark.chaos
@pytest.mark.fault(
    "workers",
    "kill -9 of a worker in the middle of a text, at two and at 20 random tokens",
    sees="the text goes on after the last token that a reader saw; none comes twice, and none has changed",
)
@pytest.mark.parametrize(
    "n_steps",
    [
        *(pytest.param(n, marks=pytest.mark.quick) for n in (2, 67)),
        *random.Random(18).sample(range(3, 120), 20),
    ],
)
async def test_after_a_kill_a_text_goes_on_where_its_reader_was(redis_url: str, tmp_path: Path, n_steps: int) -> None:
    await kill_at(n_steps, redis_url, tmp_path)


async def kill_at(n_steps: int, redis_url: str, folder: Path) -> None:
    """The worker dies at that step of the second job, which then must end like the first."""
    model = a_language_model(folder)
    async with driver(redis_url) as drive:
        await drive.publish(model.name, manifest=model.manifest)
    with running_gateway(redis_url, folder) as gateway:
        async with AsyncClient(gateway.url) as client:

            async def submit(seed: int) -> str:
                parameters = {"max_tokens": 120, "seed": seed, "temperature": 0.3}
                job = await client.submit_inference(model_id="model", input_data=PROMPT, parameters=parameters)
                return job.job_id

            killed = await submit(1)
            with inference_process(
                redis_url, folder / "artifacts", armed=("kill", "decoding_step", n_steps), lease_s=LEASE_S
            ) as worker:
                await asyncio.to_thread(worker.wait, DEADLINE_S)
            with inference_process(redis_url, folder / "artifacts", lease_s=LEASE_S):
                result = await client.result(killed, timeout_s=DEADLINE_S)
                undisturbed = await client.result(await submit(1), timeout_s=DEADLINE_S)
                replayed = await client.replay(killed)
                replay = (await client.wait(replayed.job_id, timeout_s=DEADLINE_S)).replay
                events = [event async for event in client.events(killed)]

    shown = [event for event in events if isinstance(event, Emitted)]
    before = [token for event in shown if event.attempt == 1 for token in event.tokens]
    assert {event.attempt for event in shown} <= {1, 2}
    assert "".join(event.chunk for event in shown) == result["text"] == undisturbed["text"]
    assert sum(len(event.tokens) for event in shown) == result["tokens"] == 120
    assert result["speed"].get("resumed_tokens", 0) == len(before)
    # The recorder is some steps behind at most; a very early kill may leave nothing.
    assert before or n_steps < 60
    assert replay is not None
    assert replay.identical
