"""Probes and metrics, for whoever watches the process. Knows no job."""

import anyio
from fastapi import Response
from shared_schemas.errors import BackendUnavailable
from shared_schemas.job import QueueStatus
from shared_schemas.replies import Health

from gateway import metrics
from gateway.duties.redis_advice import advice
from gateway.edge.problems import RETRY_AFTER_S
from gateway.routes.route import PlainCall
from gateway.services import Services
from gateway.surfaces.native import responses

# Probes give up before a command to Redis does.
_PATIENCE_S = 2.0


async def healthz(_: PlainCall) -> Response:
    """The process answers."""
    return responses.json_response(Health(status="ok"))


async def readyz(call: PlainCall) -> Response:
    """The process can serve: Redis answers and can be trusted with jobs. 503 says what is wrong."""
    faults, warnings = await faults_of(call.services)
    if not faults:
        return responses.json_response(Health(status="ok", warnings=tuple(warnings)))
    health = Health(status="unavailable", faults=tuple(faults), warnings=tuple(warnings))
    return responses.json_response(health, 503, {"Retry-After": RETRY_AFTER_S})


async def faults_of(services: Services) -> tuple[list[str], list[str]]:
    """-> why the process cannot serve, nothing if it can; what is not as it should be"""
    faults, warnings = ["Redis does not answer"], list[str]()
    with anyio.move_on_after(_PATIENCE_S):
        try:
            faults, warnings = await advice(services)
        except BackendUnavailable as error:
            faults = [str(error)]
    if services.hub.is_closing:
        faults.append("the gateway is shutting down")
    return faults, warnings


async def read_metrics(call: PlainCall) -> Response:
    """For Prometheus. While Redis is away, only what the process itself has counted."""
    queues: list[QueueStatus] | None = None
    is_up: bool | None = None
    with anyio.move_on_after(_PATIENCE_S):
        try:
            queues, is_up = await call.services.queue_queries.statuses(), True
        except BackendUnavailable:
            is_up = False
    return Response(metrics.exposition(queues, is_up=is_up), media_type=metrics.MEDIA_TYPE)
