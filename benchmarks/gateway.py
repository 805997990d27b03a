"""Gateway: POST /jobs/inference with a small body, over 1 and over 64 kept-alive connections.

The endpoint of Headrace does all that it does in production: it checks size, media type and content, pins the model,
handles an optional Idempotency-Key, and stores the job. The other servers do one XADD. The second table is about many
jobs at once. Headrace takes lists over HTTP, and the other queues store jobs in bulk through their own clients. Each
job carries what a job of the other queues carries.
"""

import json
from collections.abc import Callable
from functools import partial

import anyio

from benchmarks.contestants import Contestant, peers
from benchmarks.http_load import post
from benchmarks.http_servers import GATEWAY, Server, publish_model
from benchmarks.measuring import Column, Figures, Found, Table, alternate, percentile, table
from benchmarks.server import bench_redis

CONTESTANTS = [
    GATEWAY,
    Server("Starlette, body as it is, one XADD", "starlette"),
    Server("FastAPI, Pydantic, one XADD", "pydantic"),
]
CONNECTIONS = (1, 64)
# Requests for about 5 s each.
N = {1: 4_000, 64: 20_000}
WARM_UP = 500
N_LISTS, LIST_LENGTH, LIST_CONNECTIONS = 120, 500, 4
# The payload of a job of the peers.
PEERS_BYTES = 100
ACCEPTED = b"HTTP/1.1 202"
LISTS = f"Headrace gateway, lists of {LIST_LENGTH} over {LIST_CONNECTIONS} connections"
BODY = {
    "input_data": [round(0.1 * n, 1) for n in range(16)],
    "tags": ["bench", "small"],
    "parameters": {"max_tokens": 16},
}
UVLOOP = {"use_uvloop": True}


COLUMNS = [
    column
    for n in CONNECTIONS
    for column in (
        Column(f"{n}: requests/s", f"per_s_{n}", kind="spread"),
        Column("ratio", f"per_s_{n}", kind="inverse"),
        Column("p50 ms", f"p50_ms_{n}", ".2f"),
        Column("p99 ms", f"p99_ms_{n}", ".2f"),
    )
] + [Column("server µs", "cpu_us")]


def run(*, repeats: int, scale: float) -> Found:
    measures: dict[str, Callable[[], Figures]] = {
        **{server.name: partial(_measure, server, scale) for server in CONTESTANTS},
        LISTS: partial(_measure_lists, scale),
        **{peer.name: partial(_measure_peer, peer, scale) for peer in peers()},
    }
    return alternate(measures, lambda measure: measure(), repeats=repeats)


def tables(found: Found) -> list[Table]:
    servers = {server.name for server in CONTESTANTS}
    lists = [Column("jobs/s", "listed_per_s", kind="spread"), Column("ratio", "listed_per_s", kind="inverse")]
    return [
        table(
            "POST /jobs/inference, by connections",
            {name: rows for name, rows in found.items() if name in servers},
            COLUMNS,
            base=GATEWAY.name,
        ),
        table(
            "Many jobs at once: over HTTP, and over the peers' own clients",
            {name: rows for name, rows in found.items() if name not in servers},
            lists,
            base=LISTS,
        ),
    ]


def _measure(server: Server, scale: float) -> Figures:
    figures: dict[str, float] = {}
    with bench_redis() as bench, server.serving(bench) as served:
        request = request_for(anyio.run(publish_model, bench.url))

        async def load(connections: int, n: int) -> tuple[float, list[float]]:
            return await post(served.port, request, n=n, connections=connections, expected=ACCEPTED)

        anyio.run(load, CONNECTIONS[-1], WARM_UP, backend_options=UVLOOP)
        for connections in CONNECTIONS:
            n, cpu = max(200, round(N[connections] * scale)), served.cpu_s()
            took_s, each_s = anyio.run(load, connections, n, backend_options=UVLOOP)
            figures[f"per_s_{connections}"] = n / took_s
            figures[f"p50_ms_{connections}"] = percentile(each_s, 0.5) * 1000
            figures[f"p99_ms_{connections}"] = percentile(each_s, 0.99) * 1000
            figures["cpu_us"] = (served.cpu_s() - cpu) * 1e6 / n
    return figures


def _measure_lists(scale: float) -> Figures:
    with bench_redis() as bench, GATEWAY.serving(bench) as served:
        one = {"model_id": anyio.run(publish_model, bench.url), "input_data": "x" * PEERS_BYTES}
        request, n = _request([one] * LIST_LENGTH), max(2, round(N_LISTS * scale))

        async def load() -> tuple[float, list[float]]:
            return await post(served.port, request, n=n, connections=LIST_CONNECTIONS, expected=ACCEPTED)

        took_s, _ = anyio.run(load, backend_options=UVLOOP)
    return {"listed_per_s": n * LIST_LENGTH / took_s}


def _measure_peer(peer: Contestant, scale: float) -> Figures:
    n = max(500, round(peer.n_jobs * scale))
    with bench_redis() as bench:
        return {"listed_per_s": n / peer.call("enqueue", bench.url, n)["s"]}


def request_for(model: str) -> bytes:
    return _request({"model_id": model, **BODY})


def _request(given: object) -> bytes:
    body = json.dumps(given).encode()
    head = b"POST /jobs/inference HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
