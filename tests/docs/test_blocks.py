"""The commands and programs of the README and the guides do what the pages say.

Redis, the gateway, the inference worker and the models are real. Training is not: its worker
publishes a ready model at once, with the events of a training, so that a page is tried in seconds.
tests/e2e/test_main_job.py trains.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import numpy as np
from headrace import AsyncClient
from shared_schemas.events import Measured, Progressed
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.models import EmbeddingSpec, ImageSpec, ModelManifest, RerankSpec
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import TrainingSpec
from shared_schemas.store.files import ArtifactStore
from shared_schemas.stream.registry import ModelRegistry
from worker_runtime import Attempt

from tests.support.gateways import ROOT, driver, running_gateway
from tests.support.inference_process import inference_process
from tests.support.onnx_models import (
    a_model,
    bigram,
    byte_tokenizer,
    encoder,
    mean_colour,
    mlp,
    pair_scorer,
    word_tokenizer,
)
from tests.support.pages import Block, blocks, guides
from tests.support.workers import ScriptedHandler, running_worker, success

DEADLINE_S = 60.0
RUNNABLE = ("sh", "python")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
JOB_ID = re.compile(r'"job_id":"((?:training|inference)-[0-9a-z]{26})"')
BATCH_ID = re.compile(r'"batch_id":"(batch-[a-z]+-[0-9a-z]{26})"')
# A failed request must fail the command. `uv run` is skipped, because it would check the environment each time.
SHELL = """
set -euo pipefail
curl() { command curl --fail-with-body -sS "$@"; }
uv() { [ "$1" = run ]; shift; "$@"; }
"""


class ReadyTrainer(ScriptedHandler):
    """Publishes a ready model under the name that the job asks for, and trains nothing."""

    kind = JobKind.TRAINING

    def __init__(self, registry: ModelRegistry, ready: dict[str, ModelManifest]) -> None:
        super().__init__(self._publish)
        self._registry, self._ready = registry, ready

    async def _publish(self, attempt: Attempt) -> Success | Release:
        assert isinstance(attempt.spec, TrainingSpec)
        name = attempt.spec.output_model or "mlp-wine"
        await attempt.record(Progressed(fraction=1.0, step=1, total=1))
        await attempt.record(Measured(split="train", step=1, values={"loss": 0.5}))
        if attempt.replay_of is not None:
            return success({"model": None})
        manifest = self._ready[attempt.spec.model_type]
        made = await self._registry.stage(name=name, job_id=attempt.job_id, fence=attempt.fence, manifest=manifest)
        return success({"model": str(made)})


def ready_models(artifacts: Path) -> dict[str, ModelManifest]:
    """The ready models by model type: a classifier of wines by thirteen features, and a language
    model."""
    store = ArtifactStore(artifacts)
    table = np.random.default_rng(0).standard_normal((260, 260)).astype(np.float32)
    features, labels = [f"f{i}" for i in range(13)], ("first", "second", "third")
    wine = a_model(store, mlp([13, 3]), labels=labels, features=features)
    prose = a_model(store, bigram(table), task="text-generation", tokenizer=byte_tokenizer(), context_length=64)
    return {"mlp": wine.manifest, "transformer": prose.manifest}


def sentence_encoder(artifacts: Path) -> ModelManifest:
    table = np.random.default_rng(0).standard_normal((260, 8)).astype(np.float32)
    spec = EmbeddingSpec(dimensions=10, pooling="mean", normalize=True)
    text = {"tokenizer": byte_tokenizer(), "context_length": 64, "embedding": spec}
    return a_model(ArtifactStore(artifacts), encoder(table), task="text-embedding", **text).manifest


def cross_encoder(artifacts: Path) -> ModelManifest:
    table = np.random.default_rng(0).standard_normal(260).astype(np.float32) / 10
    words = ["jobs", "wait", "in", "queue", "wheel"]
    text = {"tokenizer": word_tokenizer(words), "context_length": 64, "rerank": RerankSpec(activation="sigmoid")}
    return a_model(ArtifactStore(artifacts), pair_scorer(table), task="rerank", **text).manifest


def token_classifier(artifacts: Path) -> ModelManifest:
    table = np.random.default_rng(0).standard_normal((260, 3)).astype(np.float32)
    text = {"tokenizer": word_tokenizer(["ada", "lovelace", "london"]), "context_length": 64}
    labels = ("O", "B-PER", "I-PER")
    return a_model(ArtifactStore(artifacts), bigram(table), task="token-classification", labels=labels, **text).manifest


def image_classifier(artifacts: Path) -> ModelManifest:
    spec, labels = ImageSpec(height=8, width=8), ("red", "green", "blue")
    file = mean_colour([3, 8, 8])
    return a_model(ArtifactStore(artifacts), file, task="image-classification", labels=labels, image=spec).manifest


def run(block: Block, url: str, job_id: str, batch_id: str) -> str:
    """-> the output of the block"""
    text = block.text.replace("http://127.0.0.1:8000", url).replace("localhost:8000", url.removeprefix("http://"))
    command = ["bash", "-c", SHELL + text] if block.language == "sh" else [sys.executable, "-c", text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        env=ENVIRONMENT | {"PATH": path, "HEADRACE_URL": url, "JOB": job_id, "BATCH": batch_id},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, (block.place, done.stdout, done.stderr)
    assert done.stdout, f"{block.place} says nothing"
    return done.stdout


async def test_every_block_that_is_not_marked_runs_and_no_job_of_it_fails(redis_url: str, tmp_path: Path) -> None:
    """$JOB is the job that the page submitted last, or a finished job if it submitted none. $BATCH is the last batch of
    all pages."""
    shown = [block for page in guides() for block in blocks(page) if not block.mark and block.language in RUNNABLE]
    assert len({block.page for block in shown}) >= 7

    async with driver(redis_url) as drive:
        await drive.publish("minilm", manifest=sentence_encoder(tmp_path / "artifacts"))
        await drive.publish("reranker", manifest=cross_encoder(tmp_path / "artifacts"))
        await drive.publish("ner", manifest=token_classifier(tmp_path / "artifacts"))
        await drive.publish("colours", manifest=image_classifier(tmp_path / "artifacts"))
        trainer = ReadyTrainer(drive.registry, ready_models(tmp_path / "artifacts"))
        with running_gateway(redis_url, tmp_path) as gateway, inference_process(redis_url, tmp_path / "artifacts"):
            async with running_worker(redis_url, trainer, lease_s=15.0), AsyncClient(gateway.url) as client:
                for model_type, name in (("transformer", "prose"), ("mlp", "wine")):
                    ready = await client.submit_training(model_type=model_type, data_path="x.csv", output_model=name)
                    await client.result(ready.job_id, timeout_s=DEADLINE_S)
                latest = dict.fromkeys((block.page for block in shown), str(ready.job_id))
                batch_id = ""
                for block in shown:
                    written = await anyio.to_thread.run_sync(run, block, gateway.url, latest[block.page], batch_id)
                    latest[block.page] = (JOB_ID.findall(written) or [latest[block.page]])[-1]
                    batch_id = (BATCH_ID.findall(written) or [batch_id])[-1]
                    if "curl -N" in block.text:
                        ended = '"custom_id":"row-1"' if "follow=true" in block.text else "event: done"
                        assert ended in written, block.place
                async for job in client.list():
                    ended = await client.wait(job.id, timeout_s=DEADLINE_S)
                    assert ended.state is JobState.SUCCEEDED, ended
