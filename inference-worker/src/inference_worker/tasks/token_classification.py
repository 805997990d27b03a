"""The task token-classification: a text to its entities, each with its place in the text.

Places are counted in Unicode code points, as Python counts the characters of a str.

Which inputs are accepted at all is checked in `shared_schemas.inputs.texts`, which a gateway uses too.
"""

from typing import Any, ClassVar

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs.texts import text_of
from shared_schemas.models import ModelManifest, TokenLabelSpec

from inference_worker.encoder_inputs import EncoderInputs
from inference_worker.engines.batching import BatchingEngine
from inference_worker.entities import Labels
from inference_worker.graph import Graph
from inference_worker.results import TRUNCATED, AnswerWarning
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Arrays, example_row, softmax


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """start, end: in Unicode code points; text: what is between them. score: of the label, the mean over its parts."""

    label: str
    score: float
    start: int
    end: int
    text: str


class LabelledText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """entities: in the order of the text; null if a number of the model's output is not finite. tokens: of the text
    with the special tokens, before it is cut to the context. truncated_tokens: how many at the end of the text were
    not read."""

    entities: tuple[Entity, ...] | None
    tokens: int
    nonfinite_count: int = 0
    truncated_tokens: int = 0
    warnings: tuple[AnswerWarning, ...] = ()


class TokenClassification:
    takes_many_runs: ClassVar[bool] = False
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        made = manifest.token_labels or TokenLabelSpec()
        self._inputs = EncoderInputs(manifest, graph, load, output="logits")
        self._inputs.codec.check_room(self._inputs.longest)
        self._labels, self._aggregation = Labels(manifest.labels, made.ignored_labels), made.aggregation
        first = example_row(graph.inputs, longest=self._inputs.longest).inputs["input_ids"]
        self._first_shape = (*first.shape, len(manifest.labels))
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        if outputs["logits"].shape != self._first_shape:
            raise AttemptFailed("model_unsupported", "the model's output is not one logit for each token and label")

    async def answer(self, item: Any, index: int, request: Request) -> LabelledText:
        text = text_of(item)
        spans = await self._inputs.codec.encode_spans(text, self._inputs.longest)
        outputs = await self._engine.infer(self._inputs.row(spans.ids), alone=request.alone)
        logits = outputs["logits"][spans.first : spans.first + len(spans.offsets)]
        n_bad = int(np.count_nonzero(~np.isfinite(logits)))
        entities: tuple[Entity, ...] | None = None
        if not n_bad:
            aggregation = request.parameters.aggregation or self._aggregation
            scores = np.stack([softmax(each) for each in logits])
            found = self._labels.spans(scores, spans.offsets, spans.begins_word, aggregation)
            entities = tuple(
                Entity(label=label, score=score, start=start, end=end, text=text[start:end])
                for label, score, start, end in found
            )
        return LabelledText(
            entities=entities,
            tokens=len(spans.ids) + spans.n_cut,
            nonfinite_count=n_bad,
            truncated_tokens=spans.n_cut,
            warnings=TRUNCATED if spans.n_cut else (),
        )

    @staticmethod
    def reproducible(answer: LabelledText) -> LabelledText:
        """Each score with 3 decimals: the last bits depend on the other rows of its batch."""
        if answer.entities is None:
            return answer
        rounded = tuple(msgspec.structs.replace(each, score=round(each.score, 3)) for each in answer.entities)
        return msgspec.structs.replace(answer, entities=rounded)
