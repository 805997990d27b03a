"""Describes models in the words of the protocol. Knows no request."""

import msgspec
from shared_schemas.errors import ModelNotFound
from shared_schemas.models import Model, ModelRef

from gateway.infer_statistics import InferCounts
from gateway.surfaces.v2.forms import form_of
from gateway.surfaces.v2.schemas import (
    OipConfig,
    OipConfigParameter,
    OipConfigTensor,
    OipDuration,
    OipIndexRequest,
    OipInferStats,
    OipLoadRequest,
    OipModel,
    OipModelStats,
    OipTensor,
    OipVersionPolicy,
)

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
INDEX_REQUEST = msgspec.json.Decoder(OipIndexRequest)
LOAD_REQUEST = msgspec.json.Decoder(OipLoadRequest)

_PLATFORM, _BACKEND = "onnxruntime_onnx", "onnxruntime"
_CONFIG_TYPES = {"BYTES": "TYPE_STRING"}


def reference_of(name: str, version: str | None) -> str:
    """name, version: of a path. The name may have a version itself. ModelNotFound if they say different things."""
    if version is None:
        return name
    plain, at, named = name.partition("@")
    if at and named != version:
        raise ModelNotFound("the name and the path have different versions")
    return f"{plain}@{version}"


def metadata(model: Model, versions: tuple[str, ...]) -> OipModel:
    inputs, outputs = _tensors(model)
    return OipModel(name=model.name, versions=versions, platform=_PLATFORM, inputs=inputs, outputs=outputs)


def config(model: Model) -> OipConfig:
    inputs, outputs = _tensors(model)
    return OipConfig(
        name=model.name,
        platform=_PLATFORM,
        backend=_BACKEND,
        version_policy=OipVersionPolicy(),
        max_batch_size=0,
        input=tuple(map(_config_tensor, inputs)),
        output=tuple(map(_config_tensor, outputs)),
        parameters={"task": OipConfigParameter(string_value=model.manifest.task)},
    )


def statistics(ref: ModelRef, counts: InferCounts) -> OipModelStats:
    n_jobs = counts.n_succeeded
    return OipModelStats(
        name=ref.name,
        version=str(ref.version),
        last_inference=counts.last_ms,
        inference_count=counts.n_inferences,
        inference_stats=OipInferStats(
            success=OipDuration(count=n_jobs, ns=counts.succeeded_ns),
            fail=OipDuration(count=counts.n_failed, ns=counts.failed_ns),
            queue=OipDuration(count=n_jobs, ns=counts.queued_ns),
            compute_infer=OipDuration(count=n_jobs, ns=counts.ran_ns),
        ),
    )


def _tensors(model: Model) -> tuple[tuple[OipTensor, ...], tuple[OipTensor, ...]]:
    form = form_of(model.manifest)
    return ((), ()) if form is None else (form.inputs, form.outputs)


def _config_tensor(tensor: OipTensor) -> OipConfigTensor:
    data_type = _CONFIG_TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")
    return OipConfigTensor(name=tensor.name, data_type=data_type, dims=tensor.shape)
