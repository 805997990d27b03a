"""The gateway as a process: settings from the environment, logs, then the server."""

import os
import sys

from shared_schemas.settings import SettingsRejected, from_environ

from gateway.app import create_app
from gateway.server import serve
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.telemetry import configure_logs


def main() -> None:
    try:
        settings = from_environ(GatewaySettings, prefix="HEADRACE_", environ=os.environ)
    except SettingsRejected as error:
        print(f"gateway: {error}", file=sys.stderr)
        raise SystemExit(os.EX_CONFIG) from None
    configure_logs(settings.log_format)
    serve(create_app(Services.open(settings)), settings)


if __name__ == "__main__":
    main()
