"""The reading end of the pipe that a child writes its frames to. Knows frames, not what is in them.

It is not read at each write of the child: what comes within a moment is taken together, since to be woken for every
event of a fast training costs many times what is done with it.
"""

import os
from collections.abc import AsyncIterator

import anyio

from training_worker.messages import HEADER_BYTES, body_length

# Of waiting for more; nobody who follows a training notices it.
GATHER_S = 0.05
_READ_BYTES = 1 << 18


class Pipe:
    """writing: the end for the child, to be closed here once it has it."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._rest = b""

    def close_writing(self) -> None:
        os.close(self.writing)

    def close(self) -> None:
        os.close(self._reading)

    async def frames(self) -> AsyncIterator[list[bytes]]:
        """Bodies, as many as have come, until the pipe ends. ValueError for what no child of ours would send."""
        while data := await self._read():
            yield self._bodies(self._rest + data)
            if len(data) < _READ_BYTES:
                await anyio.sleep(GATHER_S)

    async def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._reading, _READ_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self._reading)

    def _bodies(self, data: bytes) -> list[bytes]:
        bodies, begin = [], 0
        while len(data) - begin >= HEADER_BYTES:
            end = begin + HEADER_BYTES + body_length(data[begin : begin + HEADER_BYTES])
            if end > len(data):
                break
            bodies.append(data[begin + HEADER_BYTES : end])
            begin = end
        self._rest = data[begin:]
        return bodies
