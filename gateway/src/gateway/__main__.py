"""The gateway as a process: settings from the environment, uvicorn, a drain that ends open event streams."""

import os
import socket
import sys

import structlog
import uvicorn
from shared_schemas.settings import SettingsRejected, from_environ

from gateway.app import create_app
from gateway.settings import GatewaySettings
from gateway.telemetry import configure_logs

EX_CONFIG = 78


class Server(uvicorn.Server):
    """Ends event streams first when it is asked to stop: they would otherwise never end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.services.hub.close()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def main() -> None:
    try:
        settings = from_environ(GatewaySettings, prefix="HEADRACE_", environ=os.environ)
    except SettingsRejected as error:
        print(f"gateway: {error}", file=sys.stderr)
        raise SystemExit(EX_CONFIG) from None
    configure_logs(settings.log_format)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=round(settings.drain_s),
        timeout_keep_alive=30,
    )
    structlog.get_logger().info("gateway_started", host=settings.host, port=settings.port)
    Server(config).run()
    structlog.get_logger().info("gateway_stopped")


if __name__ == "__main__":
    main()
