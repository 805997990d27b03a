"""The task rerank: a query and documents to the documents in the order of their relevance, with a score for each.

The model is a cross-encoder: it reads the query together with one document. Each pair is a row of its own, padded to
the length of its own bucket.

Which inputs are accepted at all is checked in `shared_schemas.inputs.documents`, which a gateway uses too.
"""

from typing import Any, ClassVar

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs.documents import documents_of
from shared_schemas.models import ModelManifest

from inference_worker.encoder_inputs import EncoderInputs
from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import Graph
from inference_worker.many_rows import infer_all
from inference_worker.results import TRUNCATED, AnswerWarning, ItemError, refused
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Arrays, Row
from inference_worker.text_pairs import Pair, PairCodec


class RankedDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """index: of the document in the input. relevance_score: null if it is not finite, or if the model failed.
    truncated_tokens: how many tokens of the query and the document were not read."""

    index: int
    relevance_score: float | None
    truncated_tokens: int = 0
    error: ItemError | None = None


class Ranking(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """results: the most relevant document first; equal scores in the order of the documents, those without a score
    last."""

    results: tuple[RankedDocument, ...]
    nonfinite_count: int = 0
    warnings: tuple[AnswerWarning, ...] = ()


class Rerank:
    takes_many_runs: ClassVar[bool] = True
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        if manifest.rerank is None:
            raise AttemptFailed("model_unsupported", "the model was published without saying how it scores a document")
        self._inputs = EncoderInputs(manifest, graph, load, output="logits")
        self._pairs = PairCodec(self._inputs.codec, longest=self._inputs.longest, truncation=manifest.rerank.truncation)
        self._is_sigmoid = manifest.rerank.activation == "sigmoid"
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        if outputs["logits"].size != 1:
            raise AttemptFailed("model_unsupported", "the model's output is not one logit for each pair of texts")

    async def answer(self, item: Any, index: int, request: Request) -> Ranking:
        query, documents, top_n = documents_of(item)
        pairs = await self._pairs.encode(query, documents)
        outputs = await infer_all(
            self._engine, pairs, row_of=self._row, length_of=lambda pair: len(pair.ids), alone=request.alone
        )
        failures = [each for each in outputs if isinstance(each, AttemptFailed)]
        if len(failures) == len(outputs):
            raise failures[0]
        ranked = [self._ranked(place, *each) for place, each in enumerate(zip(pairs, outputs, strict=True))]
        return ranking_of(ranked, top_n=top_n)

    @staticmethod
    def reproducible(answer: Ranking) -> Ranking:
        """The scores with 3 decimals, in the order of the documents: the last bits may depend on the other rows of a
        batch, and decide the order of two documents of nearly the same score."""
        rounded = [
            each if each.relevance_score is None
            else msgspec.structs.replace(each, relevance_score=round(each.relevance_score, 3))
            for each in answer.results
        ]  # fmt: skip
        return msgspec.structs.replace(answer, results=tuple(sorted(rounded, key=lambda each: each.index)))

    def _row(self, pair: Pair) -> Row:
        return self._inputs.row(pair.ids, pair.token_types)

    def _ranked(self, place: int, pair: Pair, outputs: Arrays | AttemptFailed) -> RankedDocument:
        if isinstance(outputs, AttemptFailed):
            return RankedDocument(
                index=place, relevance_score=None, truncated_tokens=pair.n_cut, error=refused(outputs).error
            )
        logit = float(outputs["logits"].reshape(()))
        with np.errstate(over="ignore"):
            score = float(1 / (1 + np.exp(-np.float64(logit)))) if self._is_sigmoid else logit
        finite = float(f"{score:.9g}") if np.isfinite(logit) else None
        return RankedDocument(index=place, relevance_score=finite, truncated_tokens=pair.n_cut)


def ranking_of(documents: list[RankedDocument], *, top_n: int | None = None) -> Ranking:
    """documents: in the order of the input."""
    scored = [each for each in documents if each.relevance_score is not None]
    scored.sort(key=lambda each: -(each.relevance_score or 0.0))
    others = [each for each in documents if each.relevance_score is None]
    return Ranking(
        results=tuple([*scored, *others][:top_n]),
        nonfinite_count=sum(1 for each in others if each.error is None),
        warnings=TRUNCATED if any(each.truncated_tokens for each in documents) else (),
    )
