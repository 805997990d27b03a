"""Forms of tensors: the CPU time of an answer in the gateway and in the worker, for a tensor as numbers in JSON, in
base64, and through the Open Inference Protocol.

    uv run --group bench python -m benchmarks.tensor_forms [--requests N] [--repeats N]

The model gives back what it is given, so all else is the cost of the form.
"""

import argparse
import asyncio
import json
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Shown
from shared_schemas.store.files import ArtifactStore

from benchmarks.measuring import Column, Figures, Found, Table, alternate, table
from benchmarks.server import bench_redis
from tests.support.gateways import Gateway, running_gateway
from tests.support.inference_process import inference_process
from tests.support.oip_models import publish
from tests.support.onnx_tensors import a_tensor_model, identity

SIZES, REQUESTS, REPEATS, AT_ONCE = (2, 50_000), 400, 5, 16
JSON, PREFER = {"Content-Type": "application/json"}, {"Prefer": "wait=60"}
BASE = "native, numbers"

COLUMNS = [
    Column("gateway, ms", "gateway_ms", ",.2f", "spread"),
    Column("worker, ms", "worker_ms", ",.2f", "spread"),
    Column(f"gateway, of {BASE}", "gateway_ms", kind="ratio"),
    Column(f"worker, of {BASE}", "worker_ms", kind="ratio"),
]


class Request(msgspec.Struct, frozen=True):
    path: str
    headers: dict[str, str]
    body: bytes


def requests(array: NDArray[np.float32]) -> dict[str, Request]:
    """The same tensor in each form. Answers have the form of the request."""
    shape, numbers, raw = list(array.shape), array.tolist(), array.tobytes()

    def native(tensor: Any, **parameters: str) -> Request:
        body = {"model_id": "same", "input_data": {"x": tensor}, "parameters": parameters}
        return Request("/jobs/inference", JSON | PREFER, json.dumps(body).encode())

    given = {"name": "x", "shape": shape, "datatype": "FP32"}
    sized = given | {"parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    in_json = json.dumps({"inputs": [given | {"data": numbers}]}).encode()
    in_base64 = {"shape": shape, "base64": b64encode(raw).decode()}
    return {
        BASE: native(numbers),
        "native, base64": native(in_base64, tensor_format="base64"),
        "protocol, numbers": Request("/v2/models/same/infer", JSON, in_json),
        "protocol, binary": Request("/v2/models/same/infer", length, head + raw),
    }


@contextmanager
def serving() -> Iterator[tuple[Gateway, int]]:
    """-> the gateway, and the process id of the worker"""
    with tempfile.TemporaryDirectory(prefix="hr-bench-") as name, bench_redis() as bench:
        folder = Path(name)
        model = a_tensor_model(ArtifactStore(folder / "artifacts"), identity("float32"), name="same")
        asyncio.run(publish(bench.url, [model]))
        with (
            running_gateway(bench.url, folder, max_body_bytes=16 << 20) as gateway,
            inference_process(bench.url, folder / "artifacts", log_format="json") as worker,
        ):
            yield gateway, worker.pid


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def ask(gateway: Gateway, request: Request, n: int) -> None:
    limit = asyncio.Semaphore(AT_ONCE)
    # Compression of the answer would be the cost of another thing.
    headers = {"Accept-Encoding": "identity", **request.headers}

    async def one(client: httpx.AsyncClient) -> None:
        async with limit:
            answer = await client.post(request.path, content=request.body, headers=headers)
        answer.raise_for_status()

    async with httpx.AsyncClient(base_url=gateway.url, timeout=60.0, trust_env=False) as client:
        await asyncio.gather(*(one(client) for _ in range(n)))


def measure(gateway: Gateway, worker: int, request: Request, n: int) -> Figures:
    before = cpu_s(gateway.pid), cpu_s(worker)
    asyncio.run(ask(gateway, request, n))
    after = cpu_s(gateway.pid), cpu_s(worker)
    return {"gateway_ms": (after[0] - before[0]) / n * 1e3, "worker_ms": (after[1] - before[1]) / n * 1e3}


def tables(found: dict[int, Found]) -> list[Table]:
    return [table(f"A tensor of {size:,} float32", of_size, COLUMNS, base=BASE) for size, of_size in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.tensor_forms", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of the small tensor; a tenth of the large one")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    found: dict[int, Found] = {}
    with serving() as (gateway, worker):
        for size, n in zip(SIZES, (given.requests, max(1, given.requests // 10)), strict=True):
            cases = requests(np.linspace(-1, 1, size, dtype=np.float32))
            for request in cases.values():
                asyncio.run(ask(gateway, request, AT_ONCE))
            found[size] = alternate(
                cases, lambda request, n=n: measure(gateway, worker, request, n), repeats=given.repeats
            )
    for made in tables(found):
        shown = Shown(*made.columns, title=made.title, title_justify="left")
        for row in made.rows:
            shown.add_row(*row)
        Console(width=120).print(shown)


if __name__ == "__main__":
    main()
