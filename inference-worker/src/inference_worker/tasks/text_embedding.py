"""The task text-embedding: a text to a vector, so that texts of like meaning have vectors of like direction.

The graph gives either the last hidden state of each token, which the task pools as the manifest says, or one vector.
Each text is padded to the length of its own bucket, so a short text never pays for a long one that waits beside it.

Which inputs are accepted at all is checked in `shared_schemas.inputs.texts`, which a gateway uses too.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from shared_schemas.errors import AttemptFailed, HeadraceError, InvalidInput
from shared_schemas.inputs.texts import dimensions_of, text_of
from shared_schemas.models import ModelManifest

from inference_worker.encoder_inputs import EncoderInputs
from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import Graph
from inference_worker.many_rows import in_order
from inference_worker.results import TRUNCATED, AnswerWarning
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Array, Arrays, example_row, padded_length

_FLOATS = frozenset({"float16", "float32", "float64"})
# They are turned into tokens together, and into JSON together, which takes some milliseconds.
_AT_ONCE = 256
_STATES, _VECTOR = "last_hidden_state", "sentence_embedding"
# No two numbers of type float32 have the same nine digits.
_DIGITS = 9
# As torch.nn.functional.normalize: a vector of zeros stays one.
_SHORTEST_NORM = 1e-12


class EmbeddedText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """embedding: null if a number of it is not finite. tokens: of the text with the special tokens, before it is cut to
    the context. truncated_tokens: how many at the end of the text were not read."""

    embedding: list[float] | None
    tokens: int
    nonfinite_count: int = 0
    truncated_tokens: int = 0
    warnings: tuple[AnswerWarning, ...] = ()


class _Text(NamedTuple):
    """One text of a list, in tokens. place: in the list. n_cut: how many tokens of it were left out."""

    place: int
    ids: list[int]
    n_cut: int


class TextEmbedding:
    takes_many_runs: ClassVar[bool] = False
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        if manifest.embedding is None:
            raise AttemptFailed("model_unsupported", "the model was published without saying how its vectors are made")
        self._made = manifest.embedding
        self._output = _VECTOR if self._made.pooling is None else _STATES
        self._inputs = EncoderInputs(manifest, graph, load, output=self._output)
        self._inputs.codec.check_room(self._inputs.longest)
        if next(spec.dtype for spec in graph.outputs if spec.name == self._output) not in _FLOATS:
            raise AttemptFailed("model_unsupported", f"the output {self._output} of a text-embedding model has floats")
        first = example_row(graph.inputs, longest=self._inputs.longest).inputs["input_ids"]
        self._first_shape = (
            (self._made.dimensions,) if self._made.pooling is None else (*first.shape, self._made.dimensions)
        )
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        if outputs[self._output].shape != self._first_shape:
            raise AttemptFailed("model_unsupported", "the model's output does not fit the dimensions of its vectors")

    @property
    def inputs_at_once(self) -> int:
        return _AT_ONCE

    async def answer(self, item: Any, index: int, request: Request) -> EmbeddedText:
        [answer] = await self.answer_list([item], request)
        if isinstance(answer, HeadraceError):
            raise answer
        return answer

    async def answer_list(self, items: Sequence[Any], request: Request) -> list[EmbeddedText | HeadraceError]:
        dimensions = dimensions_of(request.parameters.dimensions, self._made.dimensions)
        answers: list[EmbeddedText | HeadraceError] = [InvalidInput("the text is empty")] * len(items)
        texts = list[tuple[int, str]]()
        for place, item in enumerate(items):
            try:
                texts.append((place, text_of(item)))
            except InvalidInput as error:
                answers[place] = error
        encoded = await self._inputs.codec.encode_all_within([text for _, text in texts], self._inputs.longest)
        buckets: dict[int, list[_Text]] = {}
        for (place, _), each in zip(texts, encoded, strict=True):
            if each is not None:
                length = padded_length(len(each[0]), longest=self._inputs.longest)
                buckets.setdefault(length, []).append(_Text(place, *each))
        for embedded in await in_order(
            [partial(self._embedded, bucket, dimensions, alone=request.alone) for bucket in buckets.values()]
        ):
            for place, answer in embedded:
                answers[place] = answer
        return answers

    async def _embedded(
        self, texts: Sequence[_Text], dimensions: int, *, alone: bool
    ) -> list[tuple[int, EmbeddedText | HeadraceError]]:
        """texts: of one padded length. -> the place of each and its answer"""
        rows = self._inputs.rows([text.ids for text in texts])
        outputs, errors = await self._engine.infer_rows(rows, alone=alone)
        found = [(texts[row].place, error) for row, error in errors.items()]
        kept = [text for row, text in enumerate(texts) if row not in errors]
        return [*found, *(self._answers(kept, outputs[self._output], dimensions) if kept else ())]

    def _answers(self, texts: Sequence[_Text], output: Array, dimensions: int) -> Iterator[tuple[int, EmbeddedText]]:
        """output: [texts, dimensions] or [texts, length, dimensions]"""
        pooled = [self._pooled(each, len(text.ids)) for each, text in zip(output, texts, strict=True)]
        vectors = np.stack(pooled)[:, :dimensions].astype(np.float64)
        n_bad = np.count_nonzero(~np.isfinite(vectors), axis=1).tolist()
        if self._made.normalize:
            with np.errstate(invalid="ignore"):
                vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST_NORM)
        for text, vector, bad in zip(texts, rounded(vectors), n_bad, strict=True):
            yield (
                text.place,
                EmbeddedText(
                    embedding=None if bad else vector,
                    tokens=len(text.ids) + text.n_cut,
                    nonfinite_count=bad,
                    truncated_tokens=text.n_cut,
                    warnings=TRUNCATED if text.n_cut else (),
                ),
            )

    @staticmethod
    def reproducible(answer: EmbeddedText) -> EmbeddedText:
        """Each number as thousandths of the largest: the last bits may depend on the other rows of a batch."""
        if answer.embedding is None:
            return answer
        vector = np.array(answer.embedding, dtype=np.float64)
        largest = max(float(np.abs(vector).max()), _SHORTEST_NORM)
        return msgspec.structs.replace(answer, embedding=np.round(vector / largest, 3).tolist())

    def _pooled(self, output: Array, n_tokens: int) -> Array:
        """output: float [dimensions], or [length, dimensions] of which the first n_tokens are no padding."""
        match self._made.pooling:
            case None:
                return output
            case "mean":
                return np.asarray(output[:n_tokens].mean(axis=0, dtype=np.float64))
            case "cls":
                return np.asarray(output[0])
            case "last":
                return np.asarray(output[n_tokens - 1])


def rounded(vectors: NDArray[np.float64]) -> list[Any]:
    """Nested lists of the numbers, each finite one with as many digits as a float32 needs, which take half the space in
    JSON of those of a float64."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(vectors))))
        scaled = np.rint(vectors * scale) / scale
    numbers: list[Any] = np.where(np.isfinite(scaled), scaled, vectors).tolist()
    return numbers
