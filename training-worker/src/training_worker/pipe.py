"""The supervisor's end of the pipe that a child writes its messages to. Knows frames, not messages.

After a read it pauses for a moment and then takes all messages that have arrived. Waking up for
each event of a fast training would cost many times more than handling it.
"""

import os
from collections.abc import AsyncIterator

import anyio

from training_worker.messages import HEADER_BYTES, body_length

# The pause after a read. Readers of a training job do not notice this delay.
GATHER_S = 0.05
_READ_BYTES = 1 << 18


class Pipe:
    """writing: the child's end. Close it in this process once the child has it, or the pipe never
    ends."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._rest = b""

    def close_writing(self) -> None:
        os.close(self.writing)

    def close(self) -> None:
        os.close(self._reading)

    async def frames(self) -> AsyncIterator[list[bytes]]:
        """The messages that have arrived, still encoded, until the pipe ends. A frame that was cut
        off at the end is left out. ValueError for a frame that no child would send."""
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
