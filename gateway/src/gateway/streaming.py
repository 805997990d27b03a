"""Event streams as ASGI: server-sent events and NDJSON. Writes frames; what they hold is decided elsewhere.

The format is that of the WHATWG HTML standard, section 9.2. Stored bytes pass through untouched: they are one line
of JSON. A reader that takes nothing is cut off and can resume; nothing is buffered for it beyond the socket.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

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
SSE, NDJSON, JSON = "text/event-stream", "application/x-ndjson", "application/json"


def sse_frame(cursor: str, event: str, data: bytes) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), event.encode(), data)


def with_job_id(job_id: str, data: bytes) -> bytes:
    """The event with its job named first, for streams of many jobs."""
    return b'{"job_id":"%b",%b' % (job_id.encode(), data[1:])


def with_queue(queue: str, data: bytes) -> bytes:
    """A gap in the log of one queue."""
    return b'{"queue":"%b",%b' % (queue.encode(), data[1:])


class StreamResponse(Response):
    """chunks: closed when the reader goes away or takes nothing for send_timeout_s."""

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        *,
        media_type: str,
        send_timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._chunks, self._send_timeout_s = chunks, send_timeout_s
        super().__init__(
            status_code=200,
            headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no", **(headers or {})},
            media_type=media_type,
        )
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with anyio.create_task_group() as group:

            async def watch_reader() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch_reader)
            if await self._write(send):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif abort := scope.get("extensions", {}).get(ABORT):
                abort["abort"]()
                await anyio.sleep(_ABORTED_S)
            group.cancel_scope.cancel()

    async def _write(self, send: Send) -> bool:
        """False if the reader was too slow."""
        async with aclosing(self._chunks) as chunks:
            while True:
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return True
                except BackendUnavailable as error:
                    # The answer has begun, so it can only end; the reader resumes from its last event.
                    structlog.get_logger().warning("stream_interrupted", error=str(error))
                    return True
                with anyio.move_on_after(self._send_timeout_s) as limit:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                reach("chunk_sent")
                if limit.cancelled_caught:
                    structlog.get_logger().warning("slow_reader_dropped", send_timeout_s=self._send_timeout_s)
                    return False
