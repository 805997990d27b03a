"""The task tabular-classification: a row of features to one of several labels.

Which inputs are accepted at all is checked in `shared_schemas.inputs.features`, which a gateway uses too.
"""

from typing import Any, ClassVar

from shared_schemas.models import ModelManifest

from inference_worker import classification
from inference_worker.classification import Classification, check_logits, classification_of
from inference_worker.engines.batching import BatchingEngine
from inference_worker.features import open_features
from inference_worker.graph import FEATURE_INPUTS, Graph, check_graph
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Arrays, Row


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

    async def answer(self, item: Any, index: int, request: Request) -> Classification:
        row = self._features.row(item)
        outputs = await self._engine.infer(Row({"features": row}))
        warnings = self._features.warnings(row)
        return classification_of(outputs["logits"], self._labels, top_k=request.parameters.top_k, warnings=warnings)

    @staticmethod
    def reproducible(answer: Classification) -> Classification:
        return classification.rounded(answer)
