"""No gateway works on a database of another version: it is looked at before the process listens, or as soon as Redis is
there."""

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

# The process listens a little later where Redis does not answer, and looks again once it does.
_PATIENCE_S, _PAUSE_S = 1.0, 0.5


async def look_at_store(settings: GatewaySettings) -> None:
    """SettingsRejected. Returns as well where Redis cannot say."""
    impatient = msgspec.structs.replace(settings, redis_timeout_s=min(settings.redis_timeout_s, _PATIENCE_S))
    client = connect(impatient, retries=0)
    try:
        await check_store(client)
    except BackendUnavailable:
        pass
    finally:
        await client.aclose()


async def end_at_other_store(services: Services) -> None:
    """Returns once the database is known to be of this version. At another one the process ends at once: what it does
    on the way would be written there."""
    while True:
        try:
            return await check_store(services.client)
        except BackendUnavailable:
            await anyio.sleep(_PAUSE_S)
        except SettingsRejected as error:
            print(f"gateway: {error}", file=sys.stderr, flush=True)
            os._exit(os.EX_CONFIG)
