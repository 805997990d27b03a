"""Several commands in one write on one connection. redis-py's pipeline would send them again after an error: a claim,
which is sent together with the wait before it, must not be sent twice."""

from typing import Any

from redis.exceptions import ResponseError

from shared_schemas.stream.connection import AsyncRedis


async def pipeline_raw(client: AsyncRedis, *commands: tuple[Any, ...]) -> list[Any]:
    """Send all commands in one write. -> their replies, in order. An error reply is returned as a ResponseError.

    Redis runs each command after the one before it has its reply, even if that one blocked. Nothing is sent again.
    client: if it is from connect_one, nobody else may use it while this runs."""
    await client.initialize()
    connection = client.connection or await client.connection_pool.get_connection()
    try:
        await connection.send_packed_command(connection.pack_commands(commands))
        return [await _reply(connection) for _ in commands]
    finally:
        if connection is not client.connection:
            await client.connection_pool.release(connection)


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
