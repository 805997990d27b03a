"""Queues and the workers that serve them. Knows no job."""

from fastapi import Response
from shared_schemas.errors import MalformedId
from shared_schemas.ids import parse_queue
from shared_schemas.replies import Queues, Workers

from gateway.edge.problems import ProblemError
from gateway.routes.route import PlainCall
from gateway.surfaces.native import responses


async def list_queues(call: PlainCall) -> Response:
    """How many jobs each queue has in each state, and how many workers serve it."""
    return responses.json_response(Queues(queues=tuple(await call.services.queue_queries.statuses())))


async def get_queue(call: PlainCall) -> Response:
    """One queue."""
    services = call.services
    try:
        queue = parse_queue(call.path["name"])
    except MalformedId:
        queue = None
    if queue is None or queue not in await services.catalog.names():
        raise ProblemError(404, "queue_not_found", "there is no such queue")
    return responses.json_response(await services.queue_queries.status(queue))


async def list_workers(call: PlainCall) -> Response:
    """The workers that are registered now, what they run and on which device."""
    return responses.json_response(Workers(workers=tuple(await call.services.queue_queries.workers())))
