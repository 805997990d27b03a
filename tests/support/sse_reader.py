"""A reader of event streams as light as a browser's, on a plain socket: many hundreds fit one process.

It follows as EventSource does: keeps whole events only, and after every cut goes on from the last one, on any of the
gateways it knows. It must not know what the events say.
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
    """The answer to one request, as it comes. body: what was not yet taken."""

    def __init__(self) -> None:
        self.status, self.body, self.is_complete = 0, b"", False
        self.headers: dict[str, str] = {}
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def events(self) -> list[bytes]:
        """Whole events; comments and the retry field are left out."""
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
    """events: each as it came. cut_after: after how many bytes of an answer this reader's line is cut; None: it is
    not. last_id: of the event after which it begins. lines: how many it opened. statuses: of the whole answers."""

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
        self.last_id, self.lines, self.statuses = last_id, 0, list[int]()
        self._grown = anyio.Event()

    @property
    def is_done(self) -> bool:
        return bool(self.events) and b"\nevent: done\n" in self.events[-1]

    async def follow(self) -> None:
        """Until `done`."""
        while not self.is_done:
            try:
                await self._read_one_line()
            except OSError:
                # An EventSource waits two seconds.
                await anyio.sleep(RETRY_S)

    async def has(self, n: int) -> None:
        while len(self.events) < n:
            self._grown = anyio.Event()
            await self._grown.wait()

    async def _read_one_line(self) -> None:
        port = self._rng.choice(self._ports())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.lines += 1
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
    """Close with RST, as a peer that has died does."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()


def as_sent(number: str, event: str, data: bytes) -> bytes:
    """One event as it must come."""
    return b"id: %b\nevent: %b\ndata: %b" % (number.encode(), event.encode(), data)
