"""The row of numbers that a tabular model is fed, and what an answer says of an input beside the answer itself."""

from typing import Any, Literal

import msgspec
import numpy as np
from shared_schemas.inputs import numbers_of, signature_of
from shared_schemas.models import ModelManifest

from inference_worker.tensors import Array

# By so much of the range of its training a value may lie outside of it before it is called far.
_NEAR = 0.5
_NAMED_AT_MOST = 16


class Warned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an answer may be worth less than others.

    outside_training_range: the feature is far from all that the model was trained on. more: how many other features
    are, which are not named. input_truncated: the text is longer than the model's context: not all of it was read.
    """

    code: Literal["outside_training_range", "input_truncated"]
    feature: str | None = None
    more: int = 0


TRUNCATED = (Warned(code="input_truncated"),)


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
