"""The routes of the Open Inference Protocol (KServe v2) besides infer: health, metadata, configuration, statistics and
the repository. Knows no job."""

from importlib.metadata import version

from fastapi import Response
from shared_schemas.errors import ModelNotFound
from shared_schemas.ids import default_queue, is_job_id
from shared_schemas.kinds import JobKind
from shared_schemas.models import Model, parse_model_reference
from shared_schemas.stream.registry import ModelList

from gateway.edge.problems import RETRY_AFTER_S, ProblemError
from gateway.intake.body import decode, read_bytes
from gateway.routes.health import faults_of
from gateway.routes.route import PlainCall
from gateway.services import Services
from gateway.surfaces.native.responses import json_response
from gateway.surfaces.v2 import description
from gateway.surfaces.v2.schemas import OipIndexEntry, OipLive, OipLoaded, OipModelReady, OipReady, OipServer, OipStats

_SERVER = OipServer(
    name="headrace", version=version("headrace-gateway"), extensions=tuple(sorted(description.EXTENSIONS))
)
_QUEUE = default_queue(JobKind.INFERENCE)
_NOT_LOADED = "a model is published, and not loaded from a request: leave out config and files"
_PAGE = 100


async def server_metadata(_: PlainCall) -> Response:
    """The name and version of the server, and the extensions of the protocol that it has."""
    return json_response(_SERVER)


async def live(_: PlainCall) -> Response:
    """The process answers."""
    return json_response(OipLive())


async def ready(call: PlainCall) -> Response:
    """The gateway can serve, as in `GET /readyz`."""
    faults, _ = await faults_of(call.services)
    if faults:
        raise ProblemError(503, "not_ready", "; ".join(faults), headers={"Retry-After": RETRY_AFTER_S})
    return json_response(OipReady())


async def model_metadata(call: PlainCall) -> Response:
    """The tensors that a model takes and gives. If the request names no version, it is about the latest one, and
    `versions` has all of them."""
    model = await _model(call)
    if is_job_id(call.path["name"]) or parse_model_reference(_reference(call))[1] is not None:
        return json_response(description.metadata(model, (str(model.version),)))
    found = await call.services.registry.versions(model.name)
    return json_response(description.metadata(model, tuple(str(each.version) for each in reversed(found.models))))


async def model_ready(call: PlainCall) -> Response:
    """The model is published, the gateway can serve, and a worker for inference is registered. Workers load a model
    when the first request for it comes."""
    model = await _model(call)
    workers = await call.services.queue_queries.workers()
    if not any(worker.queue == _QUEUE for worker in workers):
        raise ProblemError(
            503, "not_ready", "no worker for inference is running", headers={"Retry-After": RETRY_AFTER_S}
        )
    await ready(call)
    return json_response(OipModelReady(model.name))


async def model_config(call: PlainCall) -> Response:
    """What of Triton's model configuration is known here."""
    return json_response(description.config(await _model(call)))


async def model_statistics(call: PlainCall) -> Response:
    """The inference requests for a version of a model that this gateway process has answered since it started."""
    ref = (await _model(call)).ref
    shown = description.statistics(ref, call.services.infer_statistics.of(ref))
    return json_response(OipStats(model_stats=(shown,)))


async def all_statistics(call: PlainCall) -> Response:
    """The same for all models that were asked."""
    counted = call.services.infer_statistics.all()
    return json_response(OipStats(model_stats=tuple(description.statistics(*each) for each in counted)))


async def repository_index(call: PlainCall) -> Response:
    """All versions of all models. All are READY: a worker loads a model when the first request for it comes."""
    body = await read_bytes(call.request, call.headers, call.services.settings)
    if body.strip():
        decode(body, description.INDEX_REQUEST)
    found, after = list[OipIndexEntry](), ""
    while True:
        page = await call.services.registry.list_models(after=after, limit=_PAGE)
        for model in page.models:
            versions = await _versions(call.services, model.name)
            found += [
                OipIndexEntry(name=each.name, version=str(each.version), state="READY", reason="")
                for each in reversed(versions.models)
            ]
        if page.after is None:
            return json_response(found)
        after = page.after


async def load_model(call: PlainCall) -> Response:
    """Nothing is left to do for a published model: a worker loads it when the first request for it comes. 404 for any
    other."""
    body = await read_bytes(call.request, call.headers, call.services.settings)
    if body.strip() and decode(body, description.LOAD_REQUEST).parameters:
        raise ProblemError(422, "invalid_body", _NOT_LOADED)
    return json_response(OipLoaded((await _model(call)).name))


async def unload_model(call: PlainCall) -> Response:
    """Refused with 501: a worker unloads a model when it needs the room, and a model stays ready until it is
    deleted."""
    await _model(call)
    raise not_offered(
        "workers unload models when they need the room; DELETE /models/{name}/versions/{version} removes one"
    )


async def shared_memory(_: PlainCall) -> Response:
    """Refused with 501."""
    raise not_offered("there is no shared memory with this server: send tensors as data or as binary data")


async def trace_settings(_: PlainCall) -> Response:
    """Refused with 501."""
    raise not_offered("there are no traces to set; GET /jobs/{id}/events shows what happened to a request")


async def log_settings(_: PlainCall) -> Response:
    """Refused with 501."""
    raise not_offered("logs are set with HEADRACE_LOG_FORMAT when a process starts")


def not_offered(detail: str) -> ProblemError:
    return ProblemError(501, "not_offered", detail)


def _reference(call: PlainCall) -> str:
    return description.reference_of(call.path["name"], call.path.get("version"))


async def _model(call: PlainCall) -> Model:
    return await call.services.known_models.read(_reference(call))


async def _versions(services: Services, name: str) -> ModelList:
    try:
        found = await services.registry.versions(name)
    except ModelNotFound:  # deleted since it was listed
        return ModelList([], [])
    for reference in found.unreadable:
        services.observer.model_unreadable(reference)
    return found
