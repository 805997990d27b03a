"""Runs the gateway with a unix socket that says what it holds: tasks, connections, memory and so on.

    python -m tests.support.counted SOCKET

Each connection to the socket gets one JSON object, a `Holdings`, and is closed. No other gateway has such a socket.
"""

import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import msgspec
import psutil
from gateway.app import create_app
from gateway.edge.server import serve
from gateway.feed.hub import Hub
from gateway.settings import GatewaySettings
from gateway.wiring import Parts, build
from shared_schemas.service.logs import configure_logs
from shared_schemas.service.settings import from_environ
from starlette.types import Receive, Scope, Send

from tests.support.gateways import DEADLINE_S, Gateway


class Holdings(msgspec.Struct, frozen=True):
    """What a gateway process holds at one moment. channels: those that it wants, has asked for, or has confirmed.
    connections: open TCP connections."""

    tasks: int
    subscribers: int
    channels: int
    connections: int
    descriptors: int
    rss_mb: float

    def with_pool(self, n: int) -> "Holdings":
        """The same with n more connections to Redis. They stay open after they were used once."""
        return msgspec.structs.replace(self, descriptors=self.descriptors + n)


class CountedGateway(Gateway):
    def __init__(self, redis_url: str, folder: Path, **settings: object) -> None:
        self._socket = Path(tempfile.mkdtemp(prefix="hr-counted-")) / "counts.sock"
        super().__init__(
            redis_url, folder / "gateway.log", module=("tests.support.counted", str(self._socket)), **settings
        )

    async def holds(self) -> Holdings:
        async with await anyio.connect_unix(self._socket) as connection:
            text = b""
            async for chunk in connection:
                text += chunk
        return msgspec.json.decode(text, type=Holdings)

    async def until_it_holds(self, base: Holdings) -> Holdings:
        """Wait until the process holds no more than at `base`, apart from memory."""
        holds = await self.holds()
        with anyio.move_on_after(DEADLINE_S):
            while not _is_within(holds, base):
                await anyio.sleep(0.05)
                holds = await self.holds()
        assert _is_within(holds, base), (holds, base)
        return holds


@contextmanager
def counted_gateway(redis_url: str, folder: Path, **settings: object) -> Iterator[CountedGateway]:
    gateway = CountedGateway(redis_url, folder, **settings)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


def _is_within(holds: Holdings, base: Holdings) -> bool:
    names = ("tasks", "subscribers", "channels", "connections", "descriptors")
    return all(getattr(holds, name) <= getattr(base, name) for name in names)


class _Counted:
    """The application, and the socket while its lifespan lasts."""

    def __init__(self, parts: Parts, path: str) -> None:
        self._app, self._hub, self._path = create_app(parts), parts.services.hub, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        async with await asyncio.start_unix_server(self._answer, self._path):
            await self._app(scope, receive, send)

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(msgspec.json.encode(_count(self._hub)))
        await writer.drain()
        writer.close()


def _count(hub: Hub) -> Holdings:
    gc.collect()
    process = psutil.Process()
    subscribers = {subscriber for group in hub._subscribers.values() for subscriber in group}
    return Holdings(
        tasks=len(asyncio.all_tasks()),
        subscribers=len(subscribers),
        channels=len({*hub._subscribers, *hub._confirmed, *hub._requested}),
        connections=len([each for each in process.net_connections("tcp") if each.raddr]),
        descriptors=process.num_fds(),
        rss_mb=process.memory_info().rss / 1e6,
    )


def main() -> None:
    settings = from_environ(GatewaySettings, prefix="HEADRACE_", environ=os.environ)
    configure_logs(settings.log_format, with_libraries=True)
    parts = build(settings)
    serve(_Counted(parts, sys.argv[1]), settings, parts.services.observer)


if __name__ == "__main__":
    main()
