"""Hostile connections cost the gateway little each, and other clients are served as usual."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import psutil
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support.gateways import Gateway, running_gateway
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.chaos, pytest.mark.quick]

N_CONNECTIONS = 10
MOST_BYTES = 2 << 20
# More than the gateway may keep of one connection. Without limits it would keep all of it.
SENT_BYTES = 6 << 20
HEAD = b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /jobs/training HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
# What a connection sends first, and what it repeats as long as the gateway accepts it. It never reads.
HOSTILE: list[tuple[str, bytes, bytes]] = [
    ("a target without an end", b"GET /", b"a" * 65_536),
    ("a header without an end", HEAD + b"X: ", b"a" * 65_536),
    ("headers without an end", HEAD, b"X: a\r\n" * 8192),
    ("empty headers without an end", HEAD, b"a:\r\n" * 16_384),
    ("trailers without an end", CHUNKED + b"0\r\n", b"X: a\r\n" * 8192),
    ("an extension of a chunk without an end", CHUNKED + b"1;", b"a" * 65_536),
    ("chunks of one byte without an end", CHUNKED, b"1\r\n{\r\n" * 8192),
    ("a body that nobody reads", HEAD + b"Content-Length: 1000000000\r\n\r\n", b"a" * 65_536),
    ("requests without an end, whose answers it does not read", b"", (HEAD + b"\r\n") * 1000),
    ("short requests without an end", b"", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n" * 2000),
    ("requests behind an event stream", STREAM, (HEAD + b"\r\n") * 1000),
    ("a body behind an event stream", STREAM[:-2] + b"Content-Length: 1000000000\r\n\r\n", b"a" * 65_536),
    ("upgrades without an end", b"", (HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n") * 1000),
]


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(shared_redis.url, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


# It is a process of its own, so that the senders do not slow it. It asks until its input ends.
PROBE = """
import http.client, select, sys, time
connection, most_s = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1])), 0.0
while True:
    began = time.perf_counter()
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
    if not most_s:
        print("begun", flush=True)
    most_s = max(most_s, time.perf_counter() - began)
    if select.select([sys.stdin], [], [], 0)[0]:
        break
print(most_s)
"""


@asynccontextmanager
async def probed(gateway: Gateway, took_s: list[float]) -> AsyncIterator[None]:
    """Ask for /healthz over and over. took_s: gets the time of the slowest response, s."""
    async with await anyio.open_process([sys.executable, "-c", PROBE, str(gateway.port)], stderr=None) as probe:
        assert probe.stdout is not None
        assert probe.stdin is not None
        said = BufferedByteReceiveStream(probe.stdout)
        assert await said.receive_until(b"\n", 100) == b"begun"
        yield
        await probe.stdin.aclose()
        took_s.append(float(await said.receive_until(b"\n", 100)))


@contextmanager
def connections(gateway: Gateway) -> Iterator[list[socket.socket]]:
    opened = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(N_CONNECTIONS)]
    try:
        for connection in opened:
            connection.setblocking(False)
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def pour(connection: socket.socket, first: bytes, again: bytes, *, idle_s: float = 0.5) -> None:
    """Send until SENT_BYTES are sent, or the gateway has accepted nothing for idle_s, or has closed
    the connection."""
    loop = asyncio.get_running_loop()
    try:
        with anyio.move_on_after(idle_s) as patience:
            await loop.sock_sendall(connection, first)
            for _ in range(SENT_BYTES // len(again)):
                await loop.sock_sendall(connection, again)
                patience.deadline = anyio.current_time() + idle_s
    except OSError:
        pass


@pytest.mark.fault(
    "readers", "connections that send without end, or never read", sees="each costs a few KiB; other clients are served"
)
@pytest.mark.parametrize(("first", "again"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
async def test_a_hostile_connection_costs_less_than_two_mebibytes_and_others_are_served(
    gateway: Gateway, redis_url: str, first: bytes, again: bytes
) -> None:
    process = psutil.Process(gateway.pid)
    async with gateway.client() as client:
        for _ in range(5):
            await client.get("/jobs")
        before, most, took_s = process.memory_info().rss, 0, list[float]()
        with connections(gateway) as opened:
            async with probed(gateway, took_s), anyio.create_task_group() as pouring:
                for connection in opened:
                    pouring.start_soon(pour, connection, first, again)
                for _ in range(20):
                    await anyio.sleep(0.01)
                    most = max(most, process.memory_info().rss - before)
            most = max(most, process.memory_info().rss - before)
            assert (await client.get("/healthz")).status_code == 200

    print(f"{most / N_CONNECTIONS / 1024:.0f} KiB a connection; /healthz at most {took_s[0] * 1000:.0f} ms")
    assert most / N_CONNECTIONS < MOST_BYTES
    assert not [line for line in gateway.log() if line["level"] == "error"]
