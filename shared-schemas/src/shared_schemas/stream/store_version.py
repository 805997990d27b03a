"""The version of all that lies in a Redis database, beside the version that each job has: a mark that the first part to
come makes. Knows no key but its own.

A job of another version is left to those that know it. A database of another version has other keys: whoever does not
know them must not write a single one.
"""

from shared_schemas.settings import SettingsRejected
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.damage import reply_of
from shared_schemas.stream.redis_errors import translated

STORE_VERSION = 1


async def check_store(client: AsyncRedis) -> None:
    """SettingsRejected if the database is of another version. One without a mark is of this version: those before the
    first have none, and what of their jobs does not fit is ended or left alone job by job."""
    with translated():
        mark = await reply_of(client.get(keys.STORE))
        if mark is None and await client.set(keys.STORE, STORE_VERSION, nx=True) is None:
            mark = await reply_of(client.get(keys.STORE))
            if mark is None:
                # Not what any part has written.
                await client.set(keys.STORE, STORE_VERSION)
        if mark is not None and not (mark.isdigit() and len(mark) < 10):
            await client.set(keys.STORE, STORE_VERSION)
        elif mark is not None and int(mark) != STORE_VERSION:
            raise SettingsRejected(
                f"HEADRACE_REDIS_URL: the database is of version {int(mark)} and this Headrace knows version "
                f"{STORE_VERSION}: run the version that wrote it, or name an empty database"
            )
