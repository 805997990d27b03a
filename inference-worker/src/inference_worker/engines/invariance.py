"""Finds out which numbers of rows a model may run with so that each row has the same bits in all of them.

Runtimes have other kernels for one row than for several, or for few than for many, and each adds in its own order. Then
the answer to a row depends on how many others ran beside it. Often all sizes from some small one on agree. So a loaded
model is tried: some rows run at several sizes, beside different rows and at different places, and their outputs are
compared bit by bit. It knows no session: a run is a function that is passed in.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from shared_schemas.errors import AttemptFailed
from shared_schemas.models import TensorSpec

from inference_worker.tensors import Array, Arrays, numpy_dtype

# For each run of one size, by its first row, a digest of the outputs of each row.
_Windows: TypeAlias = dict[int, list[bytes]]
Run: TypeAlias = Callable[[Arrays], Mapping[str, Array]]

# Powers of two, their neighbours, and what lies between, because kernels change at such sizes.
_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 65)
# How many runs of each size; of large sizes, two.
_WINDOWS, _FEW = 8, 24
_SLOW_FIRST = 5
# Padding a single row to more than this would cost more than it is worth.
_LARGEST_SMALLEST = 4
_MOST_NUMBERS, _MOST_OUTPUT_BYTES = 1 << 22, 1 << 28
# Batches of less than this part of the usual ones would cost too much as well.
_SMALLEST_LARGEST = 4


class RowSizes(msgspec.Struct, frozen=True):
    """From `smallest` to `largest` rows: run with so many, a row has the same bits. largest: None if a run never has
    more rows than were tried."""

    smallest: int = 1
    largest: int | None = None

    def padded(self, n_rows: int) -> int:
        """The size to run n_rows at."""
        return max(self.smallest, n_rows)

    def __str__(self) -> str:
        """Such as 1+, 2+ or 4-48."""
        return f"{self.smallest}+" if self.largest is None else f"{self.smallest}-{self.largest}"


class Invariance(msgspec.Struct, frozen=True):
    """sizes: None if there are none, or nobody knows. is_known: False if it could not be found out."""

    sizes: RowSizes | None
    is_known: bool = True


ALWAYS, UNKNOWN, NEVER = Invariance(RowSizes()), Invariance(None, is_known=False), Invariance(None)


def combined(found: Sequence[Invariance]) -> Invariance:
    """found: of rows of different shapes -> what holds for all of them."""
    if not all(each.is_known for each in found):
        return UNKNOWN
    sizes = [each.sizes for each in found if each.sizes is not None]
    if len(sizes) < len(found):
        return NEVER
    largest = [each.largest for each in sizes if each.largest is not None]
    return Invariance(RowSizes(max(each.smallest for each in sizes), min(largest) if largest else None))


def probed(run: Run, rows: Arrays, *, within_s: float, clock: Callable[[], float]) -> Invariance:
    """rows: for each input at least one row, [n, ...]; a run never has more than n. within_s: by the clock. UNKNOWN if
    it takes longer, or a run fails."""
    most = len(next(iter(rows.values())))
    if most == 1:
        return ALWAYS
    began = clock()
    sizes = sorted({*(size for size in (*_SIZES, *range(64, most, 32)) if size < most), most - 1, most})
    outputs: dict[int, _Windows] = {}
    try:
        first = run(_part(rows, 0, 1))
        if sum(array.nbytes for array in first.values()) * most > _MOST_OUTPUT_BYTES:
            return UNKNOWN
        # The jobs that wait for a large model should not wait for a trial that cannot end in time. The first run of a
        # session is slower than the others.
        again = clock()
        if again - began > within_s / _SLOW_FIRST:
            return UNKNOWN
        run(_part(rows, 0, 1))
        if (clock() - again) * sum(map(_n_windows, sizes)) > within_s:
            return UNKNOWN
        for size in sizes:
            starts = np.linspace(0, most - size, _n_windows(size)).astype(int).tolist()
            outputs[size] = {start: _digests(run(_part(rows, start, size)), size) for start in starts}
            if clock() > began + within_s:
                return UNKNOWN
    except (AttemptFailed, ValueError):
        return UNKNOWN
    return _best_class(sizes, outputs)


def sample_rows(inputs: Sequence[TensorSpec], n: int, *, varying: int) -> Arrays | None:
    """n rows that any model of a task may be given, as different as possible. varying: the size of each dimension that
    varies. None for inputs of which nothing is known, such as strings, and for large ones."""
    random = np.random.default_rng(0)
    rows: Arrays = {}
    for spec in inputs:
        if not spec.shape or spec.dtype == "string":
            return None
        shape = (n, *(size if isinstance(size, int) else varying for size in spec.shape[1:]))
        if math.prod(shape) > _MOST_NUMBERS:
            return None
        rows[spec.name] = _sample(random, spec, shape).astype(numpy_dtype(spec.dtype))
    return rows


def _sample(random: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if "float" in spec.dtype:
        # Rows of different size, because a model may scale its numbers by the largest one of a batch.
        scale = 10.0 ** random.integers(-1, 2, shape[0])
        return random.standard_normal(shape) * scale.reshape(-1, *[1] * (len(shape) - 1))
    if spec.name == "attention_mask":
        return (np.arange(shape[-1]) < random.integers(1, shape[-1] + 1, (shape[0], 1))).astype(np.float64)
    # Integers are mostly places in a table, and every table has these two.
    return random.integers(0, 2, shape).astype(np.float64)


def _n_windows(size: int) -> int:
    return _WINDOWS if size <= _FEW else 2


def _part(rows: Arrays, start: int, size: int) -> Arrays:
    return {name: array[start : start + size] for name, array in rows.items()}


def _digests(outputs: Mapping[str, Array], size: int) -> list[bytes]:
    for array in outputs.values():
        if array.ndim == 0 or len(array) != size or array.dtype.hasobject:
            raise ValueError("the outputs have no rows of numbers")
    return [
        hashlib.blake2b(b"".join(array[row].tobytes() for array in outputs.values()), digest_size=16).digest()
        for row in range(size)
    ]


def _best_class(sizes: list[int], outputs: dict[int, _Windows]) -> Invariance:
    """The class with the largest batches, of those the one that needs least padding."""
    most = sizes[-1]
    for largest in reversed(sizes):
        if largest < most // _SMALLEST_LARGEST:
            break
        agree = {size for size in sizes if size <= largest and _agree(outputs[size], size, outputs[largest], largest)}
        last_other = max((size for size in sizes if size < largest and size not in agree), default=0)
        smallest = next(size for size in sizes if size > last_other)
        if smallest <= min(_LARGEST_SMALLEST, largest // 2):
            return Invariance(RowSizes(smallest, None if largest == most else largest))
    return NEVER


def _agree(few: _Windows, size: int, many: _Windows, largest: int) -> bool:
    """Whether each row of the runs `few`, of that size, has the same bits in those of the runs `many` that had it."""
    return all(
        found == expected[start - first : start - first + size]
        for start, found in few.items()
        for first, expected in many.items()
        if first <= start and start + size <= first + largest
    )
