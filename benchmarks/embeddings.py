"""Texts to vectors: Headrace beside ONNX Runtime in process and sentence-transformers, with equal threads.

    uv run --script docs/examples/export_minilm.py FOLDER
    uv run --group bench python -m benchmarks.embeddings FOLDER [--texts N] [--repeats N] [--seconds S] [--threads N]

The texts are paragraphs of the manual that comes with Python, of 5 to 300 tokens. ONNX Runtime in
process has the same buckets by length, and its best batch counts. Each contestant is asked in
turns, and the ratios are those of one turn.

A request to Headrace has all texts, in one job or in one job for each. Its answers are read as JSON.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

from headrace_local.system import free_port
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.contestants import PEERS
from benchmarks.measuring import N_REPEATS, Column, Figures, alternate, table
from benchmarks.server import bench_redis
from benchmarks.serving.contestants import ROOT, batches, request
from benchmarks.serving.processes import environment, started
from benchmarks.serving.running import Served
from benchmarks.serving.ways import Way

# In one list.
MOST_JOBS = 100
BATCHES = ("8", "32", "64")
IN_PROCESS = "ONNX Runtime in process"
COLUMNS = [
    Column("texts/s", "per_s", kind="spread"),
    Column("ratio", "per_s", kind="ratio"),
    Column("CPU ms", "cpu_ms", ".2f"),
    Column("ratio", "cpu_ms", kind="ratio"),
    Column("gateway", "cpu_gateway_ms", ".2f"),
    Column("worker", "cpu_inference_worker_ms", ".2f"),
    Column("Redis", "cpu_redis_ms", ".2f"),
    Column("rows a run", "rows_a_run", ".1f"),
]
PUBLISH = """
import json, sys
from pathlib import Path
import anyio
import msgspec
from shared_schemas.models import EmbeddingSpec
from shared_schemas.store.files import ArtifactStore
from tests.support import inference_process, onnx_models, workers
_, url, root, folder = sys.argv
async def main():
    client = workers.connect(workers.RuntimeSettings(redis_url=url))
    exported = json.loads((Path(folder) / "embedding.json").read_text())
    model = onnx_models.a_model(
        ArtifactStore(Path(root)), (Path(folder) / "model.onnx").read_bytes(), name="minilm", task="text-embedding",
        tokenizer=(Path(folder) / "tokenizer.json").read_bytes(), context_length=exported["context_length"],
        embedding=msgspec.convert(exported["embedding"], EmbeddingSpec),
    )
    print(await inference_process.publish(workers.Bench(client), model))
    await client.aclose()
anyio.run(main)
"""


def paragraphs(n: int) -> list[str]:
    """n texts, the same each time."""
    found = [" ".join(part.split()) for topic in topics.values() for part in re.split(r"\n\s*\n", topic)]
    kept = [text for text in found if 20 <= len(text) <= 1200]
    random.Random(0).shuffle(kept)  # noqa: S311 - no secret
    return (kept * (n // len(kept) + 1))[:n]


@contextmanager
def headrace(folder: Path, texts: Sequence[str], threads: int) -> Iterator[Served]:
    """`headrace up` with the model, asked for all texts by each request."""
    with bench_redis() as bench:
        data, port, metrics = bench.folder / "data", free_port(), free_port()
        published = [sys.executable, "-c", PUBLISH, bench.url, str(data / "artifacts"), str(folder)]
        done = subprocess.run(published, cwd=ROOT, check=True, stdout=subprocess.PIPE, env=environment())
        ref = done.stdout.decode().strip()
        settings = {
            "HEADRACE_DEVICE": "cpu",
            "HEADRACE_INTRA_OP_THREADS": str(threads),
            "HEADRACE_METRICS_PORT": str(metrics),
        }
        command = [sys.executable, "-m", "headrace.cli", "up", "--port", str(port), "--redis-url", bench.url]
        command += ["--data-dir", str(data), "--training-workers", "0"]
        with started(RuntimeError, command, bench.folder, settings, port, "/readyz") as process:
            yield Served(port, process, partial(_asked, ref, texts), _is_right, lambda: batches(metrics), bench)


def _asked(ref: str, texts: Sequence[str], way: Way) -> bytes:
    if way.form == "rows":
        return request("/jobs/inference", {"model_id": ref, "input_data": list(texts)}, "Prefer: wait=60")
    jobs = [{"model_id": ref, "input_data": text} for text in texts]
    return request("/jobs/inference", jobs, "Accept: text/event-stream")


def _is_right(way: Way, body: bytes) -> bool:
    if way.form == "rows":
        return b'"status":"succeeded"' in body and body.count(b'"embedding":[') == way.rows
    return body.count(b"event: done") == body.count(b'"embedding":[') == way.rows


def _printed(command: Sequence[str]) -> Figures:
    done = subprocess.run(command, cwd=PEERS, check=True, stdout=subprocess.PIPE, env=environment())
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return {**figures, "rows_a_run": figures["batch"]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.embeddings", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="as docs/examples/export_minilm.py writes it")
    parser.add_argument("--texts", type=int, default=100, help="with more than 100, lists of jobs are left out")
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    texts = paragraphs(given.texts)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hr-bench-")))
        file = scratch / "texts.json"
        file.write_text(json.dumps(texts))
        served = stack.enter_context(headrace(given.folder.resolve(), texts, given.threads))
        asked = (str(given.threads), str(file), str(given.seconds / len(BATCHES)), *BATCHES)
        one_job, jobs = Way("rows", 1, len(texts)), Way("jobs", 1, len(texts))
        in_process = [sys.executable, "embedding_peer.py", str(given.folder.resolve()), *asked]
        torch_peer = ["uv", "run", "--quiet", "--no-project", "--script", "sentence_peer.py", *asked]
        cases: dict[str, Callable[[], Figures]] = {
            IN_PROCESS: partial(_printed, in_process),
            "sentence-transformers on torch": partial(_printed, torch_peer),
            "Headrace, one job with all texts": partial(served.measure, one_job, given.seconds),
        }
        if len(texts) <= MOST_JOBS:
            cases["Headrace, a list of jobs of one text"] = partial(served.measure, jobs, given.seconds)
        found = alternate(cases, lambda case: case(), repeats=given.repeats)
    made = table(f"{len(texts)} texts, {given.threads} threads a run", found, COLUMNS, base=IN_PROCESS)
    shown = Shown(*made.columns, title=made.title, title_justify="left")
    for row in made.rows:
        shown.add_row(*row)
    Console(width=160).print(shown)


if __name__ == "__main__":
    main()
