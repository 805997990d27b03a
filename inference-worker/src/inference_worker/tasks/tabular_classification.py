"""The task tabular-classification: a row of features to one of several labels.

Which inputs are accepted at all is checked in `shared_schemas.inputs.features`, which a gateway uses too.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from shared_schemas.errors import HeadraceError
from shared_schemas.models import ModelManifest

from inference_worker import classification
from inference_worker.classification import Classification, check_logits, classifications_of, room_of_scores
from inference_worker.engines.batching import BatchingEngine
from inference_worker.features import open_features
from inference_worker.graph import FEATURE_INPUTS, Graph, check_graph
from inference_worker.table_answers import answers_of_table
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Array, Arrays, Rows

# How many scores are written at a time: about ten milliseconds.
_SCORES_AT_ONCE = 16_384


class TabularClassification:
    takes_many_runs: ClassVar[bool] = False
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        check_graph(graph, "tabular-classification", inputs=FEATURE_INPUTS, output="logits")
        self._features = open_features(manifest, graph)
        self._labels = manifest.labels
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        check_logits(outputs, self._labels)

    @property
    def inputs_at_once(self) -> int:
        return max(1, min(self._features.at_once, _SCORES_AT_ONCE // max(1, len(self._labels))))

    async def answer(self, item: Any, index: int, request: Request) -> Classification:
        rows = self._features.row(item)[np.newaxis]
        outputs = await self._engine.infer(Rows({"features": rows}), alone=request.alone)
        return self._answers(rows, outputs, request)[0]

    async def answer_list(self, items: Sequence[Any], request: Request) -> list[Classification | HeadraceError]:
        return await answers_of_table(
            self._engine,
            self._features.table(items),
            lambda rows, outputs: self._answers(rows, outputs, request),
            alone=request.alone,
        )

    def _answers(self, rows: Array, outputs: Arrays, request: Request) -> list[Classification]:
        top_k = request.parameters.top_k
        request.reserve(len(rows) * room_of_scores(self._labels, top_k))
        warnings = self._features.warnings(rows)
        return classifications_of(outputs["logits"], self._labels, top_k=top_k, warnings=warnings)

    @staticmethod
    def reproducible(answer: Classification) -> Classification:
        return classification.rounded(answer)
