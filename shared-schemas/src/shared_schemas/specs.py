"""What is asked of a worker: the bodies of POST /jobs/training and POST /jobs/inference.

The same Structs are the body a client sends, the schema in OpenAPI and the spec a worker reads: there is
no second copy. Bounds are checked by msgspec while decoding. Times are RFC 3339 with an offset.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared_schemas.ids import ModelName
from shared_schemas.retry import RetryPolicy

Tag = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z", max_length=64)]
PathText = Annotated[str, Meta(min_length=1, max_length=1024)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=256)]
Seed = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Duration = Annotated[float, Meta(gt=0.0, le=30 * 86_400.0)]


class Priority(StrEnum):
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class JobOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Options of every job. All are optional.

    queue: a queue of the job's kind; the kind's own by default.
    run_at: not before this time.
    timeout_s: how long one attempt may run; start_deadline_s: how long after submission the first attempt
    may begin; result_ttl_s: how long the finished job and its events are kept (7 days by default).
    depends_on: job ids that must succeed first; if one does not, this job is cancelled.
    """

    queue: Annotated[str, Meta(max_length=64)] | None = None
    priority: Priority = Priority.NORMAL
    run_at: Annotated[datetime, Meta(tz=True)] | None = None
    timeout_s: Duration | None = None
    start_deadline_s: Duration | None = None
    retry: RetryPolicy = RetryPolicy()
    result_ttl_s: Annotated[float, Meta(ge=1.0, le=365 * 86_400.0)] = 7 * 86_400.0
    tags: Annotated[tuple[Tag, ...], Meta(max_length=16)] = ()
    metadata: Annotated[dict[str, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)] = {}
    depends_on: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=16)] = ()


class Hyperparameters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """None means: the recipe's own default. Lengths are in tokens, fractions of 1.

    max_steps ends training early, whatever epochs says. width and layers shape either model type: the model
    dimension and blocks of a transformer, the hidden width and hidden layers of an mlp.
    """

    epochs: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    max_steps: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    batch_size: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    learning_rate: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    weight_decay: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    warmup_fraction: Annotated[float, Meta(ge=0.0, le=0.9)] | None = None
    dropout: Annotated[float, Meta(ge=0.0, lt=1.0)] | None = None
    width: Annotated[int, Meta(ge=4, le=8_192)] | None = None
    layers: Annotated[int, Meta(ge=1, le=96)] | None = None
    heads: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_length: Annotated[int, Meta(ge=8, le=8_192)] | None = None
    vocabulary_size: Annotated[int, Meta(ge=260, le=262_144)] | None = None
    validation_fraction: Annotated[float, Meta(gt=0.0, le=0.5)] | None = None
    checkpoint_every_s: Annotated[float, Meta(gt=0.0, le=86_400.0)] | None = None


class TrainingSpec(JobOptions, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="training"):
    """Train a model on a CSV and publish it.

    model_type: the recipe, built in are transformer and mlp. data_path, validation_path: CSV files under the
    data root, written with or without it. Columns that are not named are inferred where there is no doubt
    (docs/data.md). output_model: the name to publish under; `<model_type>-<file name>` by default. resume_from:
    a training job whose last checkpoint is the starting point: task, labels, features, tokenizer and the shape
    of the model are its own. seed: drawn at submission where it is not given.
    """

    model_type: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\Z", max_length=63)]
    data_path: PathText
    task: Literal["classification", "regression", "language-modeling"] | None = None
    text_column: ColumnName | None = None
    label_column: ColumnName | None = None
    feature_columns: Annotated[tuple[ColumnName, ...], Meta(max_length=4096)] = ()
    validation_path: PathText | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    seed: Seed | None = None
    output_model: ModelName | None = None
    resume_from: Annotated[str, Meta(max_length=128)] | None = None


class InferenceParameters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Sampling of a language model; temperature 0 takes the most likely token each time. top_k of a
    classifier: how many scores to return, all by default."""

    temperature: Annotated[float, Meta(ge=0.0, le=10.0)] = 1.0
    top_k: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=8_192)] = 64
    seed: Seed | None = None
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=8)] = ()


class InferenceSpec(JobOptions, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="inference"):
    """Run a published model.

    model_id: `name`, `name@version`, `name@alias` or the id of the training job that made it; the gateway
    pins it to a version at submission. input_data: one input (a text, an object of features, a list of
    numbers) or a list of inputs, all of which are one job.
    """

    model_id: Annotated[str, Meta(min_length=1, max_length=128)]
    input_data: Any
    parameters: InferenceParameters = InferenceParameters()


JobSpec = TrainingSpec | InferenceSpec
