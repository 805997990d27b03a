"""Small real ONNX graphs with known answers, and what is needed to publish them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from shared_schemas.errors import ModelNotFound
from shared_schemas.models import Model, ModelManifest, Task, TensorSpec
from shared_schemas.store.files import ArtifactStore
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

Floats = NDArray[np.float32]
SPECIAL_TOKENS = ["<pad>", "<unk>", "<bos>", "<eos>"]
BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_FEATURES = (TensorSpec(name="features", dtype="float32", shape=("batch", "n")),)
_TEXT = (
    TensorSpec(name="input_ids", dtype="int64", shape=("batch", "length")),
    TensorSpec(name="attention_mask", dtype="int64", shape=("batch", "length")),
)


def linear(weights: Floats, bias: Floats) -> bytes:
    """features [batch, n] -> logits [batch, k] = features @ weights [n, k] + bias [k]."""
    nodes = [helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"])]
    return _save(
        nodes, [_features(len(weights))], [_floats("logits", ["batch", len(bias)])], weights=weights, bias=bias
    )


def regression(weights: Floats) -> bytes:
    """features [batch, n] -> prediction [batch] = features @ weights [n]."""
    nodes = [helper.make_node("MatMul", ["features", "weights"], ["prediction"])]
    return _save(nodes, [_features(len(weights))], [_floats("prediction", ["batch"])], weights=weights)


def logarithm(n_features: int) -> bytes:
    """features [batch, n] -> prediction [batch] = log of their sum: NaN for a negative sum."""
    axes = np.array([1], dtype=np.int64)
    nodes = [
        helper.make_node("ReduceSum", ["features", "axes"], ["sum"], keepdims=0),
        helper.make_node("Log", ["sum"], ["prediction"]),
    ]
    return _save(nodes, [_features(n_features)], [_floats("prediction", ["batch"])], axes=axes)


def mlp(sizes: Sequence[int], *, seed: int = 0) -> bytes:
    """features [batch, sizes[0]] -> logits [batch, sizes[-1]], ReLU between."""
    rng = np.random.default_rng(seed)
    nodes, constants, name = [], {}, "features"
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        constants[f"w{i}"] = (rng.standard_normal((n_in, n_out)) / n_in**0.5).astype(np.float32)
        constants[f"b{i}"] = np.zeros(n_out, dtype=np.float32)
        is_last = i == len(sizes) - 2
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], ["logits" if is_last else f"sum{i}"]))
        if not is_last:
            nodes.append(helper.make_node("Relu", [f"sum{i}"], [f"relu{i}"]))
        name = f"relu{i}"
    return _save(nodes, [_features(sizes[0])], [_floats("logits", ["batch", sizes[-1]])], **constants)


def int4(n_in: int, n_out: int, *, seed: int = 0) -> bytes:
    """features [batch, n_in] -> logits [batch, n_out], with weights of 4 bits in blocks of 32."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 256, (n_out, n_in // 32, 16)).astype(np.uint8)
    scales = (rng.standard_normal(n_out * n_in // 32) / n_in**0.5).astype(np.float32)
    product = helper.make_node(
        "MatMulNBits",
        ["features", "weights", "scales"],
        ["logits"],
        domain="com.microsoft",
        K=n_in,
        N=n_out,
        bits=4,
        block_size=32,
    )
    outputs = [_floats("logits", ["batch", n_out])]
    return _save([product], [_features(n_in)], outputs, weights=weights, scales=scales)


def int8_dynamic(n_in: int, n_out: int, *, seed: int = 0) -> bytes:
    """features [batch, n_in] -> logits [batch, n_out]. The features are quantised with one scale for the whole batch,
    as `quantize_dynamic` of ONNX Runtime does it."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["features"], ["quantised", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["quantised", "weights", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "weight_scale"], ["logits"]),
    ]
    weights = rng.integers(-127, 128, (n_in, n_out)).astype(np.int8)
    weight_scale = np.array(1 / 127 / n_in**0.5, dtype=np.float32)
    outputs = [_floats("logits", ["batch", n_out])]
    return _save(nodes, [_features(n_in)], outputs, weights=weights, weight_scale=weight_scale)


def normed(n_in: int, n_out: int, *, seed: int = 0) -> bytes:
    """features [batch, n_in] -> logits [batch, n_out]: a layer norm, a product, GELU, another product."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("LayerNormalization", ["features", "gain"], ["normed"]),
        helper.make_node("Gemm", ["normed", "first"], ["hidden"]),
        helper.make_node("Gelu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["logits"]),
    ]
    constants = {
        "gain": np.ones(n_in, dtype=np.float32),
        "first": (rng.standard_normal((n_in, 100)) / n_in**0.5).astype(np.float32),
        "second": (rng.standard_normal((100, n_out)) / 10).astype(np.float32),
    }
    return _save(nodes, [_features(n_in)], [_floats("logits", ["batch", n_out])], **constants)


def convolution(side: int, n_out: int, *, seed: int = 0) -> bytes:
    """features [batch, side * side] -> logits [batch, n_out]: of an image, through one layer of 3 x 3 filters."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Reshape", ["features", "image"], ["pixels"]),
        helper.make_node("Conv", ["pixels", "filters"], ["seen"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["seen"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
    ]
    constants = {
        "image": np.array([-1, 1, side, side], dtype=np.int64),
        "filters": rng.standard_normal((8, 1, 3, 3)).astype(np.float32),
        "weights": (rng.standard_normal((8 * side * side, n_out)) / side).astype(np.float32),
    }
    return _save(nodes, [_features(side * side)], [_floats("logits", ["batch", n_out])], **constants)


def product64(n_in: int, n_out: int, *, seed: int = 0) -> bytes:
    """features [batch, n_in] -> logits [batch, n_out] in float64."""
    weights = np.random.default_rng(seed).standard_normal((n_in, n_out)) / n_in**0.5
    nodes = [helper.make_node("Gemm", ["features", "weights"], ["logits"])]
    make: Callable[..., onnx.ValueInfoProto] = helper.make_tensor_value_info
    inputs = [make("features", TensorProto.DOUBLE, ["batch", n_in])]
    return _save(nodes, inputs, [make("logits", TensorProto.DOUBLE, ["batch", n_out])], weights=weights)


def bag_of_words(embeddings: Floats, *, output: str = "logits") -> bytes:
    """input_ids [batch, length] -> logits [batch, k]: the mean of embeddings [vocabulary, k] under the mask."""
    axes, last = np.array([1], dtype=np.int64), np.array([2], dtype=np.int64)
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["words"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["words", "mask3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axes"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axes"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], [output]),
    ]
    outputs = [_floats(output, ["batch", embeddings.shape[1]])]
    return _save(nodes, _text_inputs(), outputs, embeddings=embeddings, axes=axes, last=last)


def encoder(table: Floats, *, dtype: int = TensorProto.FLOAT) -> bytes:
    """input_ids [batch, length] -> last_hidden_state [batch, length, width + 2]: the row of the table for each token,
    then the token's type, then the length of the run. The run fails for an id outside the table."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Shape", ["input_ids"], ["length"], start=1),
        helper.make_node("Cast", ["length"], ["run_length"], to=TensorProto.FLOAT),
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Expand", ["run_length", "shape"], ["lengths"]),
        helper.make_node("Unsqueeze", ["types", "last"], ["types3"]),
        helper.make_node("Unsqueeze", ["lengths", "last"], ["lengths3"]),
        helper.make_node("Concat", ["rows", "types3", "lengths3"], ["states"], axis=2),
        helper.make_node("Cast", ["states"], ["last_hidden_state"], to=dtype),
    ]
    make: Callable[..., onnx.ValueInfoProto] = helper.make_tensor_value_info
    inputs = [*_text_inputs(), make("token_type_ids", TensorProto.INT64, ["batch", "length"])]
    outputs = [make("last_hidden_state", dtype, ["batch", "length", table.shape[1] + 2])]
    return _save(nodes, inputs, outputs, table=table, last=np.array([2], dtype=np.int64))


def pair_scorer(table: Floats) -> bytes:
    """input_ids [batch, length] -> logits [batch, 1]: the sum over the tokens of table [vocabulary] by token id, ten
    times as much for tokens of type 1. The run fails for an id outside the table."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["values"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["types", "nine"], ["types9"]),
        helper.make_node("Add", ["types9", "one"], ["weights"]),
        helper.make_node("Mul", ["values", "mask"], ["kept"]),
        helper.make_node("Mul", ["kept", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["logits"], keepdims=1),
    ]
    make: Callable[..., onnx.ValueInfoProto] = helper.make_tensor_value_info
    inputs = [*_text_inputs(), make("token_type_ids", TensorProto.INT64, ["batch", "length"])]
    numbers = {"nine": np.array(9, dtype=np.float32), "one": np.array(1, dtype=np.float32)}
    constants = {"table": table, "axes": np.array([1], dtype=np.int64), **numbers}
    return _save(nodes, inputs, [_floats("logits", ["batch", 1])], **constants)


def mean_colour(shape: Sequence[int | str], *, dtype: int = TensorProto.FLOAT, axes: Sequence[int] = (2, 3)) -> bytes:
    """pixel_values [batch, *shape] -> logits [batch, channels]: the mean of each channel. axes: of the pixels."""
    nodes = [
        helper.make_node("Cast", ["pixel_values"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], ["logits"], keepdims=0),
    ]
    make: Callable[..., onnx.ValueInfoProto] = helper.make_tensor_value_info
    inputs = [make("pixel_values", dtype, ["batch", *shape])]
    return _save(nodes, inputs, [_floats("logits", ["batch", "channels"])], axes=np.array(axes, dtype=np.int64))


def bigram(table: Floats) -> bytes:
    """input_ids [batch, length] -> logits [batch, length, vocabulary]: the row of the table for
    each token. The run fails for an id outside the table."""
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["logits"], axis=0)]
    return _save(nodes, _text_inputs(), [_floats("logits", ["batch", "length", table.shape[1]])], table=table)


def running_sum(table: Floats) -> bytes:
    """As bigram, but each position has the sum over itself and all positions before it, so the
    model is causal and has a memory."""
    axis = np.array(1, dtype=np.int64)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("CumSum", ["rows", "axis"], ["logits"]),
    ]
    outputs = [_floats("logits", ["batch", "length", table.shape[1]])]
    return _save(nodes, _text_inputs(), outputs, table=table, axis=axis)


def endless_loop(n_features: int) -> bytes:
    """features [batch, n] -> prediction [batch], after a loop of 2**62 turns."""
    return _looping(n_features, [], turns=np.array(2**62))


def long_loop(n_features: int) -> bytes:
    """features [batch, n] -> prediction [batch], after a loop of as many turns as the largest first feature says."""
    nodes = [
        helper.make_node("Gather", ["features", "zero"], ["each"], axis=1),
        helper.make_node("ReduceMax", ["each"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
    ]
    return _looping(n_features, nodes, zero=np.array(0, dtype=np.int64))


def _looping(n_features: int, nodes: list[onnx.NodeProto], **constants: NDArray[Any]) -> bytes:
    """nodes: they or the constants give `turns`."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["value"], ["value_next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            _floats("value", ["batch"]),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), _floats("value_next", ["batch"])],
    )
    nodes = [
        *nodes,
        helper.make_node("ReduceSum", ["features", "axes"], ["sum"], keepdims=0),
        helper.make_node("Loop", ["turns", "yes", "sum"], ["prediction"], body=body),
    ]
    constants |= {"axes": np.array([1], dtype=np.int64), "yes": np.array(True)}
    return _save(nodes, [_features(n_features)], [_floats("prediction", ["batch"])], **constants)


