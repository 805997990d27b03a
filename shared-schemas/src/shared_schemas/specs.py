"""What a job is to do: the bodies of `POST /jobs/<kind>`, one Struct for each row of
`kinds.JobKind`.

The same Struct is the body that a client sends, the schema in OpenAPI and the spec that a worker
reads. msgspec checks the bounds while it decodes. Times are RFC 3339 with an offset.

No other module depends on the kind of a spec. It asks the spec what it refers to: see JobOptions.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import msgspec
from msgspec import Meta

from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import SpecRejected
from shared_schemas.given_manifest import GivenManifest
from shared_schemas.ids import ModelName
from shared_schemas.kinds import JobKind
from shared_schemas.models import Aggregation
from shared_schemas.retry import RetryPolicy

Tag = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z", max_length=64)]
PathText = Annotated[str, Meta(min_length=1, max_length=1024)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=256)]
Seed = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Duration = Annotated[float, Meta(gt=0.0, le=30 * 86_400.0)]


_NO_FILES: Mapping[str, ArtifactRef] = {}


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

    # What a job of this kind refers to. A kind with such fields overrides these.
    # The names of the fields with files under the data root.
    path_fields: ClassVar[tuple[str, ...]] = ()
    # The field with the id of a job of the same kind, from whose last checkpoint this job continues.
    source_field: ClassVar[str | None] = None
    # The field with a published model, which the gateway pins to a version, and the fields with the input of that model
    # and with its InferenceParameters.
    model_field: ClassVar[str | None] = None
    input_field: ClassVar[str | None] = None
    parameters_field: ClassVar[str | None] = None
    # The field with the name of the recipe that a worker runs.
    recipe_field: ClassVar[str | None] = None
    # An example of a body, for the OpenAPI document.
    example: ClassVar[dict[str, Any]] = {}

    @property
    def subject(self) -> str:
        """One word for the job in a listing."""
        return self.model or ""

    @property
    def headline(self) -> str:
        """A few words for the job: what it does, and with what."""
        return self.subject

    @property
    def source(self) -> str | None:
        return None if self.source_field is None else getattr(self, self.source_field)

    @property
    def recipe(self) -> str | None:
        return None if self.recipe_field is None else getattr(self, self.recipe_field)

    @classmethod
    def structs_within(cls, fields: Mapping[str, Any]) -> dict[str, type[msgspec.Struct]]:
        """fields: of a spec, not decoded. -> the Struct of each field whose type depends on other
        fields."""
        return {}

    @property
    def model(self) -> str | None:
        return None if self.model_field is None else getattr(self, self.model_field)

    @property
    def files(self) -> Mapping[str, ArtifactRef]:
        """The files of the artifact store that the job needs, by JSON pointers into the spec."""
        return _NO_FILES

    def check_source(self, source: "JobOptions") -> None:
        """source: the spec of the job that `source_field` names. SpecRejected if this job cannot
        continue from it."""

    def pinned(self, *, queue: str, model: str | None, new_seed: int) -> Self:
        """The spec with all that a replay must repeat: the queue, the version of the model, and a
        seed. new_seed: for a spec that has none."""
        versions = {} if self.model_field is None else {self.model_field: model}
        return msgspec.structs.replace(self, queue=queue, **versions)


HyperparameterName = Annotated[str, Meta(min_length=1, max_length=64)]


class Hyperparameters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Hyperparameters of the built-in recipes. None: the default of the recipe. Lengths are in
    tokens, fractions are parts of 1.

    max_steps ends training even before all epochs are done. width and layers: the model dimension
    and blocks of a transformer, or the hidden width and hidden layers of an mlp.
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


# The hyperparameters of each recipe that comes with the training worker. Only workers know other recipes.
BUILT_IN_RECIPES: dict[str, type[msgspec.Struct]] = {"mlp": Hyperparameters, "transformer": Hyperparameters}


class TrainingSpec(JobOptions, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="training"):
    """Train a model on a CSV and publish it.

    model_type: the recipe; transformer and mlp are built in. hyperparameters: of the recipe, by
    name; a Struct is converted to a dictionary. Those of a built-in recipe are checked whenever a
    spec is made. data_path, validation_path: CSV files under the data root, written with or without
    that root. Columns that are not named are inferred if the data leaves no doubt (docs/data.md).
    output_model: the name under which the model is published; `<model_type>-<file name>` by
    default. resume_from: a training job from whose last checkpoint this job continues, with its
    task, labels, features, tokenizer and model shape. seed: random if it is not given.
    """

    model_type: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\Z", max_length=63)]
    data_path: PathText
    task: Literal["classification", "regression", "language-modeling"] | None = None
    text_column: ColumnName | None = None
    label_column: ColumnName | None = None
    feature_columns: Annotated[tuple[ColumnName, ...], Meta(max_length=4096)] = ()
    validation_path: PathText | None = None
    hyperparameters: Annotated[dict[HyperparameterName, Any], Meta(max_length=64)] = {}
    seed: Seed | None = None
    output_model: ModelName | None = None
    resume_from: Annotated[str, Meta(max_length=128)] | None = None

    path_fields = ("data_path", "validation_path")
    source_field = "resume_from"
    recipe_field = "model_type"
    example: ClassVar = {"model_type": "transformer", "data_path": "/data/train.csv"}

    def __post_init__(self) -> None:
        given: Any = self.hyperparameters
        if isinstance(given, msgspec.Struct):
            given = msgspec.to_builtins(given)
        struct = BUILT_IN_RECIPES.get(self.model_type)
        if given and struct is not None:
            given = msgspec.to_builtins(_hyperparameters(given, struct))
        if given is not self.hyperparameters:
            msgspec.structs.force_setattr(self, "hyperparameters", given)

    @classmethod
    def structs_within(cls, fields: Mapping[str, Any]) -> dict[str, type[msgspec.Struct]]:
        name = fields.get("model_type")
        struct = BUILT_IN_RECIPES.get(name) if isinstance(name, str) else None
        return {} if struct is None else {"hyperparameters": struct}

    @property
    def subject(self) -> str:
        return self.model_type

    @property
    def headline(self) -> str:
        return f"{self.model_type} on {self.data_path}"

    def check_source(self, source: JobOptions) -> None:
        assert isinstance(source, TrainingSpec)  # noqa: S101 - of the same kind
        if self.model_type != source.model_type:
            raise SpecRejected("the job in resume_from trained another model_type", pointer="/model_type")
        if None not in (self.task, source.task) and self.task != source.task:
            raise SpecRejected("the job in resume_from had another task", pointer="/task")

    def pinned(self, *, queue: str, model: str | None, new_seed: int) -> Self:
        return msgspec.structs.replace(self, queue=queue, seed=new_seed if self.seed is None else self.seed)


def _hyperparameters(given: dict[str, Any], struct: type[msgspec.Struct]) -> msgspec.Struct:
    """ValueError, which msgspec turns into a ValidationError with the place in the spec."""
    try:
        return msgspec.convert(given, struct)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise ValueError(f"{text} - at `$.hyperparameters{path or '`'}") from None


class InferenceParameters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Sampling of a language model; temperature 0 always takes the most likely token. top_k: of a
    language model, sample from the k most likely tokens; of a classifier, how many scores to
    return, all by default. dimensions: of an embedding model, how many numbers of each vector to
    return, all by default. tensor_format: of a model of tensors, whether answers have numbers in
    `data` or bytes in `base64`. aggregation: of a token classifier, how tokens become entities; as
    the manifest says by default. reproducible: whether answers must not depend on what runs beside
    them, so that a replay has to repeat every digit."""

    temperature: Annotated[float, Meta(ge=0.0, le=10.0)] = 1.0
    top_k: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=8_192)] = 64
    seed: Seed | None = None
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=8)] = ()
    dimensions: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    tensor_format: Literal["data", "base64"] = "data"
    aggregation: Aggregation | None = None
    reproducible: bool = False


