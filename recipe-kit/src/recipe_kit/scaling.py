"""How columns of numbers become numbers near one. In float64: a timestamp in milliseconds, or an id beyond 2^24, is
another number as float32, so what tells two of them apart must be taken out before anything becomes float32."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# A column whose values differ by no more than so many roundings of the largest of them is constant.
_ROUNDINGS = 8 * torch.finfo(torch.float64).eps
# How far beyond what it was trained on a model goes on from a line's end, in widths of the range. Farther out, its
# answer would be whatever the weights make of a number that they never saw.
_WIDTHS_BEYOND = 10.0
# Steps of a float32 near one are 6e-8: rows that differ by less than a few hundred of these are hardly told apart.
_HARDLY = 1e-5
_LOOKED_AT = 10_000


class Scaling(NamedTuple):
    """Of columns, each (F,) float64. mean and scale: a scaled value is (value - mean) / scale; scale is 1 where the
    column is constant. low, high: the smallest and the largest value."""

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    is_constant: Tensor

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        return tuple(zip(self.low.tolist(), self.high.tolist(), strict=True))

    @property
    def reach(self) -> tuple[Tensor, Tensor]:
        """-> (F,), (F,): the smallest and the largest value that a model takes as it is."""
        width = torch.where(self.is_constant, 0.0, self.high - self.low)
        return self.low - _WIDTHS_BEYOND * width, self.high + _WIDTHS_BEYOND * width

    def apply(self, x: Tensor) -> Tensor:
        """(n, F) float64 -> (n, F) float64."""
        return (x - self.mean) / self.scale


def scaling_of(x: Tensor) -> Scaling:
    """x (n, F) float64, n at least 1."""
    low, high = x.min(0).values, x.max(0).values
    width = high - low
    is_constant = width <= _ROUNDINGS * torch.maximum(low.abs(), high.abs())
    # Counted from the low end, in widths: neither an offset nor the size of the numbers costs digits, and no square
    # is too large or too small.
    unit = torch.where(is_constant, 1.0, width)
    inside = (x - low) / unit
    scale = inside.std(0, correction=0) * unit
    is_constant = is_constant | (scale == 0)
    return Scaling(low + inside.mean(0) * unit, torch.where(is_constant, 1.0, scale), low, high, is_constant)


def remarks(scaling: Scaling, x: Tensor, names: Sequence[str]) -> Iterator[str]:
    """Lines for the log about columns that a model can learn little from. x (n, F): what the scaling is of."""
    constant = [name for name, is_one in zip(names, scaling.is_constant.tolist(), strict=True) if is_one]
    if constant:
        yield f"the same value in every row, so nothing is learned from it: {_listed(constant)}"
    some = x[:: -(-len(x) // _LOOKED_AT)].sort(0).values
    most = (some[int(0.95 * (len(some) - 1))] - some[int(0.05 * (len(some) - 1))]) / scaling.scale
    drowned = [name for name, width in zip(names, most.tolist(), strict=True) if 0 < width < _HARDLY]
    if drowned:
        yield f"a few values are so far from all others that these are hardly told apart: {_listed(drowned)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(map(repr, names[:10])) + more
