"""A reverse proxy that buffers responses as nginx does: it passes on 4 KB at a time, unless a
header forbids that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

BUFFER_BYTES = 4096


@asynccontextmanager
async def buffering_proxy(port: int, *, obeys: bool = True) -> AsyncIterator[int]:
    """-> the port to connect to. obeys: whether the proxy follows X-Accel-Buffering."""

    async def serve(near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection("127.0.0.1", port)
        try:
            to_far.write(await near.readuntil(b"\r\n\r\n"))
            head = await far.readuntil(b"\r\n\r\n")
            at_once = obeys and b"\r\nx-accel-buffering: no\r\n" in head.lower()
            held = head
            while data := await far.read(BUFFER_BYTES):
                held += data
                if at_once or len(held) >= BUFFER_BYTES:
                    to_near.write(held)
                    held = b""
            to_near.write(held)
        finally:
            for writer in (to_far, to_near):
                writer.close()

    async def quietly(near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            await serve(near, to_near)

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
