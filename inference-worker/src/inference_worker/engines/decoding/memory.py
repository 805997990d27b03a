"""The memory of a cache: one slot for each sequence, long enough for the longest text.

The slots of one part of the cache lie side by side, so a run of the slots 0 to n takes them where they are: nothing is
copied when a sequence joins, and nothing when one step follows another. The operating system gives a page of memory
only once it is written to. So a slot takes up what its sequence has filled, and not what it may fill.
"""

import mmap
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from shared_schemas.errors import AttemptFailed

from inference_worker.engines.decoding.form import DecoderForm
from inference_worker.engines.decoding.scheduler import Move

# From Linux's mman.h; Python has names for them only from 3.13 on.
_NORESERVE = 0x4000
_LENGTH_STEP = 1024


class CacheMemory:
    """length: of a slot, in tokens: at least as many as were asked for, so that every slot begins at a page."""

    def __init__(self, form: DecoderForm, *, slots: int, length: int) -> None:
        """AttemptFailed model_too_large if the system gives no such room."""
        self.form, self.length = form, -(-length // _LENGTH_STEP) * _LENGTH_STEP
        shape = (2 * form.layers, slots, form.kv_heads, self.length, form.head_size)
        n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(form.dtype).itemsize
        try:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            self._map = mmap.mmap(-1, n_bytes, flags=flags)
        except (OSError, OverflowError) as error:
            raise AttemptFailed("model_too_large", "there is no room for the cache of this model") from error
        # A huge page would be filled with zeros for the sake of a few tokens.
        self._map.madvise(mmap.MADV_NOHUGEPAGE)
        self._arrays = np.frombuffer(self._map, dtype=form.dtype).reshape(shape)
        self._slot_bytes = self._arrays[0, 0].nbytes

    def address(self, part: int, slot: int) -> int:
        """part: of the cache, as in DecoderForm.names."""
        return int(self._arrays[part, slot].ctypes.data)

    def shape(self, rows: int) -> tuple[int, int, int, int]:
        return (rows, self.form.kv_heads, self.length, self.form.head_size)

    def move(self, move: Move) -> None:
        """Copy the tokens, and give the memory of the source back."""
        self._arrays[:, move.target, :, : move.n_tokens] = self._arrays[:, move.source, :, : move.n_tokens]
        self.clear(move.source)

    def clear(self, slot: int) -> None:
        """Give the memory of a slot back."""
        for part in range(len(self._arrays)):
            offset = (part * self._arrays.shape[1] + slot) * self._slot_bytes
            self._map.madvise(mmap.MADV_DONTNEED, offset, self._slot_bytes)

    def tokens(self, slot: int, start: int, end: int) -> NDArray[np.generic]:
        """A copy of a part of a slot, [parts, heads, tokens, head size]."""
        return np.array(self._arrays[:, slot, :, start:end])

    def fill(self, slot: int, blocks: Iterable[NDArray[np.generic]]) -> None:
        """Put copies of tokens at the beginning of a slot, one after the other."""
        start = 0
        for block in blocks:
            self._arrays[:, slot, :, start : start + block.shape[2]] = block
            start += block.shape[2]
