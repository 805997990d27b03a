"""The task tabular-regression: a row of features to one number.

Which inputs are accepted at all is checked in `shared_schemas.inputs.features`, which a gateway uses too.
"""

from typing import Any, ClassVar

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed
from shared_schemas.models import ModelManifest

from inference_worker.engines.batching import BatchingEngine
from inference_worker.features import open_features
from inference_worker.graph import FEATURE_INPUTS, Graph, check_graph
from inference_worker.results import AnswerWarning
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Array, Arrays, Row


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    prediction: float | None
    nonfinite_count: int = 0
    warnings: tuple[AnswerWarning, ...] = ()


class TabularRegression:
    takes_many_runs: ClassVar[bool] = False
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        check_graph(graph, "tabular-regression", inputs=FEATURE_INPUTS, output="prediction")
        self._features = open_features(manifest, graph)
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        if outputs["prediction"].size != 1:
            raise AttemptFailed("model_unsupported", "the model's output is not one number")

    async def answer(self, item: Any, index: int, request: Request) -> Prediction:
        row = self._features.row(item)
        outputs = await self._engine.infer(Row({"features": row}))
        return prediction_of(outputs["prediction"], warnings=self._features.warnings(row))

    @staticmethod
    def reproducible(answer: Prediction) -> Prediction:
        """Rounded to 4 digits: the last bits of a number depend on the other rows of its batch."""
        if answer.prediction is None:
            return answer
        return msgspec.structs.replace(answer, prediction=float(f"{answer.prediction:.4g}"))


def prediction_of(prediction: Array, *, warnings: tuple[AnswerWarning, ...] = ()) -> Prediction:
    """prediction: float [] or [1]."""
    value = float(prediction.reshape(()))
    if np.isfinite(value):
        return Prediction(prediction=value, warnings=warnings)
    return Prediction(prediction=None, nonfinite_count=1, warnings=warnings)
