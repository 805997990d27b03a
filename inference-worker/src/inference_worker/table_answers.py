"""Answers a table of features: what the tabular tasks have in common. It knows no task."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from shared_schemas.errors import HeadraceError

from inference_worker.engines.batching import BatchingEngine
from inference_worker.features import FeatureTable
from inference_worker.tensors import Array, Arrays, Rows

T = TypeVar("T")


async def answers_of_table(
    engine: BatchingEngine, table: FeatureTable, answers_of: Callable[[Array, Arrays], list[T]], *, alone: bool
) -> list[T | HeadraceError]:
    """answers_of(rows, outputs): the answers to rows that the model could process. -> for each item of the table its
    answer, or the error of its row. Raises as BatchingEngine.infer_rows does."""
    rows, errors = table
    places = [place for place in range(len(rows) + len(errors)) if place not in errors]
    if places:
        outputs, failed = await engine.infer_rows(Rows({"features": rows}), alone=alone)
        if failed:
            errors = errors | {places[row]: error for row, error in failed.items()}
            kept = [row for row in range(len(rows)) if row not in failed]
            rows, places = rows[np.array(kept, dtype=np.intp)], [places[row] for row in kept]
    answers: list[T | HeadraceError | None] = [errors.get(place) for place in range(len(places) + len(errors))]
    if places:
        for place, answer in zip(places, answers_of(rows, outputs), strict=True):
            answers[place] = answer
    return [answer for answer in answers if answer is not None]
