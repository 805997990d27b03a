"""Makes rows of numbers for a tabular model, and warns of values far from its training data. Pure."""

from typing import Any

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs import signature_of
from shared_schemas.inputs.features import numbers_of
from shared_schemas.models import ModelManifest

from inference_worker.graph import Graph
from inference_worker.results import AnswerWarning
from inference_worker.tensors import Array

# A value is far from the training data if it lies outside their range by more than this part of the range.
_NEAR = 0.5
_NAMED_AT_MOST = 16


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

    def warnings(self, row: Array) -> tuple[AnswerWarning, ...]:
        if self._near is None:
            return ()
        low, high = self._near
        far = np.flatnonzero((row < low) | (row > high))
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
