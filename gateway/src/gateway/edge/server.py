"""Runs uvicorn for the gateway: structured logs, a limit on the drain, GatewayProtocol for
connections, and many of them accepted at once.

Knows no route.
"""

import asyncio
import socket
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

ACCEPTED_A_TURN = 32
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
    _Server(config).run()


class _Server(uvicorn.Server):
    """Accepts up to ACCEPTED_A_TURN connections of each address in a turn of the event loop.

    uvloop accepts one connection of each listening socket in a turn. A turn serves all open
    connections, so among many new connections the last ones would wait until the others had sent
    and got many requests. Copies of a listening socket share one queue of connections."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        for listening in [sock for server in self.servers for sock in server.sockets]:
            for _ in range(ACCEPTED_A_TURN - 1):
                copy = await loop.create_server(self._protocol, sock=listening.dup(), backlog=self.config.backlog)
                self.servers.append(copy)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


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
