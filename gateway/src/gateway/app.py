"""The application: routes inside of the edge, and the duties that run beside them. Knows no job.

`uvicorn gateway.app:app` runs it. Importing this module connects nothing.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

import anyio
import structlog
from fastapi import FastAPI
from shared_schemas.service.logs import configure_logs
from shared_schemas.service.process import settings_checked
from shared_schemas.service.settings import from_environ
from starlette.types import ASGIApp

from gateway.duties.housekeeping import keep_house
from gateway.duties.redis_advice import advise
from gateway.duties.store_check import end_at_other_store
from gateway.edge.cors import Cors
from gateway.edge.draining import called_on_signal
from gateway.edge.hosts import Hosts
from gateway.edge.request_context import RequestContext
from gateway.instrument import GatewayObserver
from gateway.routes import openapi
from gateway.routes.dispatch import Dispatcher
from gateway.routes.table import ROUTES
from gateway.settings import GatewaySettings
from gateway.surfaces.v2.errors import error_of
from gateway.wiring import Parts, build

_PAUSE_S = 1.0
_EXPOSED = (
    "Allow",
    "Headrace-Job-Id",
    "Idempotency-Replayed",
    "Inference-Header-Content-Length",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "X-Request-ID",
)
_ERROR_FORMS = {"v2": error_of}
_DESCRIPTION = "Submit training and inference jobs, and watch them live."


def create_app(parts: Parts) -> ASGIApp:
    """What a server runs. Inside of it, a FastAPI application has the lifespan and the OpenAPI
    document."""
    services, settings = parts.services, parts.services.settings
    app = FastAPI(
        # A route of our own serves the document, so FastAPI must not.
        openapi_url=None,
        title="Headrace",
        version=version("headrace-gateway"),
        summary=_DESCRIPTION,
        lifespan=lambda _: _running(parts),
    )
    dispatcher = Dispatcher(app, services, ROUTES)
    openapi.install(app, ROUTES, dispatcher.endpoint)
    hosts = Hosts(settings.hosts, listens_on=settings.host)
    edge: ASGIApp = RequestContext(dispatcher, hosts, services.observer, _ERROR_FORMS)
    if not settings.cors_origins:
        return edge
    # Outermost, because a page can read the answer to a failure only if that has these headers too.
    return Cors(
        edge,
        allow_origins=list(settings.cors_origins),
        allow_methods=["DELETE", "GET", "HEAD", "POST", "PUT"],
        # Libraries add headers of their own. An allowed origin is not refused for them.
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )


@asynccontextmanager
async def _running(parts: Parts) -> AsyncIterator[None]:
    """It also starts while Redis is away: requests get 503 until Redis is back."""
    services, observer = parts.services, parts.services.observer
    log = structlog.get_logger()
    async with anyio.create_task_group() as duties:
        duties.start_soon(end_at_other_store, services)
        duties.start_soon(advise, services)
        duties.start_soon(_kept_up, observer, "hub", services.hub.run)
        duties.start_soon(_kept_up, observer, "housekeeping", partial(keep_house, services))
        for name, coalescer in parts.coalescers.items():
            duties.start_soon(_kept_up, observer, name, coalescer.run)
        with called_on_signal(services.hub.close):
            log.info("gateway_started")
            yield
        services.hub.close()
        duties.cancel_scope.cancel()
    await parts.close()
    observer.process_ending()
    log.info("gateway_stopped")


async def _kept_up(observer: GatewayObserver, name: str, duty: Callable[[], Awaitable[None]]) -> None:
    """Start a duty again after an unforeseen failure: the gateway is of no use without it."""
    while True:
        try:
            await duty()
        except Exception:
            observer.duty_failed(name)
        await anyio.sleep(_PAUSE_S)


def __getattr__(name: str) -> ASGIApp:
    """`app`, made from the environment when uvicorn asks for it."""
    if name != "app":
        raise AttributeError(name)
    with settings_checked("gateway"):
        settings = from_environ(GatewaySettings, prefix="HEADRACE_", environ=os.environ)
    configure_logs(settings.log_format, with_libraries=True)
    made = create_app(build(settings))
    globals()["app"] = made
    return made
