"""The Structs of the protocol: what is sent and what is answered. They are the schemas in OpenAPI too."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.surfaces.v2.datatypes import Datatype

Parameters = dict[str, Any]


class OipError(msgspec.Struct, frozen=True):
    """What is wrong, as one text."""

    error: str


class OipLive(msgspec.Struct, frozen=True):
    live: Literal[True] = True


class OipReady(msgspec.Struct, frozen=True):
    ready: Literal[True] = True


class OipModelReady(msgspec.Struct, frozen=True):
    name: str
    ready: Literal[True] = True


class OipLoaded(msgspec.Struct, frozen=True):
    name: str
    load: Literal[True] = True


class OipServer(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str
    extensions: tuple[str, ...]


class OipTensor(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of a model. shape: -1 for a dimension of any size; [-1] also where the number of dimensions
    is not known."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class OipModel(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[OipTensor, ...]
    outputs: tuple[OipTensor, ...]


class OipInput(msgspec.Struct, frozen=True, kw_only=True):
    """data: the values, in one list or nested as the shape says; none if they follow as binary data."""

    name: str
    shape: tuple[Annotated[int, Meta(ge=0)], ...]
    datatype: Datatype
    parameters: Parameters = {}
    data: Any = None


class OipRequestedOutput(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    parameters: Parameters = {}


class OipInferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """outputs: all by default."""

    inputs: tuple[OipInput, ...]
    id: Annotated[str, Meta(max_length=512)] = ""
    outputs: tuple[OipRequestedOutput, ...] = ()
    parameters: Parameters = {}


class OipOutput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """data: in one list. None if it follows as binary data; then parameters.binary_data_size says how long it is."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    parameters: Parameters | None = None
    data: Any = None


class OipInferResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: tuple[OipOutput, ...]
    id: str = ""


class OipConfigTensor(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    data_type: str
    dims: tuple[int, ...]


class OipVersionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    all: dict[str, Any] = {}


class OipConfigParameter(msgspec.Struct, frozen=True, kw_only=True):
    string_value: str


class OipConfig(msgspec.Struct, frozen=True, kw_only=True):
    """max_batch_size: 0, which means that `dims` has all dimensions."""

    name: str
    platform: str
    backend: str
    version_policy: OipVersionPolicy
    max_batch_size: Literal[0]
    input: tuple[OipConfigTensor, ...]
    output: tuple[OipConfigTensor, ...]
    parameters: dict[str, OipConfigParameter]


class OipDuration(msgspec.Struct, frozen=True, kw_only=True):
    """count: of requests. ns: their durations together, in nanoseconds."""

    count: int
    ns: int


class OipInferStats(msgspec.Struct, frozen=True, kw_only=True):
    """success, fail: from the request to the answer. queue: until a worker began. compute_infer: from then to the end
    of the job."""

    success: OipDuration
    fail: OipDuration
    queue: OipDuration
    compute_infer: OipDuration


class OipModelStats(msgspec.Struct, frozen=True, kw_only=True):
    """last_inference: ms since 1970, 0 if there was none."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    inference_stats: OipInferStats


class OipStats(msgspec.Struct, frozen=True, kw_only=True):
    model_stats: tuple[OipModelStats, ...]


class OipIndexRequest(msgspec.Struct, frozen=True, kw_only=True):
    """ready: only models that are ready, which all are."""

    ready: bool = False


class OipIndexEntry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str
    state: str
    reason: str


class OipLoadRequest(msgspec.Struct, frozen=True, kw_only=True):
    parameters: Parameters = {}
