"""Event streams as ASGI: server-sent events and NDJSON. Writes frames; what they hold is decided elsewhere.

The format is that of the WHATWG HTML standard, section 9.2. Stored bytes pass through untouched: they are one line
of JSON. A reader that takes nothing is cut off and can resume; little is buffered for it beyond the socket.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial

import anyio
import structlog
from shared_schemas.errors import BackendUnavailable
from shared_schemas.failpoints import reach
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

RETRY_MS = 2000
# The ASGI extension by which server.py lets a connection be aborted.
ABORT = "headrace.abort"
_ABORTED_S = 1.0
KEEP_ALIVE = b": keep-alive\n\n"
# The server waits for room before it takes a piece, however large, and not after.
PIECE_BYTES = 1 << 16
SSE, NDJSON, JSON = "text/event-stream", "application/x-ndjson", "application/json"


def sse_frame(cursor: str, event: str, data: bytes) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), event.encode(), data)


def with_job_id(job_id: str, data: bytes) -> bytes:
    """The event with its job named first, for streams of many jobs."""
    return b'{"job_id":"%b",%b' % (job_id.encode(), data[1:])


def with_queue(queue: str, data: bytes) -> bytes:
    """A gap in the log of one queue."""
    return b'{"queue":"%b",%b' % (queue.encode(), data[1:])


class ReaderStalled(Exception):
    """It took nothing for longer than it is waited for."""


class Line:
    """What goes to one reader: whole chunks, one after the other, and a comment where none has come for a while."""

    def __init__(self, send: Send, *, timeout_s: float) -> None:
        self._send, self._timeout_s = send, timeout_s
        self._lock = anyio.Lock(fast_acquire=True)
        self._sent_at = anyio.current_time()

    async def write(self, chunk: bytes) -> None:
        async with self._lock:
            for start in range(0, len(chunk), PIECE_BYTES):
                await self._message(chunk[start : start + PIECE_BYTES], more=True)
            self._sent_at = anyio.current_time()
        reach("chunk_sent")

    async def end(self) -> None:
        async with self._lock:
            await self._message(b"", more=False)

    async def keep_alive(self, *, every_s: float) -> None:
        """Whatever the next chunk waits for."""
        while True:
            wait_s = self._sent_at + every_s - anyio.current_time()
            if wait_s > 0:
                await anyio.sleep(wait_s)
            else:
                await self.write(KEEP_ALIVE)

    async def _message(self, body: bytes, *, more: bool) -> None:
        with anyio.move_on_after(self._timeout_s) as limit:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})
        if limit.cancelled_caught:
            raise ReaderStalled


class StreamResponse(Response):
    """chunks: closed when the reader goes away or takes nothing for send_timeout_s. keep_alive_s: a comment is sent
    after so long a silence, where the format has comments."""

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        *,
        media_type: str,
        send_timeout_s: float,
        keep_alive_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._chunks, self._send_timeout_s, self._keep_alive_s = chunks, send_timeout_s, keep_alive_s
        super().__init__(
            status_code=200,
            headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no", **(headers or {})},
            media_type=media_type,
        )
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        line = Line(send, timeout_s=self._send_timeout_s)
        try:
            async with anyio.create_task_group() as group:

                async def watch_reader() -> None:
                    await _gone(receive)
                    group.cancel_scope.cancel()

                group.start_soon(watch_reader)
                if self.media_type == SSE:
                    group.start_soon(partial(line.keep_alive, every_s=self._keep_alive_s))
                await self._write(line)
                group.cancel_scope.cancel()
        except* ReaderStalled:
            structlog.get_logger().warning("slow_reader_dropped", send_timeout_s=self._send_timeout_s)
            if abort := scope.get("extensions", {}).get(ABORT):
                abort["abort"]()
                with anyio.move_on_after(_ABORTED_S):
                    await _gone(receive)

    async def _write(self, line: Line) -> None:
        async with aclosing(self._chunks) as chunks:
            try:
                async for chunk in chunks:
                    await line.write(chunk)
            except BackendUnavailable as error:
                # The answer has begun, so it can only end; the reader resumes from its last event.
                structlog.get_logger().warning("stream_interrupted", error=str(error))
            await line.end()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
