"""The published models. Knows no job and no Redis command."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from fastapi import Response
from msgspec import Meta
from shared_schemas.errors import MalformedId, ModelNotFound
from shared_schemas.models import Model, ModelRef, parse_model_reference
from shared_schemas.replies import AliasRequest, ModelPage, ModelVersions, ProblemItem
from shared_schemas.store.files import ArtifactMissing
from shared_schemas.stream.registry import ModelList

from gateway.edge.problems import ProblemError
from gateway.instrument import GatewayObserver
from gateway.routes.files import FileNotFound
from gateway.routes.paging import Limit
from gateway.routes.route import Call, PlainCall
from gateway.surfaces.native import responses
from gateway.surfaces.native.download import download

# Lua in Redis cannot tell integers above this one apart.
_GREATEST = 2**53


class ModelsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 20
    cursor: Annotated[str, Meta(max_length=128)] | None = None


async def list_models(call: Call[ModelsQuery, None]) -> Response:
    """The latest version of each model, by name."""
    query = call.query
    page = await call.services.registry.list_models(after=query.cursor or "", limit=query.limit)
    return responses.json_response(ModelPage(models=_readable(call.services.observer, page), next_cursor=page.after))


async def get_model(call: PlainCall) -> Response:
    """All versions of a model, newest first."""
    found = await call.services.registry.versions(_without_version(call.path["name"]))
    return responses.json_response(ModelVersions(versions=_readable(call.services.observer, found)))


async def get_version(call: PlainCall) -> Response:
    """One version of a model, by number or alias."""
    return responses.json_response(await _version_of(call))


async def get_model_file(call: PlainCall) -> Response:
    """The ONNX file of a version, by number or alias, or with `Range` a part of it. The ETag is its
    sha256."""
    found = await _version_of(call)
    ref, services = found.manifest.onnx, call.services
    try:
        path = await services.files.path(ref)
    except ArtifactMissing:
        raise FileNotFound("the file of this version is not in the store") from None
    return download(
        call.request.scope,
        path,
        ref,
        filename=f"{found.name}-{found.version}.onnx",
        send_timeout_s=services.settings.send_timeout_s,
    )


async def delete_version(call: PlainCall) -> Response:
    """Delete a version, by its number. 409 while an alias other than `latest` names it, or while a
    job that has not ended runs it. `latest` moves to the newest version that is left."""
    name, version = _without_version(call.path["name"]), call.path["version"]
    try:
        _, number = parse_model_reference(f"{name}@{version}")
    except MalformedId:
        raise ModelNotFound("no such version is published") from None
    if not isinstance(number, int):
        item = ProblemItem(pointer="version", code="invalid_value", detail="not a number")
        raise ProblemError(422, "invalid_parameter", "a version is deleted by its number", errors=[item])
    if number > _GREATEST:
        raise ModelNotFound("no such version is published")
    services = call.services
    await services.removal.delete_version(ModelRef(name, number), queues=await services.catalog.names())
    return Response(status_code=204)


async def set_alias(call: Call[None, AliasRequest]) -> Response:
    """Point an alias at a version, so that `name@alias` names it. Workers that hold another version
    of the model load this one first, unless `warm` is false. `latest` moves by itself and cannot be
    set."""
    name, alias = _alias_of(call.path)
    ref = ModelRef(name, call.body.version)
    return responses.json_response(await call.services.switching.move(ref, alias, warm=call.body.warm))


async def delete_alias(call: PlainCall) -> Response:
    """Delete an alias. The version that it names stays. `latest` cannot be deleted."""
    await call.services.registry.delete_alias(*_alias_of(call.path))
    return Response(status_code=204)


def _alias_of(path: Mapping[str, str]) -> tuple[str, str]:
    """-> (name of the model, alias). ModelNotFound, ProblemError 422."""
    name = _without_version(path["name"])
    try:
        _, parsed = parse_model_reference(f"{name}@{path['alias']}")
    except MalformedId:
        parsed = None
    if not isinstance(parsed, str) or parsed == "latest":
        item = ProblemItem(pointer="alias", code="invalid_value", detail="not a name for an alias")
        raise ProblemError(422, "invalid_parameter", "the alias is not valid", errors=[item])
    return name, parsed


async def _version_of(call: PlainCall) -> Model:
    name, version = _without_version(call.path["name"]), call.path["version"]
    try:
        return await call.services.registry.resolve(f"{name}@{version}")
    except MalformedId:
        raise ModelNotFound("no such version is published") from None


def _readable(observer: GatewayObserver, found: ModelList) -> tuple[Model, ...]:
    for reference in found.unreadable:
        observer.model_unreadable(reference)
    return tuple(found.models)


def _without_version(name: str) -> str:
    """The name, if it is one and names no version. ModelNotFound."""
    try:
        plain, version = parse_model_reference(name)
    except MalformedId:
        plain, version = "", None
    if not plain or version is not None:
        raise ModelNotFound("no such model is published")
    return plain
