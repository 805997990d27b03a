"""Several commands in one write, on one connection, without what redis-py's pipeline adds: a claim is sent together
with the wait before it, and must not be sent twice."""

from typing import Any

from redis.exceptions import ResponseError

from shared_schemas.stream.connection import AsyncRedis


async def ask_together(client: AsyncRedis, *commands: tuple[Any, ...]) -> list[Any]:
    """Send all commands in one write. -> their replies in order; an error reply is returned as a ResponseError.

    Redis runs each command once the one before has its answer, even where that one blocked. Nothing is sent again.
    client: while this runs, nobody else may use a client of connect_one."""
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
