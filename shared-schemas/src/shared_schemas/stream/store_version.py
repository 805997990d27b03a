"""The version of everything in a Redis database. The first process that starts sets it. Uses no
other key.

Each job has a version too. A job of a newer version is left to newer processes. A database of
another version has other keys, so a process of this version must not write to it.
"""

from shared_schemas.service.settings import SettingsRejected
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.damage import reply_of
from shared_schemas.stream.redis_errors import translate_errors

STORE_VERSION = 1


async def check_store(client: AsyncRedis) -> None:
    """SettingsRejected if the database has another version. A database without a version counts as
    one of this version: each job in it that does not fit is failed, or left alone."""
    with translate_errors():
        found = await reply_of(client.get(keys.STORE))
        if found is None and await client.set(keys.STORE, STORE_VERSION, nx=True) is None:
            found = await reply_of(client.get(keys.STORE))
            if found is None:
                # The key holds another type, which Headrace has not written.
                await client.set(keys.STORE, STORE_VERSION)
        if found is not None and not (found.isdigit() and len(found) < 10):
            await client.set(keys.STORE, STORE_VERSION)
        elif found is not None and int(found) != STORE_VERSION:
            raise SettingsRejected(
                f"HEADRACE_REDIS_URL: the database is of version {int(found)} and this Headrace knows version "
                f"{STORE_VERSION}: run the version that wrote it, or name an empty database"
            )
