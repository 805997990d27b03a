"""The classification extension of the protocol: the largest values of an output, each with its index and its label.

As in Triton, a class is the text `value:index`, or `value:index:label` if the model has labels, and the index counts
the values of a row. Pure.
"""

import heapq
import math
from collections.abc import Sequence
from typing import Any

from shared_schemas.inputs.tensors import NOT_FINITE

from gateway.surfaces.v2.datatypes import Datatype
from gateway.surfaces.v2.forms import Given

# The datatypes whose values have no order.
NOT_RANKED: frozenset[Datatype] = frozenset({"BOOL", "BYTES"})


def classified(given: Given, n_classes: int) -> Given:
    """given: an output of numbers. -> strings [rows, classes] if its first dimension counts rows, or else [classes],
    of the whole tensor. No more classes than a row has values."""
    values = [NOT_FINITE[each] if isinstance(each, str) else each for each in given.as_values()]
    n_rows = given.shape[0] if given.is_batched and given.shape else 1
    size = len(values) // n_rows if n_rows else math.prod(given.shape[1:])
    n_classes = min(n_classes, size)
    labels = given.labels if len(given.labels) == size else ()
    texts = [
        text for row in range(n_rows) for text in _of_row(values[row * size : (row + 1) * size], n_classes, labels)
    ]
    shape = (n_rows, n_classes) if given.is_batched and given.shape else (n_classes,)
    return Given(name=given.name, dtype="string", shape=shape, values=texts)


def _of_row(values: Sequence[Any], n_classes: int, labels: Sequence[str]) -> list[str]:
    """Equal values in the order of their places; what is no number comes last."""
    order = heapq.nsmallest(n_classes, range(len(values)), key=lambda place: (_key(values[place]), place))
    return [":".join((_written(values[place]), str(place), *labels[place : place + 1])) for place in order]


def _key(value: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, -value)


def _written(value: float) -> str:
    return f"{value:f}" if isinstance(value, float) else str(value)
