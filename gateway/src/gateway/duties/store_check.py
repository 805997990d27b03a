"""Stops a gateway whose database has another version.

The version is checked before the process listens or, if Redis is away then, as soon as Redis
answers. Knows no version.
"""

import os
import sys

import anyio
import msgspec
from shared_schemas.errors import BackendUnavailable
from shared_schemas.service.settings import SettingsRejected
from shared_schemas.stream.connection import connect
from shared_schemas.stream.store_version import check_store

from gateway.services import Services
from gateway.settings import GatewaySettings

# If Redis does not answer within _PATIENCE_S, the process listens and checks again every _PAUSE_S.
_PATIENCE_S, _PAUSE_S = 1.0, 0.5


async def look_at_store(settings: GatewaySettings) -> None:
    """SettingsRejected if the version is another one. Returns as well if Redis
    does not answer in time."""
    impatient = msgspec.structs.replace(settings, redis_timeout_s=min(settings.redis_timeout_s, _PATIENCE_S))
    client = connect(impatient, retries=0)
    try:
        await check_store(client)
    except BackendUnavailable:
        pass
    finally:
        await client.aclose()


async def end_at_other_store(services: Services) -> None:
    """Return once the version is known to be right. If it is another one, end the process at once:
    a normal shutdown would still write to that database."""
    while True:
        try:
            return await check_store(services.client)
        except BackendUnavailable:
            await anyio.sleep(_PAUSE_S)
        except SettingsRejected as error:
            print(f"gateway: {error}", file=sys.stderr, flush=True)
            os._exit(os.EX_CONFIG)
