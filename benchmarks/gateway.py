"""Gateway: POST /jobs/inference with a small body, over 1 and over 64 connections that are kept.

Headrace's endpoint does all that it does in production: size, media type, validation, the pin of the model, a key of
the client's own or none, the whole submission. The others do one XADD.
"""

import json

import anyio

from benchmarks.http_load import post
from benchmarks.http_servers import GATEWAY, Server, publish_model
from benchmarks.measuring import Figures, alternate, median, percentile, show, spread
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
N_LISTS, LIST_LENGTH = 60, 500
BODY = {
    "input_data": [round(0.1 * n, 1) for n in range(16)],
    "tags": ["bench", "small"],
    "parameters": {"max_tokens": 16},
}
UVLOOP = {"use_uvloop": True}


def run(*, repeats: int, scale: float) -> dict[str, object]:
    found = alternate(CONTESTANTS, lambda contestant: _measure(contestant, scale), repeats=repeats)
    ours, rows = found[0], []
    for place, contestant in enumerate(CONTESTANTS):
        theirs = found[place]
        rows.append(
            [
                contestant.name,
                *(
                    cell
                    for n in CONNECTIONS
                    for cell in (
                        f"{median(theirs, f'per_s_{n}'):,.0f} ± {spread(theirs, f'per_s_{n}'):.0%}",
                        f"{median(ours, f'per_s_{n}') / median(theirs, f'per_s_{n}'):.2f}",
                        f"{median(theirs, f'p50_ms_{n}'):.2f}",
                        f"{median(theirs, f'p99_ms_{n}'):.2f}",
                    )
                ),
                f"{median(theirs, 'cpu_us'):.0f}",
            ]
        )
    columns = ["", *(title for n in CONNECTIONS for title in (f"{n}: requests/s", "ratio", "p50 ms", "p99 ms"))]
    show("POST /jobs/inference, by connections", [*columns, "server µs"], rows)
    listed = [[f"{median(ours, 'listed_per_s'):,.0f} ± {spread(ours, 'listed_per_s'):.0%}"]]
    show(f"POST /jobs/inference with lists of {LIST_LENGTH}, over 2 connections", ["jobs/s"], listed)
    return {contestant.name: found[place] for place, contestant in enumerate(CONTESTANTS)}


def _measure(contestant: Server, scale: float) -> Figures:
    figures: dict[str, float] = {}
    with bench_redis() as bench, contestant.serving(bench) as served:
        model = anyio.run(publish_model, bench.url)
        request = _request(model)

        async def load(connections: int, n: int) -> tuple[float, list[float]]:
            return await post(served.port, request, n=n, connections=connections, expected=b"HTTP/1.1 202")

        async def load_lists(n: int) -> tuple[float, list[float]]:
            request = _request(model, LIST_LENGTH)
            return await post(served.port, request, n=n, connections=2, expected=b"HTTP/1.1 202")

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
