"""The application: wires routes, errors and the edge. `uvicorn gateway.app:app` runs it; importing connects nothing."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from shared_schemas.settings import from_environ
from starlette.middleware.cors import CORSMiddleware

from gateway import openapi, problems
from gateway.housekeeping import keep_house
from gateway.middleware import Edge
from gateway.routes import events, health, jobs, models, queues, submit
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.telemetry import configure_logs

_DESCRIPTION = "Submit training and inference jobs, and watch them live."


def create_app(settings: GatewaySettings) -> FastAPI:
    app = FastAPIOffline(
        redoc_url=None,
        title="Headrace",
        version=version("headrace-gateway"),
        summary=_DESCRIPTION,
        lifespan=_lifespan,
    )
    app.state.services = Services.open(settings)
    for module in (submit, jobs, events, models, queues, health):
        app.include_router(module.router)
    problems.install(app)
    openapi.install(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=["Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-Request-ID"],
            expose_headers=["Location", "Idempotency-Replayed", "X-Request-ID"],
        )
    app.add_middleware(Edge)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts with Redis away as well: requests get 503 until it is back."""
    services: Services = app.state.services
    async with anyio.create_task_group() as duties:
        duties.start_soon(services.hub.run)
        duties.start_soon(keep_house, services.client, services.ledger)
        yield
        services.hub.close()
        duties.cancel_scope.cancel()
    await services.client.aclose()


def __getattr__(name: str) -> FastAPI:
    """`app`, made of the environment when uvicorn asks for it."""
    if name != "app":
        raise AttributeError(name)
    settings = from_environ(GatewaySettings, prefix="HEADRACE_", environ=os.environ)
    configure_logs(settings.log_format)
    made = create_app(settings)
    globals()["app"] = made
    return made
