"""A published model: what it is, which inputs it takes, and how it was trained."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import MalformedId
from shared_schemas.ids import ModelName
from shared_schemas.numbers import whole_number

Task = Literal[
    "image-classification",
    "rerank",
    "text-classification",
    "text-embedding",
    "text-generation",
    "tabular-classification",
    "tabular-regression",
    "tensors",
    "token-classification",
]
Dtype = Literal[
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "string",
]
# Where a model runs: where its worker decides, or on one of these. A model with the wish cuda runs nowhere else.
ModelDevice = Literal["auto", "cpu", "cuda"]
# How the labels of tokens become entities, with the names of Hugging Face.
Aggregation = Literal["none", "simple", "first", "average", "max"]

_REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,62})(@(?P<version>[a-z0-9][a-z0-9._-]{0,31}))?")


class ModelRef(msgspec.Struct, frozen=True):
    """`name@version`; version counts from 1 for each name."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def parse_model_reference(text: str) -> tuple[str, int | str | None]:
    """-> (name, version number | alias | None for the latest)."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise MalformedId("a model is written name, name@version or name@alias")
    version = match["version"]
    if version is None or not version.isdigit():
        return match["name"], version
    number = whole_number(version)
    if number is None:
        raise MalformedId("no model has so many versions")
    return match["name"], number


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output of the ONNX graph.

    shape: a name stands for a dimension that varies, and for the same size wherever an input has it. An empty name
    stands for any size. [] is a scalar, null any number of dimensions.
    """

    name: str
    dtype: Dtype
    shape: tuple[int | str, ...] | None


