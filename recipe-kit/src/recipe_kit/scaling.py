"""Scales columns of numbers to a mean of 0 and a standard deviation of 1.

Knows numbers, and no tables or models. It computes in float64. A timestamp in milliseconds, or an
id beyond 2^24, is another number as float32, so columns must be scaled before they become float32.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# A column is constant if its values differ by no more than this, relative to the largest of them: 8
# rounding errors of float64.
_ROUNDINGS = 8 * torch.finfo(torch.float64).eps
# A model takes values up to this many widths of the training range outside that range. A value
# farther out is replaced by the limit, because the weights are arbitrary for numbers that they
# never saw.
_WIDTHS_BEYOND = 10.0
# The spacing of float32 numbers near 1 is 6e-8. A model can hardly distinguish scaled values that
# differ by less than a few hundred times that.
_LEAST_WIDTH = 1e-5
# How many rows of a column are enough to see how its values spread.
_SAMPLE_ROWS = 10_000


class Scaling(NamedTuple):
    """The scaling of F columns. All tensors are (F,), float64 except is_constant, which is bool.

    mean, scale: a scaled value is (value - mean) / scale. scale is the standard deviation, or 1 for
    a constant column. low, high: the smallest and the largest value. is_constant: all rows have the
    same value."""

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    is_constant: Tensor

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """(low, high) of each column."""
        return tuple(zip(self.low.tolist(), self.high.tolist(), strict=True))

    @property
    def reach(self) -> tuple[Tensor, Tensor]:
        """-> (F,), (F,): the smallest and the largest value that a model takes unchanged."""
        width = torch.where(self.is_constant, 0.0, self.high - self.low)
        return self.low - _WIDTHS_BEYOND * width, self.high + _WIDTHS_BEYOND * width

    def apply(self, x: Tensor) -> Tensor:
        """(n, F) float64 -> (n, F) float64."""
        return (x - self.mean) / self.scale


def scaling_of(x: Tensor) -> Scaling:
    """The scaling of the columns of x (n, F) float64, n at least 1."""
    low, high = x.min(0).values, x.max(0).values
    width = high - low
    is_constant = width <= _ROUNDINGS * torch.maximum(low.abs(), high.abs())
    # Computed on (x - low) / width, which is from 0 to 1. So a large offset costs no digits, and no
    # square overflows or underflows.
    unit = torch.where(is_constant, 1.0, width)
    inside = (x - low) / unit
    scale = inside.std(0, correction=0) * unit
    is_constant = is_constant | (scale == 0)
    return Scaling(low + inside.mean(0) * unit, torch.where(is_constant, 1.0, scale), low, high, is_constant)


def remarks(scaling: Scaling, x: Tensor, names: Sequence[str]) -> Iterator[str]:
    """Lines for the log about columns from which a model can learn little. x (n, F): what the
    scaling was made from. names: of its columns."""
    constant = [name for name, is_one in zip(names, scaling.is_constant.tolist(), strict=True) if is_one]
    if constant:
        yield f"the same value in every row, so nothing is learned from it: {_listed(constant)}"
    some = x[:: -(-len(x) // _SAMPLE_ROWS)].sort(0).values
    # The width of the middle 90 % of the values.
    widths = (some[int(0.95 * (len(some) - 1))] - some[int(0.05 * (len(some) - 1))]) / scaling.scale
    squeezed = [name for name, width in zip(names, widths.tolist(), strict=True) if 0 < width < _LEAST_WIDTH]
    if squeezed:
        yield f"a few values are so far from the others that those can hardly be distinguished: {_listed(squeezed)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(map(repr, names[:10])) + more
