"""What somebody else put under a name of ours: told from what Redis answers, and dropped where it stands in the way.

Nothing of a job is lost by that: its hash is the truth, and `repair` lists anew what the log names. Knows no job.
"""

from collections.abc import Awaitable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from shared_schemas.ids import QueueName
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis


def is_of_another_type(reply: object) -> bool:
    """Whether Redis said that a key holds something of another type than Headrace keeps there."""
    return isinstance(reply, ResponseError) and "WRONGTYPE" in str(reply)


def or_nothing(replies: Sequence[Any]) -> list[Any]:
    """Replies of a pipeline that raised none of them, with None where a key holds something of another type."""
    for reply in replies:
        if isinstance(reply, Exception) and not is_of_another_type(reply):
            raise reply
    return [None if isinstance(reply, Exception) else reply for reply in replies]


async def reply_of(call: Awaitable[Any]) -> Any:
    """None where the key holds something of another type."""
    try:
        return await call
    except ResponseError as error:
        [reply] = or_nothing([error])
        return reply


async def drop(client: AsyncRedis, queue: QueueName, key: str) -> None:
    """An index or a ready stream that is none."""
    await client.delete(key)
    await client.set(keys.mend(queue), "-")


async def make_group(client: AsyncRedis, queue: QueueName, lane: keys.Lane) -> None:
    """The lane's ready stream and its group. Safe to repeat."""
    stream = keys.ready(queue, lane)
    try:
        if await reply_of(client.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)) is None:
            await drop(client, queue, stream)
            await client.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