def with_external_data(model: bytes, folder: Path) -> bytes:
    """The same model with its tensors moved into a file beside it."""
    path = folder / "external.onnx"
    onnx.save(onnx.load_from_string(model), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path.read_bytes()


def byte_tokenizer(lines: Sequence[str] = (), *, vocabulary_size: int = 260) -> bytes:
    """tokenizer.json of a byte-level BPE: all 256 bytes, the four special tokens, and the merges
    learnt from `lines`."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer.to_str().encode()


def word_tokenizer(words: Sequence[str]) -> bytes:
    """tokenizer.json of a BERT: [PAD] is 0, [UNK] 1, [CLS] 2, [SEP] 3, and the words follow. A text becomes [CLS], its
    words, [SEP]; a pair [CLS], words, [SEP], and of type 1, words, [SEP]."""
    vocabulary = {token: i for i, token in enumerate([*BERT_TOKENS, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(BERT_TOKENS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer.to_str().encode()


def a_model(
    store: ArtifactStore,
    onnx_file: bytes,
    *,
    task: Task = "tabular-classification",
    name: str = "model",
    version: int = 1,
    labels: Sequence[str] = (),
    features: Sequence[str] = (),
    tokenizer: bytes | None = None,
    context_length: int | None = None,
    **more: Any,
) -> Model:
    """Put the files into the store, and describe the model as the registry would. more: other fields of the
    manifest."""
    output = "prediction" if task == "tabular-regression" else "logits"
    manifest = ModelManifest(
        task=task,
        model_type="test",
        onnx=store.put_bytes(onnx_file),
        inputs=_FEATURES if tokenizer is None else _TEXT,
        outputs=(TensorSpec(name=output, dtype="float32", shape=("batch", "n")),),
        tokenizer=None if tokenizer is None else store.put_bytes(tokenizer),
        labels=tuple(labels),
        features=tuple(features),
        context_length=context_length,
        **more,
    )
    made_by = "training-01arz3ndektsv4rrffq69g5fav"
    return Model(
        name=name, version=version, job_id=made_by, created_at=datetime.now(UTC), aliases=(), manifest=manifest
    )


class Published:
    """The models of a test. As in ModelRegistry.resolve, a name is the newest version, and
    name@version is one version."""

    def __init__(self, *published: Model) -> None:
        self._models = list(published)
        self.n_lookups = 0

    def add(self, model: Model) -> None:
        self._models.append(model)

    async def resolve(self, model_id: str) -> Model:
        self.n_lookups += 1
        found = [model for model in self._models if model_id in (model.name, str(model.ref))]
        if not found:
            raise ModelNotFound("no such model is published")
        return found[-1]


def _features(n: int) -> onnx.ValueInfoProto:
    return _floats("features", ["batch", n])


def _floats(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _text_inputs() -> list[onnx.ValueInfoProto]:
    make: Callable[..., onnx.ValueInfoProto] = helper.make_tensor_value_info
    return [make(spec.name, TensorProto.INT64, spec.shape) for spec in _TEXT]


def _save(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    **constants: NDArray[Any],
) -> bytes:
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()
