"""uvicorn as the gateway needs it: structured logs, a bounded drain, and a way to cut a stalled reader off."""

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.settings import GatewaySettings
from gateway.streaming import ABORT

_KEEP_ALIVE_S = 30


class AbortableProtocol(HttpToolsProtocol):
    """Gives a response the means to abort its connection: closing one waits for what a stalled reader never takes."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope.setdefault("extensions", {})[ABORT] = {"abort": self.transport.abort}


def serve(app: FastAPI, settings: GatewaySettings) -> None:
    """Until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=AbortableProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    structlog.get_logger().info("gateway_starting", host=settings.host, port=settings.port)
    uvicorn.Server(config).run()
