"""Reads from a graph how its cache looks. It needs no tool that made the graph.

The form is that of `onnxruntime_genai.models.builder` for the CPU: `input_ids` and `attention_mask` int64,
`past_key_values.N.key` and `.value` [rows, heads, past, head size] for each layer N, and the outputs `logits`
[rows, tokens, vocabulary], `present.N.key` and `.value`. Rows are padded at their right.
"""

import re

import msgspec
from shared_schemas.errors import AttemptFailed
from shared_schemas.models import TensorSpec

from inference_worker.graph import Graph
from inference_worker.tensors import numpy_dtype

_PAST = re.compile(r"past_key_values\.(\d{1,4})\.(key|value)")
_CACHE_DTYPES = ("float16", "float32")


class DecoderForm(msgspec.Struct, frozen=True, kw_only=True):
    """dtype, logits_dtype: as numpy calls them."""

    layers: int
    kv_heads: int
    head_size: int
    dtype: str
    vocabulary: int
    logits_dtype: str
    prunes_logits: bool
    """Whether the logits are those of the last token alone."""

    @property
    def names(self) -> list[tuple[str, str]]:
        """Of the parts of the cache, the input and the output of each."""
        return [(f"past_key_values.{n}.{part}", f"present.{n}.{part}") for n in range(self.layers) for part in _PARTS]

    @property
    def token_bytes(self) -> int:
        """How many bytes of cache one token takes."""
        return 2 * self.layers * self.kv_heads * self.head_size * _ITEM_BYTES[self.dtype]


_PARTS = ("key", "value")
_ITEM_BYTES = {"float16": 2, "float32": 4}


def form_of(graph: Graph) -> DecoderForm:
    """AttemptFailed model_unsupported if the graph has another form."""
    inputs, outputs = ({spec.name: spec for spec in specs} for specs in (graph.inputs, graph.outputs))
    past = [inputs[name] for name in inputs if _PAST.fullmatch(name)]
    logits = outputs.get("logits")
    if not past or logits is None or not logits.shape or len(logits.shape) != 3:
        raise _unsupported("it needs past_key_values.N.key and .value, and the output logits of three dimensions")
    shape, vocabulary = past[0].shape, logits.shape[2]
    if not shape or len(shape) != 4 or not isinstance(shape[1], int) or not isinstance(shape[3], int):
        raise _unsupported("the number of heads and their size must be fixed")
    if not isinstance(vocabulary, int) or logits.dtype not in _CACHE_DTYPES or past[0].dtype not in _CACHE_DTYPES:
        raise _unsupported("logits need a fixed vocabulary, and they and the cache are float16 or float32")
    form = DecoderForm(
        layers=len(past) // 2,
        kv_heads=shape[1],
        head_size=shape[3],
        dtype=str(numpy_dtype(past[0].dtype)),
        vocabulary=vocabulary,
        logits_dtype=str(numpy_dtype(logits.dtype)),
        prunes_logits=logits.shape[1] == 1,
    )
    expected = {name: past[0].dtype for name, _ in form.names} | {"input_ids": "int64", "attention_mask": "int64"}
    given = {spec.name: spec.dtype for spec in graph.inputs}
    if given != expected or any(not _is_cache(spec, form) for spec in past):
        raise _unsupported("its inputs must be input_ids, attention_mask and the cache of each layer, all of one form")
    if not {name for _, name in form.names} <= outputs.keys():
        raise _unsupported("it needs the outputs present.N.key and .value of each layer")
    return form


def _is_cache(spec: TensorSpec, form: DecoderForm) -> bool:
    shape = spec.shape or ()
    return len(shape) == 4 and (shape[1], shape[3]) == (form.kv_heads, form.head_size)


def _unsupported(why: str) -> AttemptFailed:
    return AttemptFailed("model_unsupported", f"this graph of a decoder cannot be run: {why}")
