"""HTTP clients that use little CPU time, so that they do not limit what is measured. They know
neither jobs nor contestants."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple, cast

_HEAD_END = b"\r\n\r\n"


class Poster(asyncio.Protocol):
    """A connection that sends a request, waits for the response, and sends the next, until
    `requests` ends."""

    def __init__(
        self,
        requests: Callable[[], bytes | None],
        took: list[float],
        expected: bytes,
        is_right: Callable[[bytes], bool] = lambda _: True,
        first: list[float] | None = None,
    ) -> None:
        """expected: how each response begins. is_right: looks at each body. first: gets the time of
        the connection's first request instead of `took`."""
        self._requests, self._expected, self._is_right = requests, expected, is_right
        self._took, self._took_next = took if first is None else first, took
        self._left, self._sent_at = b"", 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._left += data
        head, end, body = self._left.partition(_HEAD_END)
        if not end:
            return
        if not head.startswith(self._expected):
            self.ended.set_exception(RuntimeError(f"answered {self._left[:400]!r}"))
            self._transport.abort()
            return
        if not _is_whole(head.lower(), body):
            return
        self._took.append(time.perf_counter() - self._sent_at)
        self._took = self._took_next
        if not self._is_right(body):
            self.ended.set_exception(RuntimeError(f"answered {body[-400:]!r}"))
            self._transport.abort()
            return
        self._left = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionResetError("the connection was closed"))

    def _send(self) -> None:
        request = self._requests()
        if request is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


class _PacedPoster(Poster):
    """A connection that sends a request when one is due. due: when each was to be sent, of those
    that found no free connection."""

    def __init__(
        self,
        request: bytes,
        free: "deque[_PacedPoster]",
        due: deque[float],
        took: list[float],
        is_right: Callable[[bytes], bool],
    ) -> None:
        super().__init__(lambda: None, took, b"HTTP/1.1 200", is_right)
        self._request, self._free, self._due = request, free, due

    def send(self, due_at: float) -> None:
        """Its latency counts from when it was due."""
        self._sent_at = due_at
        self._transport.write(self._request)

    def close(self) -> None:
        self.ended.set_result(None)
        self._transport.close()

    def _send(self) -> None:
        if self._due:
            self.send(self._due.popleft())
        else:
            self._free.append(self)


def _is_whole(head: bytes, body: bytes) -> bool:
    """Whether all of a body has come. head: in lower case."""
    if b"\r\ntransfer-encoding: chunked" in head:
        return body.endswith(b"\r\n0\r\n\r\n")
    return len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])


async def post(port: int, request: bytes, *, n: int, connections: int, expected: bytes) -> tuple[float, list[float]]:
    """Send the request n times over so many connections. expected: how each response begins;
    RuntimeError for any other. -> (seconds for all, seconds for each)"""
    numbers, took = count(), list[float]()

    def requests() -> bytes | None:
        return request if next(numbers) < n else None

    return await _posted(port, lambda: Poster(requests, took, expected), connections), took


class Posted(NamedTuple):
    """s: for all. each_s, first_s: for each request, and for the first one of each connection,
    which waits until the server has accepted the connection."""

    s: float
    each_s: Sequence[float]
    first_s: Sequence[float] = ()


async def post_for(
    port: int, request: bytes, *, seconds: float, connections: int, is_right: Callable[[bytes], bool]
) -> Posted:
    """Send the request again and again over so many connections, until so many seconds have passed,
    and await the last responses. Each must have the status 200 and a body that is right."""
    took, first, end = list[float](), list[float](), time.perf_counter() + seconds

    def requests() -> bytes | None:
        return request if time.perf_counter() < end else None

    def poster() -> Poster:
        return Poster(requests, took, b"HTTP/1.1 200", is_right, first)

    return Posted(await _posted(port, poster, connections), took, first)


