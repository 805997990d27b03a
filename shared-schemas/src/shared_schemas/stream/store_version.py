"""The version of everything in a Redis database. The first process that starts sets it. Knows no key but its own.

Each job has a version too, and a job of another version is left to those that know it. A database of another version
has other keys: whoever does not know them must not write any.
"""

from shared_schemas.service.settings import SettingsRejected
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.damage import reply_of
from shared_schemas.stream.redis_errors import translate_errors

STORE_VERSION = 1


async def check_store(client: AsyncRedis) -> None:
    """SettingsRejected if the database has another version. A database without a version is taken for one of this
    version. If a job in it does not fit, it is ended or left alone, job by job."""
    with translate_errors():
        mark = await reply_of(client.get(keys.STORE))
        if mark is None and await client.set(keys.STORE, STORE_VERSION, nx=True) is None:
            mark = await reply_of(client.get(keys.STORE))
            if mark is None:
                # The key holds what no Headrace has written.
                await client.set(keys.STORE, STORE_VERSION)
        if mark is not None and not (mark.isdigit() and len(mark) < 10):
            await client.set(keys.STORE, STORE_VERSION)
        elif mark is not None and int(mark) != STORE_VERSION:
            raise SettingsRejected(
                f"HEADRACE_REDIS_URL: the database is of version {int(mark)} and this Headrace knows version "
                f"{STORE_VERSION}: run the version that wrote it, or name an empty database"
            )
