"""What serves the model, and how each is started and asked. Knows no table.

All of them have one worker that runs the model, with at most 32 rows in a run unless the
contestant's own defaults differ.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from headrace_local.system import free_port

from benchmarks.contestants import PEERS
from benchmarks.http_load import Posted
from benchmarks.measuring import Figures, PeerFailed
from benchmarks.peers.counted_model import COUNTS
from benchmarks.server import Bench, bench_redis
from benchmarks.serving.models import N_FEATURES, ROW
from benchmarks.serving.processes import READY_WITHIN_S, cpu_s, environment, started, until
from benchmarks.serving.running import Contestant, Running, Served, figure, redis_calls
from benchmarks.serving.ways import Way

ROOT = Path(__file__).parents[2]
BATCHES = (1, 8, 16, 32, 64, 128, 256)
# Run in Headrace's checkout, which may be another one: what it calls is what both have.
PUBLISH = """
import sys
from pathlib import Path
import anyio
from shared_schemas.store.files import ArtifactStore
from tests.support import inference_process, onnx_models, workers
_, url, root, file, n_features = sys.argv
async def main():
    client = workers.connect(workers.RuntimeSettings(redis_url=url))
    features = [f"f{i}" for i in range(int(n_features))]
    store = ArtifactStore(Path(root))
    content = Path(file).read_bytes()
    model = onnx_models.a_model(store, content, name="table", task="tabular-regression", features=features)
    print(await inference_process.publish(workers.Bench(client), model))
    await client.aclose()
