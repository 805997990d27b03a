"""Gateway: POST /jobs/inference with a small body, over 1 and over 64 connections that are kept.

Headrace's endpoint does all that it does in production: size, media type, validation, the pin of the model, a key of
the client's own or none, the whole submission. The others do one XADD.
"""

import json

import anyio

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
# About 5 s each.
N = {1: 4_000, 64: 20_000}
WARM_UP = 500
N_LISTS, LIST_LENGTH, LIST_CONNECTIONS = 120, 500, 4
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
    contestants = {contestant.name: contestant for contestant in CONTESTANTS}
    return alternate(contestants, lambda contestant: _measure(contestant, scale), repeats=repeats)


def tables(found: Found) -> list[Table]:
    lists = {GATEWAY.name: found[GATEWAY.name]}
    return [
        table("POST /jobs/inference, by connections", found, COLUMNS, base=GATEWAY.name),
        table(
            f"POST /jobs/inference with lists of {LIST_LENGTH}, over {LIST_CONNECTIONS} connections",
            lists,
            [Column("jobs/s", "listed_per_s", kind="spread")],
        ),
    ]


def _measure(contestant: Server, scale: float) -> Figures:
    figures: dict[str, float] = {}
    with bench_redis() as bench, contestant.serving(bench) as served:
        model = anyio.run(publish_model, bench.url)
        request = _request(model)

        async def load(connections: int, n: int) -> tuple[float, list[float]]:
            return await post(served.port, request, n=n, connections=connections, expected=b"HTTP/1.1 202")

        async def load_lists(n: int) -> tuple[float, list[float]]:
            request = _request(model, LIST_LENGTH)
            return await post(served.port, request, n=n, connections=LIST_CONNECTIONS, expected=b"HTTP/1.1 202")

        anyio.run(load, CONNECTIONS[-1], WARM_UP, backend_options=UVLOOP)
        for connections in CONNECTIONS:
            n, cpu = max(200, round(N[connections] * scale)), served.cpu_s()
            took_s, each_s = anyio.run(load, connections, n, backend_options=UVLOOP)
            figures[f"per_s_{connections}"] = n / took_s
            figures[f"p50_ms_{connections}"] = percentile(each_s, 0.5) * 1000
            figures[f"p99_ms_{connections}"] = percentile(each_s, 0.99) * 1000
            figures["cpu_us"] = (served.cpu_s() - cpu) * 1e6 / n
        if contestant is GATEWAY:
            lists = max(2, round(N_LISTS * scale))
            took_s, _ = anyio.run(load_lists, lists, backend_options=UVLOOP)
            figures["listed_per_s"] = lists * LIST_LENGTH / took_s
    return figures


def _request(model: str, list_length: int = 0) -> bytes:
    one = {"model_id": model, **BODY}
    body = json.dumps([one] * list_length if list_length else one).encode()
    head = b"POST /jobs/inference HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
