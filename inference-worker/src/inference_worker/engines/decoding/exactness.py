"""Tries which runs of a decoder give equal bits, so that a text does not depend on the texts beside it.

Runtimes have other kernels for one row than for several. So a few sequences are written at every number of rows that
may occur, and each row's logits and cache are compared with those beside other rows. A prompt is read as a whole and in
parts. It uses an empty cache and leaves it empty.
"""

import hashlib

import msgspec
import numpy as np

from inference_worker.engines.decoding.form import DecoderForm
from inference_worker.engines.decoding.memory import CacheMemory
from inference_worker.engines.decoding.runner import Runner
from inference_worker.engines.decoding.scheduler import BLOCK, next_part
from inference_worker.engines.decoding.sequence import Sequence, Taken
from inference_worker.engines.invariance import UNKNOWN, Invariance, RowSizes
from inference_worker.engines.session import Stop
from inference_worker.tensors import Array

# How many tokens follow whole blocks.
_RESTS = (0, 2, 3, 5, 8, 11, 15)
_LENGTHS = (19, 5, 33, 12, 8, 27, 2, 21)
# Padding a single row to more than this would cost more than it is worth.
_LARGEST_SMALLEST = 4


class Exactness(msgspec.Struct, frozen=True):
    """rows: the numbers of rows that give a row the same bits. parts: whether a prompt has the same bits however it is
    divided into parts of whole blocks."""

    rows: Invariance
    parts: bool


UNTRIED = Exactness(UNKNOWN, parts=False)


def tried(runner: Runner, memory: CacheMemory, form: DecoderForm, *, max_rows: int, context_length: int) -> Exactness:
    """memory: with more than max_rows slots. AttemptFailed if the model cannot be run."""
    random, stop = np.random.default_rng(0), Stop()
    lengths = [min(n, context_length - 1) for n in _LENGTHS]
    prompts = [random.integers(0, form.vocabulary, n).tolist() for n in lengths]
    for slot in range(max_rows):
        runner.read(slot, prompts[slot % len(prompts)], 0, stop)
    tokens = random.integers(0, form.vocabulary, len(prompts)).tolist()

    def written(n: int) -> list[bytes]:
        rows = [slot % len(prompts) for slot in range(n)]
        n_cached = [lengths[row] for row in rows]
        logits = runner.write([tokens[row] for row in rows], n_cached, stop)
        return [_digest(logits[slot], memory.tokens(slot, n_cached[slot], n_cached[slot] + 1)) for slot in range(n)]

    sizes = {n: written(n) for n in sorted({*range(1, 9), *range(12, max_rows, 4), max_rows}) if n <= max_rows}
    most = sizes[max_rows]
    agree = [n for n, rows in sizes.items() if rows == most[:n]]
    # The same text in another slot, beside other texts.
    places_agree = all(row == most[slot % len(prompts)] for slot, row in enumerate(most))
    smallest = next((n for n in sizes if all(size in agree for size in sizes if size >= n)), max_rows)
    is_exact = places_agree and smallest <= _LARGEST_SMALLEST
    for slot in range(max_rows):
        memory.clear(slot)
    parts = _parts_agree(runner, memory, form, min(7 * BLOCK + 5, context_length - 1))
    return Exactness(Invariance(RowSizes(smallest) if is_exact else None), parts)


def _parts_agree(runner: Runner, memory: CacheMemory, form: DecoderForm, longest: int) -> bool:
    prompt = np.random.default_rng(1).integers(0, form.vocabulary, longest).tolist()
    return all(
        len({_digest_of_parts(runner, memory, prompt[:n], size) for size in (n, BLOCK, 2 * BLOCK, 5 * BLOCK)}) == 1
        for n in sorted({*(2 * BLOCK + rest for rest in _RESTS if 2 * BLOCK + rest < longest), longest})
    )


def _digest_of_parts(runner: Runner, memory: CacheMemory, prompt: list[int], largest: int) -> bytes:
    """Of the logits and the cache, if a prompt is read in parts of at most `largest` tokens, or in whole."""
    sequence = Sequence(prompt, 1, _never)
    while not sequence.is_read:
        part = next_part(sequence, largest)
        logits = runner.read(0, prompt[part.start : part.end], part.start, Stop())
        sequence.n_cached = part.end
    digest = _digest(logits, memory.tokens(0, 0, len(prompt)))
    memory.clear(0)
    return digest


def _never(logits: Array, position: int) -> Taken:
    raise AssertionError("a trial takes no token")


def _digest(*arrays: Array) -> bytes:
    return hashlib.blake2b(b"".join(array.tobytes() for array in arrays), digest_size=16).digest()
