"""Keeps the cache of prompts, so that prompts with an equal beginning read it only once. Bounded; knows no model.

A beginning is kept in blocks of equal length. A block is found by all tokens up to its end, so two texts share exactly
the blocks in which they agree. Only what was read as a prompt is kept: a token that was written has other bits in the
cache than the same token read, so the text would depend on who wrote before.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from inference_worker.engines.decoding.scheduler import BLOCK

_Block = NDArray[np.generic]


class PrefixCache:
    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # The least recently used first; a block always before the blocks that follow it in no text.
        self._blocks: OrderedDict[bytes, _Block] = OrderedDict()
        self.n_bytes = 0
        self.n_tokens_reused = 0

    def find(self, tokens: Sequence[int]) -> list[_Block]:
        """The blocks of the longest beginning that is known, without the last two tokens: they must be read to know how
        the text goes on."""
        found, keys = list[_Block](), list[bytes]()
        for key in _keys(tokens[:-2]):
            if (block := self._blocks.get(key)) is None:
                break
            found.append(block)
            keys.append(key)
        self._touch(keys)
        self.n_tokens_reused += BLOCK * len(found)
        return found

    def missing(self, tokens: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """-> (first token, key) of each whole block that is not kept."""
        for n, key in enumerate(_keys(tokens)):
            if key not in self._blocks:
                yield n * BLOCK, key

    def keep(self, tokens: Sequence[int], blocks: Sequence[tuple[bytes, _Block]]) -> None:
        """tokens: of which the blocks are a part."""
        for key, block in blocks:
            if block.nbytes <= self._max_bytes and key not in self._blocks:
                self._blocks[key] = block
                self.n_bytes += block.nbytes
        self._touch([key for key in _keys(tokens) if key in self._blocks])
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= self._blocks.popitem(last=False)[1].nbytes

    def _touch(self, keys: list[bytes]) -> None:
        """The first block last: without it, the others are of no use."""
        for key in reversed(keys):
            self._blocks.move_to_end(key)


def _keys(tokens: Sequence[int]) -> Iterator[bytes]:
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        digest.update(np.array(tokens[start : start + BLOCK], np.int64).tobytes())
        yield digest.digest()
