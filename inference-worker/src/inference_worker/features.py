"""Features to a row of numbers for a tabular model, with warnings for values far from those it was trained on. Pure."""

from typing import Any

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs import signature_of
from shared_schemas.inputs.features import numbers_of
from shared_schemas.models import ModelManifest

from inference_worker.answers import Warned
from inference_worker.graph import Graph
from inference_worker.tensors import Array

# A value is far from the training data if it lies outside their range by more than this part of the range.
_NEAR = 0.5
_NAMED_AT_MOST = 16


class Features:
    """How one model takes its features. dtype: of its graph's input."""

    def __init__(self, manifest: ModelManifest, dtype: str) -> None:
        signature = signature_of(manifest)
        self._names, self._largest, self._dtype = signature.features, signature.largest, dtype
        self._near: tuple[Array, Array] | None = None
        if len(manifest.feature_ranges) == len(manifest.features) > 0:
            low, high = np.array(manifest.feature_ranges, dtype=np.float64).T
            margin = _NEAR * (high - low)
            self._near = low - margin, high + margin

    def row(self, item: Any) -> Array:
        """[features] in the order of the model. DataRejected, InvalidInput."""
        return np.array(numbers_of(item, self._names, largest=self._largest), dtype=self._dtype)

    def warnings(self, row: Array) -> tuple[Warned, ...]:
        if self._near is None:
            return ()
        low, high = self._near
        far = np.flatnonzero((row < low) | (row > high))
        warned = [
            Warned(code="outside_training_range", feature=self._names[place]) for place in far[:_NAMED_AT_MOST].tolist()
        ]
        if len(far) > _NAMED_AT_MOST:
            warned[-1] = msgspec.structs.replace(warned[-1], more=len(far) - _NAMED_AT_MOST)
        return tuple(warned)


def open_features(manifest: ModelManifest, graph: Graph) -> Features:
    """graph: has an input `features`. AttemptFailed model_unsupported if that has another number of columns than the
    manifest."""
    spec = next(spec for spec in graph.inputs if spec.name == "features")
    if spec.shape[1:] != (len(manifest.features),):
        raise AttemptFailed("model_unsupported", "the model's input does not fit its features")
    return Features(manifest, spec.dtype)
