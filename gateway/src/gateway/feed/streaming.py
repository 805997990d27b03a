"""Event streams as ASGI: server-sent events and NDJSON. Writes frames; what they hold is decided elsewhere.

The format is that of the WHATWG HTML standard, section 9.2. Stored bytes pass through as they are, one line of JSON,
but for the characters that many readers take for the end of a line. A reader that takes nothing is cut off and can
resume; little is buffered for it beyond the socket.

An answer that is whole ends as such. One that is not, because the gateway stops or Redis is away, is cut: many clients
take a clean end for the end of everything, and say nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import anyio
import structlog
from shared_schemas.service.failpoints import failpoint
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway import metrics
from gateway.eager import run_until_blocked
from gateway.edge.extensions import HEAD_ONLY, TAKE_OVER, ResponseChannel, TakeOver
from gateway.edge.problems import RETRY_AFTER_S, ProblemError

B = TypeVar("B")

TOO_MANY = "too_many_streams"
KEEP_ALIVE = b": keep-alive\n\n"
STREAM_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
# The server waits for room before it takes a piece, however large, and not after.
PIECE_BYTES = 1 << 16
SSE = "text/event-stream"


class Closable(Protocol):
    def close(self) -> None: ...


class ReaderStream(Generic[B]):
    """What goes to one reader, whole chunks, one after the other; a Sink. encode: what a batch looks like to it.

    A server takes a chunk at once while its buffer for the reader has room, which is nearly always: so a chunk is sent
    without a task, by whoever has it. Only where the server makes it wait, a task of the line's own sends the rest, and
    drops the reader if it takes nothing of a piece for timeout_s.
    """

    __slots__ = ("_encode", "_has_comments", "_sending", "_timeout_s", "_wire")

    def __init__(
        self, wire: ResponseChannel, encode: Callable[[B], bytes], *, timeout_s: float, has_comments: bool
    ) -> None:
        self._wire, self._encode, self._timeout_s, self._has_comments = wire, encode, timeout_s, has_comments
        self._sending: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        return self._sending is not None

    def push(self, batch: B) -> None:
        self._push(self._encode(batch))

    def keep_alive(self) -> None:
        if self._has_comments:
            self._push(KEEP_ALIVE)

    async def flush(self) -> None:
        if self._sending is not None:
            await asyncio.wait([self._sending])

    async def end(self) -> None:
        await self.flush()
        self._push(b"", is_last=True)
        await self.flush()

    async def cut(self) -> None:
        await self.flush()
        if not self._wire.cut():
            await self.end()

    def abort(self) -> None:
        self._wire.abort()

    def _push(self, chunk: bytes, *, is_last: bool = False) -> None:
        sent = 0
        while sent < len(chunk) or sent == 0:
            # Most chunks are one piece.
            piece = chunk if len(chunk) <= PIECE_BYTES else chunk[sent : sent + PIECE_BYTES]
            rest = self._wire.write(piece, is_last=is_last)
            sent += PIECE_BYTES
            if rest is not None:
                self._sending = asyncio.create_task(self._finish(rest, chunk[sent:]))
                return
        failpoint("chunk_sent")

    async def _finish(self, rest: Awaitable[None] | None, left: bytes) -> None:
        try:
            while True:
                with anyio.move_on_after(self._timeout_s) as limit:
                    if rest is not None:
                        await rest
                if limit.cancelled_caught:
                    metrics.DROPPED.inc()
                    structlog.get_logger().warning("slow_reader_dropped", send_timeout_s=self._timeout_s)
                    self._wire.abort()
                    return
                if not left:
                    break
                piece, left = left[:PIECE_BYTES], left[PIECE_BYTES:]
                rest = self._wire.write(piece)
            failpoint("chunk_sent")
        except Exception:  # of the server's `send`, whose reader is gone or resumes: nothing else awaits this task
            structlog.get_logger().exception("stream_failed")
            self._wire.abort()
        finally:
            self._sending = None


class _AsgiChannel:
    """By ASGI alone, for a server that does not let go of an answer."""

    def __init__(self, send: Send, abort: Callable[[], None]) -> None:
        self._send, self.abort = send, abort

    def write(self, piece: bytes, *, is_last: bool = False) -> Awaitable[None] | None:
        return run_until_blocked(self._send({"type": "http.response.body", "body": piece, "more_body": not is_last}))

    def cut(self) -> bool:
        # A server takes an application that leaves an answer unfinished for broken, and says so in its log.
        return False


class StreamResponse(Response, Generic[B]):
    """opening: what comes first. follow: makes what is followed to the line that it is given, until it is closed."""

    def __init__(
        self,
        opening: bytes,
        encode: Callable[[B], bytes],
        follow: Callable[[ReaderStream[B]], Closable],
        *,
        media_type: str,
        send_timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._opening, self._follow = opening, follow
        self._line = partial(ReaderStream[B], encode=encode, timeout_s=send_timeout_s, has_comments=media_type == SSE)
        super().__init__(status_code=200, headers={**STREAM_HEADERS, **(headers or {})}, media_type=media_type)
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if HEAD_ONLY in scope:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await send({"type": "http.response.body", "body": self._opening, "more_body": True})
        take_over: TakeOver | None = scope.get("extensions", {}).get(TAKE_OVER)
        if take_over is None:
            await self._stay(scope, receive, send)
            return
        if (wire := take_over()) is not None:
            wire.when_over(_Open(self._follow(self._line(wire)), scope).close)

    async def _stay(self, scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as dropped:
            # A server closes what is left unfinished.
            line = self._line(_AsgiChannel(send, dropped.cancel))
            with closing(_Open(self._follow(line), scope)):
                # It is gone as well once it has all.
                while (await receive())["type"] != "http.disconnect":
                    pass


def check_open_streams(n: int) -> None:
    """ProblemError 503 where so many streams are open."""
    if _Open.n >= n:
        raise ProblemError(
            503, TOO_MANY, "as many event streams are open as may be", headers={"Retry-After": RETRY_AFTER_S}
        )


class Pause:
    """Followed by nothing: the line is cut at once, for its reader to come again."""

    def __init__(self, line: ReaderStream[Any]) -> None:
        self._task = asyncio.create_task(line.cut())

    def close(self) -> None:
        self._task.cancel()


class _Open:
    """An open stream, counted and logged."""

    __slots__ = ("_began", "_followed", "_request_id")
    n = 0

    def __init__(self, followed: Closable, scope: Scope) -> None:
        self._followed, self._request_id, self._began = followed, scope["state"]["request_id"], time.monotonic()
        metrics.STREAMS.inc()
        _Open.n += 1

    def close(self) -> None:
        self._followed.close()
        metrics.STREAMS.dec()
        _Open.n -= 1
        took_s = round(time.monotonic() - self._began, 3)
        structlog.get_logger().info("stream_closed", request_id=self._request_id, took_s=took_s)
