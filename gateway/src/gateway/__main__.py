"""The gateway as a process: settings from the environment, logs, then the server."""

import asyncio
import os

from shared_schemas.service.logs import configure_logs
from shared_schemas.service.process import settings_checked
from shared_schemas.service.settings import from_environ

from gateway.app import create_app
from gateway.duties.store_check import look_at_store
from gateway.edge.server import serve
from gateway.settings import GatewaySettings
from gateway.wiring import build


def main() -> None:
    with settings_checked("gateway"):
        settings = from_environ(GatewaySettings, prefix="HEADRACE_", environ=os.environ)
        asyncio.run(look_at_store(settings))
    configure_logs(settings.log_format, with_libraries=True)
    parts = build(settings)
    serve(create_app(parts), settings, parts.services.observer)


if __name__ == "__main__":
    main()
