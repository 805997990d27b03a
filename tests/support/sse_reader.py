"""A reader of event streams on a plain socket, so light that one process can have many hundreds.

It follows a stream as EventSource does. It keeps only complete events, and after every cut it continues behind the last
one, on any of the gateways that it knows. It must not know what the events mean.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Sequence

import anyio
import httptools

RETRY_S = 0.05
_RST = struct.pack("ii", 1, 0)


class Answer:
    """The response to one request, as it arrives. body: the bytes that `events` has not returned yet."""

    def __init__(self) -> None:
        self.status, self.body, self.is_complete = 0, b"", False
        self.headers: dict[str, str] = {}
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def events(self) -> list[bytes]:
        """The complete events that have arrived since the last call, without comments and the retry field."""
        *blocks, self.body = self.body.split(b"\n\n")
        return [block for block in blocks if block.startswith(b"id: ")]

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_complete = True


class SseReader:
    """events: the bytes of each event. cut_after: after how many bytes of a response this reader cuts its connection;
    None: never. last_id: the id of the event after which it starts. n_connections: how many it opened. statuses: those
    of the complete responses."""

    def __init__(
        self,
        path: str,
        ports: Callable[[], Sequence[int]],
        *,
        cut_after: Callable[[], int | None] = lambda: None,
        rng: random.Random | None = None,
        last_id: str = "",
    ) -> None:
        self._path, self._ports, self._cut_after = path, ports, cut_after
        self._rng = rng or random.Random(0)
        self.events: list[bytes] = []
        self.last_id, self.n_connections, self.statuses = last_id, 0, list[int]()
        self._grown = anyio.Event()

    @property
    def is_done(self) -> bool:
        return bool(self.events) and b"\nevent: done\n" in self.events[-1]

    async def follow(self) -> None:
        """Follow until `done`."""
        while not self.is_done:
            try:
                await self._read_one_response()
            except OSError:
                # A real EventSource waits for two seconds.
                await anyio.sleep(RETRY_S)

    async def has(self, n: int) -> None:
        while len(self.events) < n:
            self._grown = anyio.Event()
            await self._grown.wait()

    async def _read_one_response(self) -> None:
        port = self._rng.choice(self._ports())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.n_connections += 1
        try:
            writer.write(request(self._path, last_id=self.last_id))
            left, answer = self._cut_after(), Answer()
            while not answer.is_complete:
                data = await reader.read(65536 if left is None else min(left, 65536))
                if not data:
                    raise ConnectionResetError
                answer.feed(data)
                self._take(answer)
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        reset(writer)
                        return
            self.statuses.append(answer.status)
            if answer.status != 200 or not self.is_done:
                raise ConnectionResetError
        finally:
            writer.transport.abort()

    def _take(self, answer: Answer) -> None:
        if answer.status != 200:
            return
        for event in answer.events():
            assert not self.is_done, event
            self.events.append(event)
            self.last_id = event[len(b"id: ") : event.index(b"\n")].decode()
            self._grown.set()


def request(path: str, *, accept: str = "text/event-stream", last_id: str = "", close: bool = False) -> bytes:
    fields = {"Host": "localhost", "Accept": accept}
    if last_id:
        fields["Last-Event-ID"] = last_id
    if close:
        fields["Connection"] = "close"
    return "\r\n".join([f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]).encode()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as when the peer has died."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()


def as_sent(number: str, event: str, data: bytes) -> bytes:
    """The bytes of one event as the gateway must send them."""
    return b"id: %b\nevent: %b\ndata: %b" % (number.encode(), event.encode(), data)