def batch_axis_of(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str | None:
    """The name of the dimension that may count rows: it is the first of every input and output, and no other. Whether
    a row's answer depends on the other rows is not to be seen here: only who publishes the model can say."""
    shapes = [spec.shape for spec in (*inputs, *outputs)]
    name = shapes[0][0] if inputs and shapes[0] else None
    if not isinstance(name, str) or not name:
        return None
    is_first = all(shape and shape[0] == name and name not in shape[1:] for shape in shapes)
    return name if is_first else None


ColourValue = Annotated[int, Meta(ge=0, le=255)]


class EmbeddingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a model of the task text-embedding makes one vector of a text.

    dimensions: of the vector. pooling: how the worker makes it of the output `last_hidden_state`: the mean over the
    tokens, the state of the first token (cls) or that of the last. null if the graph pools by itself and has an output
    `sentence_embedding`. normalize: whether the worker scales each vector to length 1.
    """

    dimensions: Annotated[int, Meta(ge=1, le=65_536)]
    pooling: Literal["mean", "cls", "last"] | None
    normalize: bool


class RerankSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a model of the task rerank reads a query with a document, and what its score means.

    activation: sigmoid makes a score between 0 and 1 of the model's logit, identity returns the logit. truncation: what
    is cut of a pair that is longer than the context, with the names of Hugging Face: the longer of the two texts until
    both are of one length, then both (longest_first), or the document alone (only_second).
    """

    activation: Literal["sigmoid", "identity"]
    truncation: Literal["longest_first", "only_second"] = "longest_first"


class TokenLabelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a model of the task token-classification joins its tokens, unless a job asks for another way.

    aggregation: with the names of Hugging Face. none: each token alone. simple: neighbours of one label together.
    first, average, max: the tokens of a word first agree on the label of the first token, of the mean scores, or of
    the highest score. ignored_labels: what is left out of the answer.
    """

    aggregation: Aggregation = "simple"
    ignored_labels: tuple[str, ...] = ("O",)


class ImageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a picture becomes the input `pixel_values` of a model.

    height, width: of what the model takes, in pixels. resize: stretch makes the whole picture of that size;
    shortest_edge first resizes the picture so that its shorter side has `shortest_edge` pixels, and then cuts the
    middle out. interpolation: of Pillow, which looks at all pixels where it makes a picture smaller, unless it is
    nearest.
    channels: their number and order; L is grey. layout: NCHW or NHWC, where N is the batch.

    scale, mean, std: a value is (pixel * scale - mean) / std, with a mean and a std for each channel, or none for 0 and
    1. A graph whose input is uint8 gets the pixels from 0 to 255 themselves, so it has none of these. background: the
    colour behind transparent pixels; null ignores transparency, as torchvision and transformers do.
    """

    height: Annotated[int, Meta(ge=1, le=8_192)]
    width: Annotated[int, Meta(ge=1, le=8_192)]
    resize: Literal["stretch", "shortest_edge"] = "stretch"
    shortest_edge: Annotated[int, Meta(ge=1, le=8_192)] | None = None
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"
    channels: Literal["RGB", "BGR", "L"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    scale: float = 1 / 255
    mean: Annotated[tuple[float, ...], Meta(max_length=3)] = ()
    std: Annotated[tuple[float, ...], Meta(max_length=3)] = ()
    background: tuple[ColourValue, ColourValue, ColourValue] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of pixel_values, without the batch."""
        n_channels = 1 if self.channels == "L" else 3
        size = (self.height, self.width)
        return (n_channels, *size) if self.layout == "NCHW" else (*size, n_channels)


class BatchingSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which rows of a model share a run, where the settings of a worker would decide otherwise.

    batchable: false runs each row alone. max_batch: the most rows in one run; the smaller of this and the worker's own
    limit holds. max_wait_ms: how long a batch that is not full waits for more rows, in place of the worker's setting;
    with 0 an idle model starts at once. null leaves both to the worker.
    """

    batchable: bool = True
    max_batch: Annotated[int, Meta(ge=1, le=4096)] | None = None
    max_wait_ms: Annotated[float, Meta(ge=0.0, le=10_000.0)] | None = None


class DecoderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A language model that keeps keys and values of the tokens that it has read, so that each token is read once.

    end_token_ids: tokens that end a text. precision: of the weights. The graph itself shows its layers, its heads and
    its vocabulary.
    """

    end_token_ids: Annotated[tuple[Annotated[int, Meta(ge=0, lt=1 << 31)], ...], Meta(min_length=1, max_length=64)]
    precision: Literal["fp32", "fp16", "int8", "int4"] = "fp32"


class DataFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How the CSV of a training job was read.

    rows: without the skipped ones. skipped_rows: rows that are empty or repeat the header.
    separator: between cells. text_column, label_column: what the model learns from and what it
    predicts, null if there is no such column; the manifest has the features. unused_columns: all
    others. inferred: which of task, text_column, label_column, feature_columns were decided by the
    data, because the job did not name them. notes: what else was decided or looks odd, one sentence
    each.
    """

    rows: int
    skipped_rows: int
    separator: str
    text_column: str | None
    label_column: str | None
    unused_columns: tuple[str, ...]
    inferred: tuple[str, ...]
    notes: tuple[str, ...]


class ModelDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What who publishes a model says about it: the part of its manifest that no file of it shows.

    tokenizer: tokenizer.json of Hugging Face `tokenizers`. labels: class names by output index.
    features: column names by input index. feature_ranges: the smallest and the largest value of each
    feature in the training data; empty if they are not known. target: the column that is predicted.
    context_length: longest input in tokens. batch_axis: of a model of tensors, the first dimension of
    all its inputs and outputs, along which a worker may join the inputs of several jobs; null where
    each input runs alone. embedding: of a model of texts to vectors. rerank: of a model that scores
    documents for a query. token_labels: of a model that labels each token of a text. image: of a model of
    pictures. decoder: of a language model with a cache. batching: which rows share a run; null leaves it
    to the worker. device: where the model runs. threads: how many one run of it uses on the CPU; null
    leaves it to the worker. metrics: on held-out rows; baseline: the same for the trivial predictor
    (majority class, uniform tokens, mean target).
    """

    task: Task
    tokenizer: ArtifactRef | None = None
    labels: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    feature_ranges: tuple[tuple[float, float], ...] = ()
    target: str | None = None
    context_length: int | None = None
    batch_axis: str | None = None
    embedding: EmbeddingSpec | None = None
    rerank: RerankSpec | None = None
    token_labels: TokenLabelSpec | None = None
    image: ImageSpec | None = None
    decoder: DecoderSpec | None = None
    batching: BatchingSpec | None = None
    device: ModelDevice = "auto"
    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    metrics: dict[str, float | None] = {}
    baseline: dict[str, float | None] = {}


class ModelManifest(ModelDescription, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """All that an inference worker needs to run a model, and how the model was trained.

    onnx: one file without external data. opset: of the standard operators. data_sha256, code_sha256:
    digests of the CSV and of the recipe. weights_sha256: of the trained parameters; equal for equal
    seeds on a CPU. data: how the CSV was read, null in a model of an older version, and in one that
    was not trained here.
    """

    model_type: str
    onnx: ArtifactRef
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int = 0
    hyperparameters: dict[str, Any] = {}
    seed: int = 0
    data_sha256: str = ""
    code_sha256: str = ""
    weights_sha256: str = ""
    opset: int = 0
    data: DataFacts | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One published version."""

    name: ModelName
    version: Annotated[int, Meta(ge=1)]
    job_id: str
    created_at: datetime
    aliases: tuple[str, ...]
    manifest: ModelManifest

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.name, self.version)


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a training job returns. model: the reference it was published under, null for a replay, which publishes
    nothing. steps: optimiser steps done."""

    model: str | None
    task: Task
    metrics: dict[str, float | None]
    baseline: dict[str, float | None]
    steps: int
    weights_sha256: str
    onnx_sha256: str


class PublishingResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a publishing job returns. model: the reference it was published under, null for a replay,
    which publishes nothing. ran: whether the model was run once; false for a model of tensors that
    takes no tensors of ones."""

    model: str | None
    task: Task
    onnx: ArtifactRef
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    ran: bool
