"""What is published."""

from typing import Annotated

import msgspec
import structlog
from fastapi import APIRouter, Request, Response
from msgspec import Meta
from shared_schemas.errors import MalformedId, ModelNotFound
from shared_schemas.models import Model, ModelRef, parse_model_reference
from shared_schemas.replies import AliasRequest, ModelPage, ModelVersions, ProblemItem
from shared_schemas.stream.registry import ModelList

from gateway.edge.problems import ProblemError
from gateway.intake.body import read_json, read_query
from gateway.routes import openapi
from gateway.routes.paging import Limit
from gateway.services import services_of
from gateway.surfaces.native import responses

router = APIRouter(tags=["models"])

_logger = structlog.get_logger()
# Beyond it a number of Redis' scripts is another one.
_GREATEST = 2**53
_alias = msgspec.json.Decoder(AliasRequest)


class ModelsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 20
    cursor: Annotated[str, Meta(max_length=128)] | None = None


@router.get("/models", **openapi.listing(ModelsQuery, ModelPage))
async def list_models(request: Request) -> Response:
    """The latest version of each model, by name."""
    query = read_query(request, ModelsQuery)
    page = await services_of(request).registry.list_models(after=query.cursor or "", limit=query.limit)
    return responses.json_response(ModelPage(models=_readable(page), next_cursor=page.after))


@router.get("/models/{name}", **openapi.reply(ModelVersions, 404, 501))
async def get_model(request: Request, name: str) -> Response:
    """All versions of a model, newest first."""
    found = await services_of(request).registry.versions(_plain(name))
    return responses.json_response(ModelVersions(versions=_readable(found)))


@router.get("/models/{name}/versions/{version}", **openapi.reply(Model, 404, 501))
async def get_version(request: Request, name: str, version: str) -> Response:
    """One version of a model, by number or alias."""
    try:
        found = await services_of(request).registry.resolve(f"{_plain(name)}@{version}")
    except MalformedId:
        raise ModelNotFound("no such version is published") from None
    return responses.json_response(found)


@router.delete("/models/{name}/versions/{version}", **openapi.deleting(404, 409, 422))
async def delete_version(request: Request, name: str, version: str) -> Response:
    """Delete a version, by its number; 409 while an alias other than `latest` names it or a job that has not ended runs
    it. `latest` moves to the newest that is left."""
    try:
        _, number = parse_model_reference(f"{_plain(name)}@{version}")
    except MalformedId:
        raise ModelNotFound("no such version is published") from None
    if not isinstance(number, int):
        item = ProblemItem(pointer="version", code="invalid_value", detail="not a number")
        raise ProblemError(422, "invalid_parameter", "a version is deleted by its number", errors=[item])
    if number > _GREATEST:
        raise ModelNotFound("no such version is published")
    services = services_of(request)
    await services.removal.delete_version(ModelRef(_plain(name), number), queues=await services.queues())
    return Response(status_code=204)


@router.put("/models/{name}/aliases/{alias}", **openapi.sending(AliasRequest, Model, {"version": 1}, 404))
async def set_alias(request: Request, name: str, alias: str) -> Response:
    """Point an alias at a version: `name@alias` then names it. `latest` moves by itself and cannot be set."""
    services = services_of(request)
    wanted = await read_json(request, _alias, services.settings)
    try:
        _, parsed = parse_model_reference(f"{_plain(name)}@{alias}")
    except MalformedId:
        parsed = None
    if not isinstance(parsed, str) or parsed == "latest":
        item = ProblemItem(pointer="alias", code="invalid_value", detail="not a name for an alias")
        raise ProblemError(422, "invalid_parameter", "the alias is not valid", errors=[item])
    return responses.json_response(await services.registry.set_alias(name, parsed, wanted.version))


def _readable(found: ModelList) -> tuple[Model, ...]:
    for reference in found.unreadable:
        _logger.warning("model_unreadable", model=reference)
    return tuple(found.models)


def _plain(name: str) -> str:
    try:
        plain, version = parse_model_reference(name)
    except MalformedId:
        plain, version = "", None
    if not plain or version is not None:
        raise ModelNotFound("no such model is published")
    return plain
