"""Class names and their numbers, shared by the classifiers."""

from collections import Counter
from collections.abc import Sequence

import torch
from shared_schemas.errors import DataRejected
from torch import Tensor

MOST_CLASSES = 1000


def classes_of(cells: Sequence[str], column: str) -> tuple[str, ...]:
    """DataRejected data_one_class, data_too_many_classes."""
    classes = tuple(sorted(set(cells)))
    if len(classes) < 2:
        raise DataRejected("data_one_class", f"every row of {column!r} is the same class", column=column)
    if len(classes) > MOST_CLASSES:
        raise DataRejected("data_too_many_classes", f"{column!r} has more than {MOST_CLASSES} classes", column=column)
    return classes


def encode(cells: Sequence[str], classes: Sequence[str], column: str) -> Tensor:
    """-> (n,) int64. DataRejected data_unknown_class for a class that the training rows do not have."""
    numbers = {name: i for i, name in enumerate(classes)}
    for row, cell in enumerate(cells, start=1):
        if cell not in numbers:
            raise DataRejected(
                "data_unknown_class", f"row {row} has a class that the training data lacks", row=row, column=column
            )
    return torch.tensor([numbers[cell] for cell in cells])


def majority_accuracy(training: Tensor, held_out: Tensor) -> float:
    """Accuracy on held-out rows of always naming the class that most training rows have."""
    [(most_common, _)] = Counter(training.tolist()).most_common(1)
    return float((held_out == most_common).float().mean())
