"""Runs uvicorn for the gateway: structured logs, a limit on the drain, and GatewayProtocol for
connections.

Knows no route.
"""

import sys
from functools import partial

import msgspec
import structlog
import uvicorn
from shared_schemas.service.process import tune_garbage_collector
from starlette.types import ASGIApp

from gateway.edge.protocol import GatewayProtocol
from gateway.instrument import GatewayObserver
from gateway.settings import GatewaySettings

_KEEP_ALIVE_S = 30
# Files for Redis, the logs, and connections that are accepted only to be refused.
_OTHER_FILES = 256


def serve(app: ASGIApp, settings: GatewaySettings, observer: GatewayObserver) -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = fit_to_open_files(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # uvicorn expects a class and only calls it.
        http=partial(GatewayProtocol, settings=settings, observer=observer),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    tune_garbage_collector()
    structlog.get_logger().info("gateway_starting", host=settings.host, port=settings.port)
    uvicorn.Server(config).run()


def fit_to_open_files(settings: GatewaySettings) -> GatewaySettings:
    """The settings, with max_connections lowered to the open files that the system allows. Asks the
    system to allow enough of them first."""
    if sys.platform == "win32":
        return settings
    import resource

    wanted = settings.max_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            room = max(1, soft - _OTHER_FILES)
            structlog.get_logger().warning("few_open_files", allowed=soft, max_connections=room)
            return msgspec.structs.replace(settings, max_connections=room)
    return settings
