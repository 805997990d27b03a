"""Round trip: one job at a time on an idle system, from its submission until the submitter knows its result.

The jobs follow one another closely. If a Headrace worker has waited for two seconds without a job, the next job needs
one more round trip to Redis.
"""

import asyncio
import time

import anyio
import msgspec

from benchmarks.contestants import HEADRACE, RAW, Contestant, peers
from benchmarks.http_servers import GATEWAY, publish_model
from benchmarks.measuring import Column, Figures, Found, Table, alternate, percentile, table
from benchmarks.server import Bench, bench_redis

WARM_UP = 100
OVER_HTTP = msgspec.structs.replace(HEADRACE, name="Headrace, HTTP + SSE")


COLUMNS = [
    Column("p50 ms", "p50_ms", ".3f", "spread"),
    Column("p99 ms", "p99_ms", ".3f"),
    Column("ratio", "p50_ms", kind="ratio"),
]


def run(*, repeats: int, scale: float) -> Found:
    contestants = {contestant.name: contestant for contestant in [HEADRACE, OVER_HTTP, RAW, *peers()]}
    return alternate(contestants, lambda contestant: _measure(contestant, scale), repeats=repeats)


def tables(found: Found) -> list[Table]:
    return [table("Round trip of one job, idle", found, COLUMNS, base=HEADRACE.name)]


def _measure(contestant: Contestant, scale: float) -> Figures:
    n = max(50, round(contestant.n_trips * scale)) + WARM_UP
    with bench_redis() as bench, contestant.working(bench.url, n + WARM_UP, bench.folder / "tally"):
        is_http = contestant is OVER_HTTP
        took = _over_http(bench, n) if is_http else contestant.call("round_trips", bench.url, n)["ms"]
    return {"p50_ms": percentile(took[WARM_UP:], 0.5), "p99_ms": percentile(took[WARM_UP:], 0.99)}


def _over_http(bench: Bench, n: int) -> list[float]:
    with GATEWAY.serving(bench) as served:
        model = anyio.run(publish_model, bench.url)
        return anyio.run(followed, served.port, model, n, backend_options={"use_uvloop": True})


async def followed(port: int, model: str, n: int) -> list[float]:
    """Send n POSTs that are answered with the job's event stream, over one connection. Each waits
    for `done`. -> ms for each"""
    body = b'{"model_id":"%b","input_data":"%b"}' % (model.encode(), b"x" * 100)
    request = (
        b"POST /jobs/inference HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took = []
    for _ in range(n):
        began = time.perf_counter()
        writer.write(request)
        await reader.readuntil(b"event: done")
        took.append((time.perf_counter() - began) * 1000)
        await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()
    return took
