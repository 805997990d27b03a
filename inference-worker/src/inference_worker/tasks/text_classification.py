"""The task text-classification: a text to one of several labels.

Which inputs are accepted at all is checked in `shared_schemas.inputs.texts`, which a gateway uses too.
"""

from typing import Any, ClassVar

from shared_schemas.inputs.texts import text_of
from shared_schemas.models import ModelManifest

from inference_worker import classification
from inference_worker.classification import Classification, check_logits, classification_of
from inference_worker.encoder_inputs import EncoderInputs
from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import Graph
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Arrays


class TextClassification:
    takes_many_runs: ClassVar[bool] = False
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        self._inputs = EncoderInputs(manifest, graph, load, output="logits")
        self._inputs.codec.check_room(self._inputs.longest)
        self._labels, self._engine = manifest.labels, engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        check_logits(outputs, self._labels)

    async def answer(self, item: Any, index: int, request: Request) -> Classification:
        inputs = self._inputs
        ids, n_cut = await inputs.codec.encode_within(text_of(item), inputs.longest, may_be_empty=True)
        outputs = await self._engine.infer(inputs.row(ids), alone=request.alone)
        return classification_of(
            outputs["logits"],
            self._labels,
            top_k=request.parameters.top_k,
            truncated_tokens=n_cut,
        )

    @staticmethod
    def reproducible(answer: Classification) -> Classification:
        return classification.rounded(answer)
