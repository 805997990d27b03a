"""Keys that hold a value that Headrace did not write. Recognises them by the errors of Redis, and
deletes them.

That loses no job. The stored job is the truth, and `repair` lists the jobs again that the log
names.
"""

from collections.abc import Awaitable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from shared_schemas.ids import JobId, QueueName, is_job_id, queue_of
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis


def is_of_another_type(reply: object) -> bool:
    """Whether the reply is the error of Redis for a key that holds another type than the command needs."""
    return isinstance(reply, ResponseError) and "WRONGTYPE" in str(reply)


def or_nothing(replies: Sequence[Any]) -> list[Any]:
    """replies: of a pipeline that raised no errors. -> the same, with None for each key that holds another type."""
    for reply in replies:
        if isinstance(reply, Exception) and not is_of_another_type(reply):
            raise reply
    return [None if isinstance(reply, Exception) else reply for reply in replies]


async def reply_of(call: Awaitable[Any]) -> Any:
    """None if the key holds another type."""
    try:
        return await call
    except ResponseError as error:
        [reply] = or_nothing([error])
        return reply


async def drop(client: AsyncRedis, queue: QueueName, key: str) -> None:
    """Delete a key that should be an index or a ready stream and is not. `repair` then lists its jobs again."""
    await client.delete(key)
    await client.set(keys.mend(queue), "-")


async def job_ids_of_index(client: AsyncRedis, queue: QueueName, key: str, members: Sequence[bytes]) -> list[JobId]:
    """Those members of an index that are ids of the queue. Takes the others out of the index."""
    texts = [member.decode(errors="replace") for member in members]
    is_id = [is_job_id(text) and queue_of(JobId(text)) == queue for text in texts]
    odd = [member for member, is_one in zip(members, is_id, strict=True) if not is_one]
    if odd:
        await client.zrem(key, *odd)
    return [JobId(text) for text, is_one in zip(texts, is_id, strict=True) if is_one]


async def make_group(client: AsyncRedis, queue: QueueName, lane: keys.Lane) -> None:
    """Create the ready stream of the lane, and its group. Safe to repeat."""
    stream = keys.ready(queue, lane)
    try:
        if await reply_of(client.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)) is None:
            await drop(client, queue, stream)
            await client.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