anyio.run(main)
"""


class InProcess(Contestant, frozen=True):
    """A run has at most as many rows as a way asks for at the same time. The batch with the most
    rows per second counts."""

    def measure(self, model: Path, threads: int, ways: Sequence[Way], seconds: float) -> Figures:
        sizes = [str(size) for size in BATCHES]
        command = [sys.executable, "onnx_peer.py", str(model), str(threads), str(seconds / 2), *sizes]
        done = subprocess.run(command, cwd=PEERS, check=True, stdout=subprocess.PIPE)
        found = {int(size): measured for size, measured in json.loads(done.stdout).items()}
        figures: dict[str, float] = {}
        for way in (way for way in ways if not way.per_s):
            size = max((size for size in found if size <= way.connections * way.rows), key=lambda n: found[n]["per_s"])
            figures |= {figure(way, name): value for name, value in (found[size] | {"rows_a_run": size}).items()}
        return figures


class Headrace(Contestant, frozen=True):
    """`headrace up` of a checkout, with its defaults but for a Redis over TCP, no training worker,
    and the threads of a run. All of its processes count, and Redis. settings: others.
    training_workers: with them, runs of the model are not counted."""

    checkout: Path = ROOT
    training_workers: int = 0
    settings: Mapping[str, str] = {}

    @contextmanager
    def running(self, model: Path, threads: int) -> Iterator[Served]:
        python = str(self.checkout / ".venv/bin/python") if self.checkout != ROOT else sys.executable
        with bench_redis() as bench:
            data, port, metrics = bench.folder / "data", free_port(), free_port()
            root = data / "artifacts"
            published = [python, "-c", PUBLISH, bench.url, str(root), str(model), str(N_FEATURES)]
            done = subprocess.run(published, cwd=self.checkout, check=True, stdout=subprocess.PIPE, env=environment())
            settings = {
                "HEADRACE_DEVICE": "cpu",
                "HEADRACE_INTRA_OP_THREADS": str(threads),
                # The workers of one machine cannot share a port.
                **({} if self.training_workers else {"HEADRACE_METRICS_PORT": str(metrics)}),
                **self.settings,
            }
            command = [python, "-m", "headrace.cli", "up", "--port", str(port), "--redis-url", bench.url]
            command += ["--data-dir", str(data), "--training-workers", str(self.training_workers)]
            with started(self.failed, command, bench.folder, settings, port, "/readyz") as process:
                _until_a_worker_is_there(self, port)
                ref = done.stdout.decode().strip()
                yield Served(
                    port,
                    process,
                    lambda way: _headrace_request(ref, way),
                    _is_right_of_headrace,
                    lambda: batches(metrics),
                    bench,
                )


class Peer(Contestant, frozen=True):
    """A server of others. program: of benchmarks/peers. body: of a request with so many rows.
    answers: the predictions in a response. most_rows: in one request."""

    program: str = ""
    path: str = ""
    ready: str = ""
    body: Callable[[int], object] = lambda _: None
    answers: Callable[[Any], list[float]] = lambda _: []
    most_rows: int = 512

    @contextmanager
    def running(self, model: Path, threads: int) -> Iterator[Served]:
        with tempfile.TemporaryDirectory(prefix="hr-bench-") as name:
            counts, port = Path(name) / "counts", free_port()
            command = ["uv", "run", "--quiet", "--no-project", "--script", self.program, str(port), str(model)]
            command += [str(threads), str(counts)]
            with started(self.failed, command, Path(name), {}, port, self.ready, cwd=PEERS) as process:
                self._check(port, model)
                yield Served(port, process, self._request_for, lambda _, __: True, lambda: _counted(counts))

    def _request_for(self, way: Way) -> bytes:
        if way.form not in ("wait", "rows") or way.rows > self.most_rows:
            raise LookupError(way.form)
        return request(self.path, self.body(way.rows))

    def _check(self, port: int, model: Path) -> None:
        """PeerFailed unless it answers two rows as ONNX Runtime does here."""
        response = httpx.post(f"http://127.0.0.1:{port}{self.path}", json=self.body(2), timeout=READY_WITHIN_S)
        expected = _expected(model)
        if response.status_code != 200 or not np.allclose(self.answers(response.json()), expected, rtol=1e-3):
            raise PeerFailed(f"answered {response.status_code} {response.text[:200]}, not {expected}")


class RawLoop(Contestant, frozen=True):
    """Over Redis alone."""

    @contextmanager
    def running(self, model: Path, threads: int) -> Iterator["_RawRunning"]:
        with bench_redis() as bench:
            counts = bench.folder / "counts"
            command = [sys.executable, "raw_serving_peer.py", "work", bench.url, str(model), str(threads), str(counts)]
            with started(self.failed, command, bench.folder, {}, None, "", cwd=PEERS) as process:
                until(self.failed, process, counts.exists)
                yield _RawRunning(bench, process, counts)


class _RawRunning(Running):
    def __init__(self, bench: Bench, process: psutil.Process, counts: Path) -> None:
        self._bench, self._process, self._file = bench, process, counts

    def ask(self, way: Way, seconds: float) -> Posted:
        if way.form != "wait" or way.per_s:
            raise LookupError(way.form)
        command = [sys.executable, "raw_serving_peer.py", "ask", self._bench.url, str(seconds), str(way.connections)]
        done = subprocess.run(command, cwd=PEERS, check=True, stdout=subprocess.PIPE)
        printed = json.loads(done.stdout)
        return Posted(printed["s"], [ms / 1000 for ms in printed["ms"]])

    def cpu_s(self) -> Mapping[str, float]:
        return cpu_s(self._process) | {"redis": self._bench.used_cpu_s()}

    def counts(self) -> tuple[float, float]:
        return _counted(self._file)

    def redis_calls(self) -> int:
        return redis_calls(self._bench)


HEADRACE = Headrace("Headrace")
IN_PROCESS = InProcess("ONNX Runtime in process")
RAW = RawLoop("raw Redis loop")
_PLAIN = {"path": "/predict", "body": lambda n: {"rows": [ROW.tolist()] * n}}
PEER_SERVERS = (
    Peer(
        "MLServer",
        is_peer=True,
        program="mlserver_peer.py",
        path="/v2/models/table/infer",
        ready="/v2/models/table/ready",
        body=lambda n: {
            "inputs": [{"name": "features", "shape": [n, N_FEATURES], "datatype": "FP32", "data": ROW.tolist() * n}]
        },
        answers=lambda body: body["outputs"][0]["data"],
    ),
    Peer(
        "LitServe",
        is_peer=True,
        program="litserve_peer.py",
        ready="/health",
        answers=lambda body: body["prediction"],
        **_PLAIN,
    ),
    Peer(
        "BentoML",
        is_peer=True,
        program="bentoml_peer.py",
        ready="/readyz",
        answers=lambda body: body,
        # It refuses a request with more rows than a run may have.
        most_rows=32,
        **_PLAIN,
    ),
)


def request(path: str, given: object, *headers: str) -> bytes:
    body = json.dumps(given).encode()
    head = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _headrace_request(ref: str, way: Way) -> bytes:
    one = {"model_id": ref, "input_data": ROW.tolist()}
    waits, streams = "Prefer: wait=60", "Accept: text/event-stream"
    given, header = {
        "wait": (one, waits),
        "stream": (one, streams),
        "jobs": ([one] * way.rows, streams),
        "rows": (one | {"input_data": [ROW.tolist()] * way.rows}, waits),
    }[way.form]
    return request("/jobs/inference", given, header)


def _is_right_of_headrace(way: Way, body: bytes) -> bool:
    n_predictions = way.rows if way.form == "rows" else 1
    match way.form:
        case "wait" | "rows":
            return b'"status":"succeeded"' in body and body.count(b'"prediction"') == n_predictions
        case "stream" | "jobs":
            return body.count(b"event: done") == body.count(b'"prediction"') == way.rows


def _expected(model: Path) -> list[float]:
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    [predictions] = session.run(None, {"features": np.stack([ROW, ROW])})
    found: list[float] = predictions.tolist()
    return found


def batches(port: int) -> tuple[float, float]:
    name, found = "headrace_inference_batch_rows", dict[str, float]()
    for line in httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines():
        key, _, value = line.rpartition(" ")
        if key in (f"{name}_count", f"{name}_sum"):
            found[key] = float(value)
    return found[f"{name}_count"], found[f"{name}_sum"]


def _counted(file: Path) -> tuple[float, float]:
    return COUNTS.unpack(file.read_bytes())  # type: ignore[return-value]


def _until_a_worker_is_there(contestant: Contestant, port: int) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while not httpx.get(f"http://127.0.0.1:{port}/workers").json().get("workers"):
        if time.monotonic() > end:
            raise contestant.failed("no worker came")
        time.sleep(0.1)
