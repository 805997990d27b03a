"""An event stream as an ASGI response. Knows neither what it carries nor how a reader's buffer
fills.

Where the server offers to take over a response that has begun, the stream outlives the call of the
application and holds no task. With any other server the call lasts as long as the stream.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.eager import run_until_blocked
from gateway.edge.extensions import HEAD_ONLY, TAKE_OVER, TakeOver
from gateway.feed.open_streams import Closable, OpenStream
from gateway.feed.reader_stream import ReaderStream
from gateway.instrument import GatewayObserver

B = TypeVar("B")

# Server-sent events: the WHATWG HTML standard, section 9.2. A line that begins with a colon is a
# comment.
SSE = "text/event-stream"
_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


class StreamResponse(Response, Generic[B]):
    """opening: the first bytes of the body. follow: called with the open stream; begins to send
    what is followed, and stops when its result is closed. held: closed also if nothing is ever
    followed, because the reader has left."""

    def __init__(
        self,
        opening: bytes,
        encode: Callable[[B], bytes],
        follow: Callable[[ReaderStream[B]], Closable],
        observer: GatewayObserver,
        *,
        media_type: str,
        send_timeout_s: float,
        headers: Mapping[str, str] | None = None,
        held: Closable | None = None,
    ) -> None:
        self._held = held
        self._opening, self._follow, self._observer = opening, follow, observer
        keep_alive = _KEEP_ALIVE if media_type == SSE else b""
        self._stream_to = partial(
            ReaderStream[B], encode=encode, observer=observer, timeout_s=send_timeout_s, keep_alive=keep_alive
        )
        super().__init__(status_code=200, headers={**_HEADERS, **(headers or {})}, media_type=media_type)
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            if self._held is not None:
                self._held.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if HEAD_ONLY in scope:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await send({"type": "http.response.body", "body": self._opening, "more_body": True})
        take_over: TakeOver | None = scope.get("extensions", {}).get(TAKE_OVER)
        if take_over is None:
            await self._send_until_disconnect(scope, receive, send)
            return
        if (writer := take_over()) is not None:
            writer.when_over(OpenStream(self._follow(self._stream_to(writer)), scope, self._observer).close)

    async def _send_until_disconnect(self, scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as dropped:
            # When this call returns early, the server closes the connection.
            stream = self._stream_to(_AsgiWriter(send, dropped.cancel))
            with closing(OpenStream(self._follow(stream), scope, self._observer)):
                # The server sends this as well once the response is complete.
                while (await receive())["type"] != "http.disconnect":
                    pass


class CutAtOnce:
    """Follows nothing: cuts the stream at once, so that its reader reconnects."""

    def __init__(self, stream: ReaderStream[Any]) -> None:
        self._task = asyncio.create_task(stream.cut())

    def close(self) -> None:
        self._task.cancel()


class _AsgiWriter:
    """A ResponseWriter that uses ASGI alone, for a server that does not let go of a response."""

    def __init__(self, send: Send, abort: Callable[[], None]) -> None:
        self._send, self.abort = send, abort

    def write(self, piece: bytes, *, is_last: bool = False) -> Awaitable[None] | None:
        return run_until_blocked(self._send({"type": "http.response.body", "body": piece, "more_body": not is_last}))

    def cut(self) -> bool:
        # A server takes an application that leaves a response unfinished for broken, and says so in
        # its log.
        return False
