"""Decides which sequences run in the next step. Pure: it knows no model, no memory, no clock and no thread.

A step reads some tokens of prompts, and then writes one token of each text whose prompt is read. So a text joins and
leaves between any two steps. A sequence is admitted only if all the cache that it may ever need is free. Thus no
sequence has to give its cache up half-way. What does not fit waits, and nothing overtakes it that is served later.
"""

import bisect
from typing import NamedTuple

from inference_worker.engines.decoding.sequence import Sequence

# Prompts are read in parts that begin at multiples of this, counted from the prompt's first token.
BLOCK = 16


class Part(NamedTuple):
    """The tokens of a prompt from `start` to before `end`."""

    sequence: Sequence
    start: int
    end: int


class Step(NamedTuple):
    """read: in this order. write: the sequences of slot 0, 1, 2 and so on."""

    read: list[Part]
    write: list[Sequence]


class Move(NamedTuple):
    """The cache of a sequence has to move: n_tokens of it."""

    source: int
    target: int
    n_tokens: int


class Scheduler:
    """Sequences that write have the slots 0, 1, 2 …, without a gap, because the model runs rows that lie side by side.
    Those whose prompt is being read have the slots from `first_reading_slot` on."""

    def __init__(self, *, max_rows: int, max_reading: int, first_reading_slot: int, capacity: int) -> None:
        """capacity: of the cache, in tokens."""
        self._max_rows, self._capacity = max_rows, capacity
        self._free_slots = list(range(first_reading_slot, first_reading_slot + max_reading))
        self._waiting: list[Sequence] = []
        self._reading: list[Sequence] = []
        self._writing: list[Sequence] = []

    @property
    def n_reserved(self) -> int:
        """How many tokens of cache the admitted sequences may take up."""
        return sum(each.need for each in self.admitted)

    @property
    def admitted(self) -> list[Sequence]:
        return [*self._reading, *self._writing]

    @property
    def waiting(self) -> list[Sequence]:
        return list(self._waiting)

    @property
    def is_idle(self) -> bool:
        return not (self._waiting or self._reading or self._writing)

    def fits(self, sequence: Sequence) -> bool:
        """Whether it could ever be admitted."""
        return sequence.need <= self._capacity

    def add(self, sequence: Sequence) -> None:
        if not self.fits(sequence):
            raise ValueError("the sequence needs more cache than there is")
        bisect.insort(self._waiting, sequence, key=lambda each: each.order)

    def admit(self) -> list[Sequence]:
        """-> those that may run from now on, with a slot. Nothing of them is cached yet."""
        admitted = list[Sequence]()
        while self._waiting and self._has_room_for(self._waiting[0]):
            sequence = self._waiting.pop(0)
            sequence.slot = self._free_slots.pop()
            bisect.insort(self._reading, sequence, key=lambda each: each.order)
            admitted.append(sequence)
        return admitted

    def step(self, *, budget: int, largest_part: int) -> Step:
        """budget: how many tokens of prompts to read while texts wait for their next token; at least one block is read,
        and a single token more where it would be left over. largest_part: the most tokens that may be read at once;
        both in whole blocks."""
        read, left = list[Part](), budget
        for sequence in self._reading:
            if left < BLOCK and read:
                break
            # The first prompt of all delays nobody.
            delays_nobody = not self._writing and not read
            part = next_part(sequence, largest_part if delays_nobody else max(BLOCK, min(left, largest_part)))
            read.append(part)
            left -= part.end - part.start
        return Step(read, list(self._writing))

    def join(self, sequence: Sequence) -> Move:
        """Its prompt is read, and it writes from the next step on."""
        self._reading.remove(sequence)
        self._free_slots.append(sequence.slot)
        move = Move(sequence.slot, len(self._writing), sequence.n_cached)
        sequence.slot = move.target
        self._writing.append(sequence)
        return move

    def remove(self, sequence: Sequence) -> Move | None:
        """It has ended or was cancelled, in whatever state it is. -> what moves into its place. The last slot that
        writes, or its own if it was reading, is free from then on."""
        if sequence in self._waiting:
            self._waiting.remove(sequence)
            return None
        if sequence in self._reading:
            self._reading.remove(sequence)
            self._free_slots.append(sequence.slot)
            return None
        last = self._writing.pop()
        if last is sequence:
            return None
        move = Move(last.slot, sequence.slot, last.n_cached)
        self._writing[sequence.slot], last.slot = last, sequence.slot
        return move

    def _has_room_for(self, sequence: Sequence) -> bool:
        admitted = self.admitted
        if any(each.is_alone for each in admitted) or (sequence.is_alone and admitted):
            return False
        has_row = len(admitted) < self._max_rows and bool(self._free_slots)
        return has_row and self.n_reserved + sequence.need <= self._capacity


def next_part(sequence: Sequence, largest: int) -> Part:
    """The part ends at the end of a block, or at the end of the prompt. It never leaves a single token over, because
    runtimes read one token with other kernels than several. ONNX Runtime 1.31 also reads a token in two ways if it
    follows whole blocks in the same run: it depends on whether they are even in number. So if a prompt ends with such a
    token, this and the block before it are always a part of their own."""
    start, n = sequence.n_cached, len(sequence.prompt)
    end = start + largest - (start + largest) % BLOCK
    if n - end <= 1:
        end = n
    last = n - BLOCK - 1
    if n % BLOCK == 1 and start < last < end:
        end = last
    return Part(sequence, start, end)
