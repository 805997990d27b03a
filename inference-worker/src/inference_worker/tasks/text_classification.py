"""The task text-classification: a text to one of several labels.

Which inputs are accepted at all is checked in `shared_schemas.inputs.texts`, which a gateway uses too.
"""

from typing import Any, ClassVar

from shared_schemas.inputs.texts import text_of
from shared_schemas.models import ModelManifest

from inference_worker import classification
from inference_worker.classification import Classification, check_logits, classification_of
from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import TEXT_INPUTS, TOKEN_TYPES, Graph, check_graph
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Arrays, text_row
from inference_worker.text import open_codec


class TextClassification:
    takes_many_runs: ClassVar[bool] = False
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        check_graph(graph, "text-classification", inputs=TEXT_INPUTS, optional=TOKEN_TYPES, output="logits")
        self._codec, self._longest = open_codec(manifest, load)
        self._codec.check_room(self._longest)
        self._labels = manifest.labels
        self._has_token_types = any(spec.name in TOKEN_TYPES for spec in graph.inputs)
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        check_logits(outputs, self._labels)

    async def answer(self, item: Any, index: int, request: Request) -> Classification:
        longest = self._longest
        ids, n_cut = await self._codec.encode_within(text_of(item), longest, may_be_empty=True)
        row = text_row(ids, longest=longest, pad=self._codec.pad_id, has_token_types=self._has_token_types)
        outputs = await self._engine.infer(row, alone=request.alone)
        return classification_of(
            outputs["logits"],
            self._labels,
            top_k=request.parameters.top_k,
            truncated_tokens=n_cut,
        )

    @staticmethod
    def reproducible(answer: Classification) -> Classification:
        return classification.rounded(answer)
