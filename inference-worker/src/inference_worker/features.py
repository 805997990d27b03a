"""Makes rows of numbers for a tabular model, and warns of values far from its training data. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed, HeadraceError, InvalidInput
from shared_schemas.inputs import signature_of
from shared_schemas.inputs.features import numbers_of
from shared_schemas.models import ModelManifest

from inference_worker.graph import Graph
from inference_worker.results import AnswerWarning
from inference_worker.tensors import Array

# A value is far from the training data if it lies outside their range by more than this part of the range.
_NEAR = 0.5
_NAMED_AT_MOST = 16
_NUMBERS = frozenset({int, float})
# How many rows, and how many numbers, a table has at most: about a millisecond of work.
_ROWS_AT_ONCE, _NUMBERS_AT_ONCE = 128, 16_384


class FeatureTable(NamedTuple):
    """rows: [n, features], of the inputs that can be used, in order. errors: of the others, by their place."""

    rows: Array
    errors: dict[int, HeadraceError]


class FeatureRows:
    """Makes the rows of one model. dtype: of the input of its graph."""

    def __init__(self, manifest: ModelManifest, dtype: str) -> None:
        signature = signature_of(manifest)
        self._names, self._largest, self._dtype = signature.features, signature.largest, dtype
        self._near: tuple[Array, Array] | None = None
        if len(manifest.feature_ranges) == len(manifest.features) > 0:
            low, high = np.array(manifest.feature_ranges, dtype=np.float64).T
            margin = _NEAR * (high - low)
            self._near = low - margin, high + margin

    def row(self, item: Any) -> Array:
        """One number for each feature, in the model's order. DataRejected, InvalidInput."""
        return np.array(numbers_of(item, self._names, largest=self._largest), dtype=self._dtype)

    @property
    def at_once(self) -> int:
        """How many rows a table should have."""
        return max(1, min(_ROWS_AT_ONCE, _NUMBERS_AT_ONCE // max(1, len(self._names))))

    def table(self, items: Sequence[Any]) -> FeatureTable:
        """As `row` for each item, much faster where all are lists of numbers."""
        if all(type(item) is list and _NUMBERS.issuperset(map(type, item)) for item in items):
            try:
                numbers = np.array(items, dtype=np.float64)
            except (ValueError, OverflowError):  # rows of different lengths, or an integer beyond 1e308
                pass
            else:
                if numbers.shape == (len(items), len(self._names)) and (np.abs(numbers) <= self._largest).all():
                    return FeatureTable(numbers.astype(self._dtype), {})
        rows, errors = list[Array](), dict[int, HeadraceError]()
        for place, item in enumerate(items):
            try:
                rows.append(self.row(item))
            except InvalidInput as error:
                errors[place] = error
        return FeatureTable(np.array(rows, dtype=self._dtype).reshape(len(rows), len(self._names)), errors)

    def warnings(self, rows: Array) -> dict[int, tuple[AnswerWarning, ...]]:
        """rows: [n, features]. -> the warnings of each row that has any"""
        if self._near is None:
            return {}
        low, high = self._near
        far = (rows < low) | (rows > high)
        return {row: self._warnings(np.flatnonzero(far[row])) for row in np.flatnonzero(far.any(axis=1)).tolist()}

    def _warnings(self, far: Array) -> tuple[AnswerWarning, ...]:
        """far: the places of features, at least one."""
        warned = [
            AnswerWarning(code="outside_training_range", feature=self._names[place])
            for place in far[:_NAMED_AT_MOST].tolist()
        ]
        if len(far) > _NAMED_AT_MOST:
            warned[-1] = msgspec.structs.replace(warned[-1], more=len(far) - _NAMED_AT_MOST)
        return tuple(warned)


def open_features(manifest: ModelManifest, graph: Graph) -> FeatureRows:
    """graph: has an input `features`. AttemptFailed model_unsupported if that has another number of columns than the
    manifest."""
    spec = next(spec for spec in graph.inputs if spec.name == "features")
    if spec.shape is None or spec.shape[1:] != (len(manifest.features),):
        raise AttemptFailed("model_unsupported", "the model's input does not fit its features")
    return FeatureRows(manifest, spec.dtype)
