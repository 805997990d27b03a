"""A TCP proxy on loopback that does to the connections through it what a bad network does.

It runs on an event loop and a thread of its own. So sync and async tests can both drive it, and a test that blocks its
own loop does not block the network. In front of Redis the proxy parses commands and replies. In front of anything else
it only moves bytes. It must not know what the connections are used for.

    with fault_proxy(redis_url) as proxy:
        dropped = proxy.drop_reply("settle", containing=job_id)
        …                                       # a client of proxy.url
        await dropped.happened()
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import TypeVar
from urllib.parse import urlsplit

from tests.support.network import Choice, Conditions, Network, Sighting, Watch, every
from tests.support.proxied_connection import CHUNK, ProxiedConnection

_T = TypeVar("_T")


class Greeting(Enum):
    """What happens to a new connection."""

    SERVE = "it is passed on"
    REFUSE = "it is reset at once"
    IGNORE = "it is accepted and never answered"


class FaultProxy:
    """opened: counts each new connection, whatever happens to it. cuts: for each connection in turn, after how many
    bytes from the target it is closed; None, or no number left: never. seed: of jitter and resets."""

    def __init__(self, target: str, *, cuts: Sequence[int | None] = (), seed: int = 0) -> None:
        self._target, self._cuts, self._network = urlsplit(target), list(cuts), Network(seed=seed)
        self._is_redis = self._target.scheme in ("redis", "unix")
        self._greeting = Greeting.SERVE
        self._open: set[ProxiedConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.opened = Sighting()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    @property
    def url(self) -> str:
        scheme = "redis" if self._is_redis else self._target.scheme
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def url_for(self, client: str) -> str:
        """For a Redis client that the proxy will know by this name."""
        return f"{self.url}?client_name={client}"

    @property
    def n_opened(self) -> int:
        """How many connections were opened so far."""
        return self.opened.count

    async def has_at_most(self, n: int, *, deadline_s: float = 10.0) -> None:
        """Return when at most n connections are open. TimeoutError."""
        # The proxy learns late that a client has closed a connection, and nothing announces it.
        async with asyncio.timeout(deadline_s):
            while len(self.open_connections) > n:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)

    @property
    def open_connections(self) -> list[ProxiedConnection]:
        return self._do(lambda: sorted(self._open, key=lambda connection: connection.number))

    def impose(self, conditions: Conditions, *, on: Choice = every) -> None:
        """From now on, for the open and new connections that `on` chooses, in place of earlier conditions."""
        self._do(lambda: self._network.rules.insert(0, (on, conditions)))

    def heal(self) -> None:
        """Take back all conditions. Bytes that were held arrive."""
        self._do(self._network.rules.clear)

    def greet(self, greeting: Greeting) -> None:
        """Set what happens to connections that are opened from now on."""

        def change() -> None:
            self._greeting = greeting

        self._do(change)

    def lead_to(self, target: str) -> None:
        """Lead connections that are opened from now on to another target."""

        def change() -> None:
            self._target = urlsplit(target)

        self._do(change)

    def cut(self, *, on: Choice = every, reset: bool = True) -> int:
        """Cut open connections at both ends, by RST or else by FIN. -> how many."""

        def cut() -> int:
            chosen = [connection for connection in self._open if on(connection)]
            for connection in chosen:
                connection.cut(reset=reset)
            return len(chosen)

        return self._do(cut)

    def watch(self, command: str, *, containing: str = "", on: Choice = every) -> Sighting:
        """Count the commands of this name (resp.name_of). containing: a text that must be in the command."""
        watch = Watch(command, containing=containing, on=on)
        self._do(lambda: self._network.passing.append(watch))
        return watch.sighting

    def drop_reply(self, command: str, *, containing: str = "", on: Choice = every, times: int = 1) -> Sighting:
        """Let the command be executed, then reset the connection in place of its reply, unless the reply is an error.
        containing: a text that must be in the command or in its reply."""
        watch = Watch(command, containing=containing, on=on, times=times)
        self._do(lambda: self._network.dropping.append(watch))
        return watch.sighting

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, change: Callable[[], _T]) -> _T:
        """Run `change` on the proxy's loop, and wait for its end."""

        async def run() -> _T:
            result = change()
            self._network.notify()
            # A socket that was aborted is closed in the next turn of the loop.
            await asyncio.sleep(0)
            return result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, sock=self._listener, limit=CHUNK)

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.n_opened
        cut_after = self._cuts[number] if number < len(self._cuts) else None
        connection = ProxiedConnection(self._network, number, writer, is_redis=self._is_redis, cut_after=cut_after)
        self.opened.tell()
        if self._greeting is Greeting.REFUSE:
            connection.cut(reset=True)
            return
        self._open.add(connection)
        task = self._loop.create_task(self._serve(connection, reader))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: ProxiedConnection, reader: asyncio.StreamReader) -> None:
        try:
            if self._greeting is Greeting.IGNORE:
                await asyncio.Event().wait()
            await connection.serve(reader, await self._connect())
            connection.cut(reset=False)
        except (OSError, asyncio.CancelledError):
            connection.cut(reset=True)
        finally:
            self._open.discard(connection)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(self._target.path, limit=CHUNK)
        return await asyncio.open_connection(self._target.hostname, self._target.port, limit=CHUNK)


@contextmanager
def fault_proxy(target: str, *, cuts: Sequence[int | None] = (), seed: int = 0) -> Iterator[FaultProxy]:
    """target: the URL of a Redis (redis://, unix://) or of an HTTP server."""
    proxy = FaultProxy(target, cuts=cuts, seed=seed)
    try:
        yield proxy
    finally:
        proxy.close()
