"""The application: wires routes, errors and the edge. `uvicorn gateway.app:app` runs it; importing connects nothing."""

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
from gateway.routes import openapi
from gateway.routes.dispatch import Dispatcher
from gateway.routes.table import ROUTES
from gateway.services import Services
from gateway.settings import GatewaySettings

_PAUSE_S = 1.0
_EXPOSED = ("Allow", "Idempotency-Replayed", "Location", "Preference-Applied", "Retry-After", "X-Request-ID")
_DESCRIPTION = "Submit training and inference jobs, and watch them live."


def create_app(services: Services) -> ASGIApp:
    """What a server runs. The routes and their document are a FastAPI application inside of it."""
    settings = services.settings
    app = FastAPI(
        # What FastAPI would add is in the table as well.
        openapi_url=None,
        title="Headrace",
        version=version("headrace-gateway"),
        summary=_DESCRIPTION,
        lifespan=_lifespan,
    )
    app.state.services = services
    dispatcher = Dispatcher(app, services, ROUTES)
    openapi.install(app, ROUTES, dispatcher.endpoint)
    edge: ASGIApp = RequestContext(dispatcher, Hosts(settings.hosts, listens_on=settings.host))
    if not settings.cors_origins:
        return edge
    # The outermost: answers to failures carry the headers that a page needs to read them.
    return Cors(
        edge,
        allow_origins=list(settings.cors_origins),
        allow_methods=["DELETE", "GET", "HEAD", "POST", "PUT"],
        # What a library adds by itself is no reason to refuse a page that may call.
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts with Redis away as well: requests get 503 until it is back."""
    services: Services = app.state.services
    log = structlog.get_logger()
    async with anyio.create_task_group() as duties:
        duties.start_soon(end_at_other_store, services)
        duties.start_soon(advise, services)
        duties.start_soon(_kept_up, "hub", services.hub.run)
        duties.start_soon(_kept_up, "housekeeping", partial(keep_house, services))
        duties.start_soon(_kept_up, "submissions", services.submissions.run)
        duties.start_soon(_kept_up, "pins", services.pins.run)
        with called_on_signal(services.hub.close):
            log.info("gateway_started")
            yield
        services.hub.close()
        duties.cancel_scope.cancel()
    await services.close()
    log.info("gateway_stopped")


async def _kept_up(name: str, duty: Callable[[], Awaitable[None]]) -> None:
    """A duty that fails in a way nobody foresaw is logged and begun again: without it the rest is of no use."""
    while True:
        try:
            await duty()
        except Exception:
            structlog.get_logger().exception("duty_failed", duty=name)
        await anyio.sleep(_PAUSE_S)


def __getattr__(name: str) -> ASGIApp:
    """`app`, made of the environment when uvicorn asks for it."""
    if name != "app":
        raise AttributeError(name)
    with settings_checked("gateway"):
        settings = from_environ(GatewaySettings, prefix="HEADRACE_", environ=os.environ)
    configure_logs(settings.log_format, with_libraries=True)
    made = create_app(Services.open(settings))
    globals()["app"] = made
    return made
