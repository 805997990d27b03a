"""For each task, the tensors that its models take and give in this protocol, and the jobs behind them. Pure.

A model of the task `tensors` has the tensors of its graph. The other tasks take rows: a request with n rows is one job
with a list of n inputs. A task that is not in FORMS has no form in this protocol.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from shared_schemas.errors import AttemptFailed, InvalidInput
from shared_schemas.inputs.tensor_bytes import parts_of
from shared_schemas.inputs.tensors import TensorBytes, tensors_of
from shared_schemas.models import Dtype, ModelManifest, TensorSpec

from gateway.surfaces.v2.datatypes import DATATYPE_OF, Datatype, bytes_of_values, in_json, values_of_bytes
from gateway.surfaces.v2.request import Sent, refused
from gateway.surfaces.v2.schemas import OipTensor

_ROWS = "rows"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An output of a finished job. One of data, values and binary is not None. data: JSON. values: may be not finite.
    is_batched: whether its first dimension counts rows. labels: of the values of a row, if the model has any."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    data: msgspec.Raw | None = None
    values: Sequence[Any] | None = None
    binary: bytes | None = None
    is_batched: bool = False
    labels: tuple[str, ...] = ()

    def as_values(self) -> Sequence[Any]:
        """A float that is not finite may be a text."""
        if self.values is not None:
            return self.values
        if self.binary is not None:
            return values_of_bytes(self.binary, self.dtype)
        found: list[Any] = msgspec.json.decode(self.data or b"[]")
        return found

    def as_bytes(self) -> bytes:
        return self.binary if self.binary is not None else bytes_of_values(self.as_values(), self.dtype)

    def as_json(self) -> Any:
        return self.data if self.data is not None else in_json(self.as_values())


class Form(Protocol):
    """parameters: the names of those parameters of a job that its models have a use for."""

    inputs: tuple[OipTensor, ...]
    outputs: tuple[OipTensor, ...]
    parameters: frozenset[str]

    def input_data(self, sent: Sequence[Sent]) -> Any:
        """The input of the job. ProblemError, or InvalidInput with a pointer into it."""

    def n_rows(self, sent: Sequence[Sent]) -> int:
        """How many inferences the request counts as."""

    def outputs_of(self, result: msgspec.Raw) -> dict[str, Given]:
        """By name, in the order of the model. AttemptFailed if a row has an error instead of an answer."""

    def job_parameters(self, *, any_binary: bool) -> dict[str, Any]:
        """any_binary: whether the bytes of an output are wanted."""


class _TensorOutput(msgspec.Struct, frozen=True):
    """data: empty if there is base64."""

    dtype: Dtype
    shape: tuple[int, ...]
    data: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    base64: bytes | None = None


class _TensorOutputs(msgspec.Struct, frozen=True):
    outputs: dict[str, _TensorOutput]


_tensor_outputs = msgspec.json.Decoder(_TensorOutputs)


class TensorsForm:
    """As Form. Inputs and answers are those of the job, in other words."""

    parameters = frozenset[str]()

    def __init__(self, manifest: ModelManifest) -> None:
        self.inputs, self.outputs = tuple(map(_shown, manifest.inputs)), tuple(map(_shown, manifest.outputs))
        self._is_batched, self._labels = manifest.batch_axis is not None, manifest.labels

    def input_data(self, sent: Sequence[Sent]) -> Any:
        _check_datatypes(sent, {each.name: (each.datatype,) for each in self.inputs})
        return {each.name: each.tensor for each in sent}

    def n_rows(self, sent: Sequence[Sent]) -> int:
        return sent[0].n_rows if self._is_batched else 1

    def outputs_of(self, result: msgspec.Raw) -> dict[str, Given]:
        found = _tensor_outputs.decode(result).outputs
        return {
            name: Given(
                name=name,
                dtype=each.dtype,
                shape=each.shape,
                data=each.data or None,
                binary=each.base64,
                is_batched=self._is_batched,
                labels=self._labels,
            )
            for name, each in found.items()
        }

    def job_parameters(self, *, any_binary: bool) -> dict[str, Any]:
        return {"tensor_format": "base64"} if any_binary else {}


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """An output with a part of each answer. size: of the part; None if it is one value. labels: of its values, if they
    have any. of: takes the part out of an answer; a number that is null was not finite."""

    name: str
    dtype: Dtype
    size: int | None = None
    labels: tuple[str, ...] = ()
    of: Callable[[Any], Any]


class RowsForm:
    """As Form. takes: the input, of n rows, once for each dtype that it may have."""

    def __init__(self, takes: Sequence[TensorSpec], gives: Sequence[Column], *parameters: str) -> None:
        self._takes, self._gives, self.parameters = takes, gives, frozenset(parameters)
        self.inputs: tuple[OipTensor, ...] = (_shown(takes[0]),)
        self.outputs: tuple[OipTensor, ...] = tuple(
            OipTensor(name=each.name, datatype=DATATYPE_OF[each.dtype], shape=(-1, *_sizes(each))) for each in gives
        )

    def input_data(self, sent: Sequence[Sent]) -> Any:
        _check_datatypes(sent, {self._takes[0].name: [DATATYPE_OF[each.dtype] for each in self._takes]})
        given = {each.name: each.tensor for each in sent}
        dtype = given.get(self._takes[0].name, {}).get("dtype")
        spec = next((each for each in self._takes if each.dtype == dtype), self._takes[0])
        tensor = tensors_of(given, (spec,))[spec.name]
        values = values_of_bytes(tensor.data, spec.dtype) if isinstance(tensor, TensorBytes) else tensor.values
        if not tensor.shape[0]:
            raise InvalidInput(f"the input {spec.name!r} has no rows", pointer=f"/{spec.name}")
        if len(tensor.shape) == 1:
            return values
        if not all(map(math.isfinite, values)):
            raise InvalidInput(f"the input {spec.name!r} has a number that is not finite", pointer=f"/{spec.name}")
        size = tensor.shape[1]
        return [values[i * size : (i + 1) * size] for i in range(tensor.shape[0])]

    def n_rows(self, sent: Sequence[Sent]) -> int:
        return sent[0].n_rows

    def outputs_of(self, result: msgspec.Raw) -> dict[str, Given]:
        answers = msgspec.json.decode(result)
        for row, answer in enumerate(answers):
            if "error" in answer:
                raise AttemptFailed(answer["error"]["code"], f"row {row}: {answer['error']['message']}")
        return {each.name: _column(each, answers) for each in self._gives}

    def job_parameters(self, *, any_binary: bool) -> dict[str, Any]:
        return {}


class ImagesForm(RowsForm):
    """As Form. A row is the file of an image: as it is in binary data, and in base64 in JSON."""

    def input_data(self, sent: Sequence[Sent]) -> list[bytes] | list[str]:
        [spec] = self._takes
        tensor = next((each.tensor for each in sent if each.name == spec.name), None)
        at = f"/{spec.name}"
        if tensor is None:
            raise InvalidInput(f"the input {spec.name!r} is missing", pointer=at)
        if len(sent) > 1:
            raise InvalidInput("the model does not have all of these inputs")
        _check_datatypes(sent, {spec.name: ("BYTES",)})
        try:
            files = parts_of(tensor["base64"]) if "base64" in tensor else tensor["data"]
        except ValueError:
            raise InvalidInput(f"the input {spec.name!r} ends within a file", pointer=at) from None
        if tensor["shape"] != [len(files)] or not files:
            raise InvalidInput(f"the input {spec.name!r} has another shape than [rows], or no rows", pointer=at)
        return list(files)


def _check_datatypes(sent: Sequence[Sent], taken: Mapping[str, Sequence[Datatype]]) -> None:
    """taken: by the name of the input. InvalidInput in the words of this protocol, not in those of a job."""
    for each in sent:
        if each.datatype not in taken.get(each.name, (each.datatype,)):
            raise InvalidInput(
                f"the input {each.name!r} is sent as {each.datatype}, but the model takes "
                f"{' or '.join(taken[each.name])}",
                pointer=f"/{each.name}",
            )


def _column(column: Column, answers: Sequence[Any]) -> Given:
    parts: Iterable[Any] = map(column.of, answers)
    values = list(parts) if column.size is None else [value for part in parts for value in part]
    empty: Any = "" if column.dtype == "string" else math.nan
    values = [empty if each is None else each for each in values]
    return Given(
        name=column.name,
        dtype=column.dtype,
        shape=(len(answers), *_sizes(column)),
        values=values,
        is_batched=True,
        labels=column.labels,
    )


def _sizes(column: Column) -> tuple[int, ...]:
    return () if column.size is None else (column.size,)


def _shown(spec: TensorSpec) -> OipTensor:
    shape = (-1,) if spec.shape is None else tuple(size if isinstance(size, int) else -1 for size in spec.shape)
    return OipTensor(name=spec.name, datatype=DATATYPE_OF[spec.dtype], shape=shape)


def _text(*columns: Column, parameters: Sequence[str] = ()) -> RowsForm:
    return RowsForm((TensorSpec(name="text", dtype="string", shape=(_ROWS,)),), columns, *parameters)


def _images(manifest: ModelManifest) -> ImagesForm:
    return ImagesForm((TensorSpec(name="image", dtype="string", shape=(_ROWS,)),), _scores(manifest))


def _features(manifest: ModelManifest, *columns: Column) -> RowsForm:
    given = next((spec for spec in manifest.inputs if spec.name == "features"), None)
    last = (given.shape or ("",))[-1] if given is not None else ""
    size = len(manifest.features) or last
    own: Dtype = "float64" if given is not None and given.dtype == "float64" else "float32"
    dtypes: tuple[Dtype, ...] = ("float64", "float32") if own == "float64" else ("float32", "float64")
    return RowsForm([TensorSpec(name="features", dtype=dtype, shape=(_ROWS, size)) for dtype in dtypes], columns)


def _scores(manifest: ModelManifest) -> tuple[Column, ...]:
    labels = manifest.labels
    return (
        Column(name="label", dtype="string", of=lambda answer: answer["label"]),
        Column(
            name="scores",
            dtype="float32",
            size=len(labels),
            labels=labels,
            of=lambda answer: [answer["scores"][label] for label in labels],
        ),
    )


def _embedding(manifest: ModelManifest) -> RowsForm:
    size = 0 if manifest.embedding is None else manifest.embedding.dimensions
    nothing = [None] * size
    return _text(
        Column(name="embedding", dtype="float32", size=size, of=lambda answer: answer["embedding"] or nothing),
    )


def _generation() -> RowsForm:
    return _text(
        Column(name="generated_text", dtype="string", of=lambda answer: answer["text"]),
        Column(name="finish_reason", dtype="string", of=lambda answer: answer["finish_reason"]),
        parameters=("max_tokens", "seed", "stop", "temperature", "top_k"),
    )


FORMS: Mapping[str, Callable[[ModelManifest], Form]] = {
    "image-classification": _images,
    "tensors": TensorsForm,
    "tabular-classification": lambda manifest: _features(manifest, *_scores(manifest)),
    "tabular-regression": lambda manifest: _features(
        manifest, Column(name="prediction", dtype="float32", of=lambda answer: answer["prediction"])
    ),
    "text-classification": lambda manifest: _text(*_scores(manifest)),
    "text-embedding": _embedding,
    "text-generation": lambda _: _generation(),
}


def form_of(manifest: ModelManifest) -> Form | None:
    """None if models of this task have no form here."""
    make = FORMS.get(manifest.task)
    return None if make is None else make(manifest)


def check_outputs(form: Form, names: Iterable[str]) -> None:
    """ProblemError 422."""
    known = {each.name for each in form.outputs}
    for place, name in enumerate(names):
        if name not in known:
            raise refused("the model has no output of this name", f"/outputs/{place}/name")
