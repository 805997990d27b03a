"""The task text-embedding: a text to a vector, so that texts of like meaning have vectors of like direction.

The graph gives either the last hidden state of each token, which the task pools as the manifest says, or one vector.
Each text is padded to the length of its own bucket, so a short text never pays for a long one that waits beside it.

Which inputs are accepted at all is checked in `shared_schemas.inputs.texts`, which a gateway uses too.
"""

from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs.texts import dimensions_of, text_of
from shared_schemas.models import ModelManifest

from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import TEXT_INPUTS, TOKEN_TYPES, Graph, check_graph
from inference_worker.results import TRUNCATED, AnswerWarning
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Array, Arrays, example_row, text_row
from inference_worker.text import open_codec

_FLOATS = frozenset({"float16", "float32", "float64"})
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


class TextEmbedding:
    takes_many_runs: ClassVar[bool] = False
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        if manifest.embedding is None:
            raise AttemptFailed("model_unsupported", "the model was published without saying how its vectors are made")
        self._made = manifest.embedding
        self._output = _VECTOR if self._made.pooling is None else _STATES
        check_graph(graph, "text-embedding", inputs=TEXT_INPUTS, optional=TOKEN_TYPES, output=self._output)
        if next(spec.dtype for spec in graph.outputs if spec.name == self._output) not in _FLOATS:
            raise AttemptFailed("model_unsupported", f"the output {self._output} of a text-embedding model has floats")
        self._codec, self._longest = open_codec(manifest, load)
        self._codec.check_room(self._longest)
        first = example_row(graph.inputs, longest=self._longest).inputs["input_ids"]
        self._first_shape = (
            (self._made.dimensions,) if self._made.pooling is None else (*first.shape, self._made.dimensions)
        )
        self._has_token_types = any(spec.name in TOKEN_TYPES for spec in graph.inputs)
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        if outputs[self._output].shape != self._first_shape:
            raise AttemptFailed("model_unsupported", "the model's output does not fit the dimensions of its vectors")

    async def answer(self, item: Any, index: int, request: Request) -> EmbeddedText:
        dimensions = dimensions_of(request.parameters.dimensions, self._made.dimensions)
        ids, n_cut = await self._codec.encode_within(text_of(item), self._longest)
        row = text_row(ids, longest=self._longest, pad=self._codec.pad_id, has_token_types=self._has_token_types)
        outputs = await self._engine.infer(row, alone=request.alone)
        vector = self._pooled(outputs[self._output], len(ids))[:dimensions]
        n_bad = int(np.count_nonzero(~np.isfinite(vector)))
        if self._made.normalize and not n_bad:
            vector = vector / max(float(np.linalg.norm(vector)), _SHORTEST_NORM)
        return EmbeddedText(
            embedding=None if n_bad else rounded(vector),
            tokens=len(ids) + n_cut,
            nonfinite_count=n_bad,
            truncated_tokens=n_cut,
            warnings=TRUNCATED if n_cut else (),
        )

    @staticmethod
    def reproducible(answer: EmbeddedText) -> EmbeddedText:
        """Each number as thousandths of the largest: the last bits may depend on the other rows of a batch."""
        if answer.embedding is None:
            return answer
        vector = np.array(answer.embedding, dtype=np.float64)
        largest = max(float(np.abs(vector).max()), _SHORTEST_NORM)
        return msgspec.structs.replace(answer, embedding=np.round(vector / largest, 3).tolist())

    def _pooled(self, output: Array, n_tokens: int) -> NDArray[np.float64]:
        """output: float [dimensions], or [length, dimensions] of which the first n_tokens are no padding."""
        match self._made.pooling:
            case None:
                pooled = output
            case "mean":
                pooled = output[:n_tokens].mean(axis=0, dtype=np.float64)
            case "cls":
                pooled = output[0]
            case "last":
                pooled = output[n_tokens - 1]
        return pooled.astype(np.float64)


def rounded(vector: NDArray[np.float64]) -> list[float]:
    """vector: finite. Each number with as many digits as a float32 needs, which take half the space in JSON of those of
    a float64."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(vector))))
        scaled = np.rint(vector * scale) / scale
    numbers: list[float] = np.where(np.isfinite(scaled), scaled, vector).tolist()
    return numbers
