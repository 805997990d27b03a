"""A gateway and a worker on a Redis that can be taken away, as a user sees them: over HTTP alone.

Knows how Redis can be unavailable, and how to bring it back. The tests decide what must be true meanwhile.
"""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import anyio
import httpx
import msgspec
import psutil
import redis
from redis.exceptions import ResponseError
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.keys import GROUP, LANES

from tests.support.gateways import DEADLINE_S, INFERENCE, MODEL, Frame, driver, frames
from tests.support.redis_server import RedisServer

# Loading takes longer than what a test does meanwhile: 5 s of quiet, then requests that may each wait for Redis.
BALLAST_KEYS, BALLAST_BYTES, LOADING_S = 200, 200 * 1024, 16.0
READY = [keys.ready(INFERENCE, lane) for lane in LANES]


class Usage(msgspec.Struct, frozen=True):
    """What a process used over some time: the share of one core, and the lines that it logged."""

    cpu: float
    lines: list[str]


def lines_of(log: Path) -> list[str]:
    return log.read_text().splitlines()


@asynccontextmanager
async def used_by(process: Popen[bytes], log: Path) -> AsyncIterator[Callable[[], Usage]]:
    """Call what is yielded at the end of the window."""
    watched, n_before, began = psutil.Process(process.pid), len(lines_of(log)), anyio.current_time()
    before = watched.cpu_times()

    def usage() -> Usage:
        after = watched.cpu_times()
        busy_s = after.user - before.user + after.system - before.system
        return Usage(busy_s / (anyio.current_time() - began), lines_of(log)[n_before:])

    yield usage


class JobFollower:
    """Follows a job over one event stream, from the first event to the last."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.seen: list[Frame] = []
        self._grown = anyio.Event()

    async def follow(self, http: httpx.AsyncClient) -> None:
        async with http.stream("GET", f"/jobs/{self.job_id}/events", timeout=None) as response:
            assert response.status_code == 200
            async for frame in frames(response):
                self.seen.append(frame)
                self._grown.set()
                self._grown = anyio.Event()

    async def until(self, found: Callable[[Frame], bool], *, after: int = 0) -> Frame:
        """The first frame, after the first `after` frames, for which `found` is true."""
        with anyio.fail_after(3 * DEADLINE_S):
            while True:
                for frame in self.seen[after:]:
                    if found(frame):
                        return frame
                after = len(self.seen)
                await self._grown.wait()


def is_output(frame: Frame) -> bool:
    return frame.event == "output"


def is_done(frame: Frame) -> bool:
    return frame.event == "done"


async def publish_model(redis_url: str) -> None:
    async with driver(redis_url) as drive:
        await drive.publish(MODEL)


async def submit(http: httpx.AsyncClient, behaviour: str, **headers: str) -> httpx.Response:
    return await http.post("/jobs/inference", json={"model_id": MODEL, "input_data": behaviour}, headers=headers)


async def accepted(http: httpx.AsyncClient, behaviour: str) -> str:
    """-> the id of a job, once the gateway has accepted it. Until then, every response must be a 503 with
    Retry-After."""
    while True:
        reply = await submit(http, behaviour)
        if reply.status_code == 202:
            return str(reply.json()["job_id"])
        assert_refused(reply)
        await anyio.sleep(0.1)


def assert_refused(reply: httpx.Response) -> None:
    assert reply.status_code == 503, reply.text
    assert (reply.json()["code"], reply.headers["retry-after"]) == ("backend_unavailable", "2")


def healthy(log: Path) -> list[dict[str, Any]]:
    """The lines of a log. Asserts that none of them is an error or a traceback."""
    lines: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines_of(log)]
    assert [line for line in lines if line["level"] in ("error", "critical") or "exception" in line] == []
    return lines


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)
    server.wait_until_ready()


@contextmanager
def loading(server: RedisServer) -> Iterator[None]:
    """Kill the server, and start it again with so much data that loading takes LOADING_S or more."""
    with _client(server) as client:
        client.mset({f"ballast:{i}": os.urandom(BALLAST_BYTES) for i in range(BALLAST_KEYS)})
        client.bgrewriteaof()
        # If a snapshot is being written, the rewrite waits for its end.
        while any(client.info("persistence")[f"aof_rewrite_{when}"] for when in ("in_progress", "scheduled")):
            time.sleep(0.01)
    server.kill()
    # While Redis loads, it serves its clients once for every two megabytes.
    delay = ("--key-load-delay", str(round(LOADING_S * 1e6 / BALLAST_KEYS)))
    slow = RedisServer(server.folder, options=delay)
    slow.start(wait=False)
    server.process = slow.process
    yield
    # On a busy machine it loads even more slowly.
    slow.wait_until_ready(deadline_s=4 * LOADING_S)


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    """Make the server a replica of an unreachable master: it answers reads and refuses every write."""
    with _client(server) as client, socket.socket() as nobody:
        # This socket is bound and does not listen, so every connection to it is refused.
        nobody.bind(("127.0.0.1", 0))
        client.replicaof("127.0.0.1", nobody.getsockname()[1])
        yield
        client.replicaof("NO", "ONE")


async def destroy_groups(redis: AsyncRedis) -> None:
    for stream in READY:
        try:
            await redis.xgroup_destroy(stream, GROUP)
        except ResponseError as error:
            # A stream that does not exist has no group either.
            assert "requires the key to exist" in str(error)  # noqa: PT017 - not what is tested


OUTAGES = {outage.__name__: outage for outage in (killed, stopped, loading, read_only)}


@contextmanager
def _client(server: RedisServer) -> Iterator[Any]:
    client = redis.Redis(unix_socket_path=str(server.socket), protocol=2, socket_timeout=3 * DEADLINE_S)
    try:
        yield client
    finally:
        client.close()