class InferenceSpec(JobOptions, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="inference"):
    """Run a published model.

    model_id: `name`, `name@version`, `name@alias` or the id of the training job that made the
    model. The gateway pins it to a version at submission. input_data: one input (a text, an object
    of features, a list of numbers) or a list of inputs, which are one job together. cache: whether
    the result may be that of an earlier job with the same model, input and parameters, and may be
    given to later ones.
    """

    model_id: Annotated[str, Meta(min_length=1, max_length=128)]
    input_data: Any
    parameters: InferenceParameters = InferenceParameters()
    cache: bool = False

    model_field = "model_id"
    input_field = "input_data"
    parameters_field = "parameters"
    example: ClassVar = {"model_id": "model_123", "input_data": "sample text"}

    def pinned(self, *, queue: str, model: str | None, new_seed: int) -> Self:
        parameters = self.parameters
        if parameters.seed is None:
            parameters = msgspec.structs.replace(parameters, seed=new_seed)
        return msgspec.structs.replace(self, queue=queue, model_id=model, parameters=parameters)


class PublishingSpec(JobOptions, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="publishing"):
    """Check an ONNX file and publish it as the next version of a model.

    name: of the model. onnx, and the files in the manifest: what `PUT /files/{sha256}` answered.
    manifest: what the file does not show; the task `tensors` needs nothing of it.
    """

    name: ModelName
    onnx: ArtifactRef
    manifest: GivenManifest = GivenManifest(task="tensors")

    example: ClassVar = {"name": "resnet", "onnx": {"sha256": "0" * 64, "n_bytes": 102_442_450}}

    @property
    def subject(self) -> str:
        return self.name

    @property
    def files(self) -> dict[str, ArtifactRef]:
        described = ((name, getattr(self.manifest, name)) for name in self.manifest.__struct_fields__)
        found = {f"/manifest/{name}": value for name, value in described if isinstance(value, ArtifactRef)}
        return {"/onnx": self.onnx, **found}


# For each kind, the Struct that is tagged with its name.
SPECS: dict[JobKind, type[JobOptions]] = {
    JobKind(str(spec.__struct_config__.tag)): spec for spec in JobOptions.__subclasses__()
}
_KIND_OF = {spec: kind for kind, spec in SPECS.items()}
if TYPE_CHECKING:
    JobSpec = JobOptions
else:
    JobSpec = reduce(or_, SPECS.values())


def kind_of_spec(spec: JobSpec) -> JobKind:
    return _KIND_OF[type(spec)]
