"""Random bytes, taken from the system in large blocks: a system call for every few bytes would cost
as much as decoding a submission. Does not know what the bytes are for."""

import os

_BLOCK_BYTES = 4096


class _RandomPool:
    def __init__(self) -> None:
        self._block, self._used = b"", 0

    def take(self, n: int) -> bytes:
        if self._used + n > len(self._block):
            self._block, self._used = os.urandom(_BLOCK_BYTES), 0
        self._used += n
        return self._block[self._used - n : self._used]


random_bytes = _RandomPool().take