async def post_at_rate(
    port: int, request: bytes, *, per_s: float, seconds: float, connections: int, is_right: Callable[[bytes], bool]
) -> Posted:
    """As post_for, but the requests come at random times, so many per second on average, whether or
    not the last ones have been answered."""
    free, due, took = deque[_PacedPoster](), deque[float](), list[float]()
    loop, gaps = asyncio.get_running_loop(), random.Random(17)  # noqa: S311 - not a secret
    posters = [
        (await loop.create_connection(lambda: _PacedPoster(request, free, due, took, is_right), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    began = next_at = time.perf_counter()
    n = 0
    while next_at < began + seconds:
        while next_at <= time.perf_counter():
            if free:
                free.popleft().send(next_at)
            else:
                due.append(next_at)
            n, next_at = n + 1, next_at + gaps.expovariate(per_s)
        await asyncio.sleep(max(0.0, next_at - time.perf_counter()))
    while len(took) < n:
        if failed := [poster.ended for poster in posters if poster.ended.done()]:
            await failed[0]
        await asyncio.sleep(0.001)
    for poster in posters:
        poster.close()
    return Posted(time.perf_counter() - began, took)


async def _posted(port: int, poster: Callable[[], Poster], connections: int) -> float:
    loop, began = asyncio.get_running_loop(), time.perf_counter()
    protocols = [(await loop.create_connection(poster, "127.0.0.1", port))[1] for _ in range(connections)]
    await asyncio.gather(*(protocol.ended for protocol in protocols))
    return time.perf_counter() - began


class Listener(asyncio.Protocol):
    """An event stream. Each event must contain, behind `mark`, the time at which it was made, in ns
    of CLOCK_MONOTONIC."""

    mark = b'"chunk":"'

    def __init__(self, request: bytes, arrivals: "Arrivals") -> None:
        self._request, self._arrivals = request, arrivals
        self._left, self._is_open = b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._left:
            data = self._left + data
        *events, self._left = data.split(b"\n\n")
        now = time.monotonic_ns()
        for event in events:
            _, found, rest = event.partition(self.mark)
            if found:
                self._arrivals.add(now - int(rest[: rest.index(b'"')]))
        if not self._is_open:
            assert data.startswith(b"HTTP/1.1 200"), data[:400]
            self._is_open = True
            self._arrivals.opened()

    def connection_lost(self, _: Exception | None) -> None:
        self._arrivals.lost()


class Arrivals:
    """The deliveries to all listeners: how many, and their delays in ms."""

    def __init__(self) -> None:
        self.n, self.n_open = 0, 0
        self.delays_ms: list[float] = []
        self._awaited: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def add(self, delay_ns: int) -> None:
        self.n += 1
        self.delays_ms.append(delay_ns / 1e6)
        self._look()

    def opened(self) -> None:
        self.n_open += 1
        self._look()

    def lost(self) -> None:
        for _, future in self._awaited:
            if not future.done():
                future.set_exception(RuntimeError("a reader was cut off"))

    async def until(self, condition: Callable[[], bool], *, timeout_s: float) -> None:
        if not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._awaited.append((condition, future))
            async with asyncio.timeout(timeout_s):
                await future

    def _look(self) -> None:
        for condition, future in self._awaited:
            if not future.done() and condition():
                future.set_result(None)
        self._awaited = [each for each in self._awaited if not each[1].done()]


async def listen(port: int, requests: Sequence[bytes], arrivals: Arrivals) -> list[Listener]:
    """Open one listener for each request. Returns when all are open."""
    loop, listeners = asyncio.get_running_loop(), []
    for start in range(0, len(requests), 100):
        for request in requests[start : start + 100]:
            _, listener = await loop.create_connection(lambda r=request: Listener(r, arrivals), "127.0.0.1", port)  # type: ignore[misc]
            listeners.append(listener)
        await arrivals.until(lambda: arrivals.n_open == len(listeners), timeout_s=60)
    return listeners
