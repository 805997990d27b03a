"""Random bytes of the system, many at a time: a call of it for each few costs as much as reading a submission. Knows
not what they are for."""

import os

_BLOCK_BYTES = 4096


class _Entropy:
    def __init__(self) -> None:
        self._block, self._used = b"", 0

    def take(self, n: int) -> bytes:
        if self._used + n > len(self._block):
            self._block, self._used = os.urandom(_BLOCK_BYTES), 0
        self._used += n
        return self._block[self._used - n : self._used]


random_bytes = _Entropy().take
