"""uvicorn as the gateway needs it: structured logs, a bounded drain, and connections of our own kind."""

import sys
from functools import partial

import msgspec
import structlog
import uvicorn
from shared_schemas.service.process import tune_garbage_collector
from starlette.types import ASGIApp

from gateway.edge.protocol import GatewayProtocol
from gateway.settings import GatewaySettings

_KEEP_ALIVE_S = 30
# For Redis, the logs, and what answers a connection too many.
_OTHER_FILES = 256


def serve(app: ASGIApp, settings: GatewaySettings) -> None:
    """Until SIGTERM or SIGINT."""
    settings = with_room(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # A factory does as well as a class.
        http=partial(GatewayProtocol, settings=settings),  # type: ignore[arg-type]
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


def with_room(settings: GatewaySettings) -> GatewaySettings:
    """As many connections as the system lets the process have, after asking it for those that are set."""
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
