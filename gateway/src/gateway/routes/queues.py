"""Queues and the workers that serve them."""

from fastapi import APIRouter, Request, Response
from shared_schemas.errors import MalformedId
from shared_schemas.ids import parse_queue
from shared_schemas.job import QueueStatus
from shared_schemas.replies import Queues, Workers

from gateway.edge.problems import ProblemError
from gateway.routes import openapi
from gateway.services import services_of
from gateway.surfaces.native import responses

router = APIRouter(tags=["queues"])


@router.get("/queues", **openapi.reply(Queues))
async def list_queues(request: Request) -> Response:
    """How many jobs each queue has in each state, and who serves it."""
    return responses.json_response(Queues(queues=tuple(await services_of(request).catalog.statuses())))


@router.get("/queues/{name}", **openapi.reply(QueueStatus, 404))
async def get_queue(request: Request, name: str) -> Response:
    """One queue."""
    services = services_of(request)
    try:
        queue = parse_queue(name)
    except MalformedId:
        queue = None
    if queue is None or queue not in await services.queues():
        raise ProblemError(404, "queue_not_found", "there is no such queue")
    return responses.json_response(await services.catalog.status(queue))


@router.get("/workers", **openapi.reply(Workers))
async def list_workers(request: Request) -> Response:
    """The workers that are registered now, what they run and on what."""
    return responses.json_response(Workers(workers=tuple(await services_of(request).catalog.workers())))
