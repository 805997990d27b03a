"""What the tasks of encoders share: the tokenizer and the context of the model, and its inputs made of tokens. Knows
no outputs."""

from collections.abc import Sequence

from shared_schemas.models import ModelManifest

from inference_worker.graph import TEXT_INPUTS, TOKEN_TYPES, Graph, check_graph
from inference_worker.tasks.task import Load
from inference_worker.tensors import Row, Rows, text_row, text_rows
from inference_worker.text import open_codec


class EncoderInputs:
    """longest: the context, in tokens."""

    def __init__(self, manifest: ModelManifest, graph: Graph, load: Load, *, output: str) -> None:
        """output: the one that the task needs of the graph. AttemptFailed as check_graph and open_codec."""
        check_graph(graph, manifest.task, inputs=TEXT_INPUTS, optional=TOKEN_TYPES, output=output)
        self.codec, self.longest = open_codec(manifest, load)
        self._has_token_types = any(spec.name in TOKEN_TYPES for spec in graph.inputs)

    def row(self, ids: Sequence[int], token_types: Sequence[int] = ()) -> Row:
        """As text_row."""
        return text_row(
            ids,
            longest=self.longest,
            pad=self.codec.pad_id,
            has_token_types=self._has_token_types,
            token_types=token_types,
        )

    def rows(self, texts: Sequence[Sequence[int]]) -> Rows:
        """As text_rows."""
        return text_rows(texts, longest=self.longest, pad=self.codec.pad_id, has_token_types=self._has_token_types)
