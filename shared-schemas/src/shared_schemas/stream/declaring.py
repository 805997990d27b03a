"""Saying which queues there are: whoever serves one says so again and again."""

from collections.abc import Iterable

from shared_schemas.ids import QueueName
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis


async def declare(client: AsyncRedis, queues: Iterable[QueueName]) -> None:
    """Put the queues on record, or say again that they are there."""
    arguments = {"declared": list(queues), "empty": [], "known_ms": 0, "leaving_ms": 0}
    await scripts.call(client, "queues", keys.ALL, arguments)
