"""uvicorn as the gateway needs it: structured logs, a bounded drain, and no line kept open for a stalled reader."""

import asyncio
from functools import partial
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway import metrics
from gateway.settings import GatewaySettings
from gateway.streaming import ABORT

_KEEP_ALIVE_S = 30


class AbortableProtocol(HttpToolsProtocol):
    """Gives a response the means to abort its connection, and aborts one whose reader takes nothing of what is left
    of an answer for patience_s: closing it would wait for ever."""

    def __init__(self, *args: Any, patience_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience_s = patience_s
        self._check: asyncio.TimerHandle | None = None

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope.setdefault("extensions", {})[ABORT] = {"abort": self.transport.abort}

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._check is not None:
            self._check.cancel()
        self._expect_taken()

    def _expect_taken(self) -> None:
        if left := self.transport.get_write_buffer_size():
            self._check = self.loop.call_later(self._patience_s, self._check_taken, left)

    def _check_taken(self, before: int) -> None:
        if self.cycle.response_started and not self.cycle.response_complete:
            return  # The next answer is on its way, and looks after itself.
        if self.transport.get_write_buffer_size() < before:
            self._expect_taken()
        else:
            metrics.DROPPED.inc()
            structlog.get_logger().warning("slow_reader_dropped", send_timeout_s=self._patience_s)
            self.transport.abort()


def serve(app: ASGIApp, settings: GatewaySettings) -> None:
    """Until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # A factory does as well as a class.
        http=partial(AbortableProtocol, patience_s=settings.send_timeout_s),  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    structlog.get_logger().info("gateway_starting", host=settings.host, port=settings.port)
    uvicorn.Server(config).run()
