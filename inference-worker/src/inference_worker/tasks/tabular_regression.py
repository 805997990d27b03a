"""The task tabular-regression: a row of features to one number.

Which inputs are accepted at all is checked in `shared_schemas.inputs.features`, which a gateway uses too.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed, HeadraceError
from shared_schemas.models import ModelManifest

from inference_worker.engines.batching import BatchingEngine
from inference_worker.features import open_features
from inference_worker.graph import FEATURE_INPUTS, Graph, check_graph
from inference_worker.results import AnswerWarning
from inference_worker.table_answers import answers_of_table
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Array, Arrays, Rows


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

    @property
    def inputs_at_once(self) -> int:
        return self._features.at_once

    async def answer(self, item: Any, index: int, request: Request) -> Prediction:
        rows = self._features.row(item)[np.newaxis]
        outputs = await self._engine.infer(Rows({"features": rows}), alone=request.alone)
        return self._answers(rows, outputs)[0]

    async def answer_list(self, items: Sequence[Any], request: Request) -> list[Prediction | HeadraceError]:
        return await answers_of_table(self._engine, self._features.table(items), self._answers, alone=request.alone)

    def _answers(self, rows: Array, outputs: Arrays) -> list[Prediction]:
        return predictions_of(outputs["prediction"], self._features.warnings(rows))

    @staticmethod
    def reproducible(answer: Prediction) -> Prediction:
        """Rounded to 4 digits: the last bits of a number depend on the other rows of its batch."""
        if answer.prediction is None:
            return answer
        return msgspec.structs.replace(answer, prediction=float(f"{answer.prediction:.4g}"))


def predictions_of(
    predictions: Array, warnings: Mapping[int, tuple[AnswerWarning, ...]] = MappingProxyType({})
) -> list[Prediction]:
    """predictions: float [n] or [n, 1]. warnings: by row."""
    values = predictions.reshape(len(predictions)).astype(np.float64)
    return [
        Prediction(prediction=value, warnings=warnings.get(row, ()))
        if is_finite
        else Prediction(prediction=None, nonfinite_count=1, warnings=warnings.get(row, ()))
        for row, (value, is_finite) in enumerate(zip(values.tolist(), np.isfinite(values).tolist(), strict=True))
    ]
