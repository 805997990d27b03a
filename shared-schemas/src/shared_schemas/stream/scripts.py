"""Calls of Lua scripts by name, with one MessagePack argument.

A call is an EVALSHA. If Redis has forgotten the script, as after a restart, the call is made again with the source,
which comes from `linking`.
"""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from shared_schemas.service.failpoints import failpoint
from shared_schemas.stream.connection import AsyncRedis, SyncRedis
from shared_schemas.stream.linking import load
from shared_schemas.stream.redis_errors import refusal_of, translate_errors
from shared_schemas.stream.transitions import packed_arguments


async def call(
    client: AsyncRedis, name: str, tag: str, arguments: Mapping[str, Any], *, rare_arguments: bytes = b""
) -> Any:
    """Run lua/<name>.lua on the queue or registry of `tag`. rare_arguments: further arguments that few calls need, from
    `packed_arguments`. BackendUnavailable if Redis is away."""
    script, argument = load(name), packed_arguments(arguments)
    failpoint(f"before_{name}")
    with translate_errors():
        try:
            reply = await client.evalsha(script.sha, 1, tag, argument, rare_arguments)
        except NoScriptError:
            reply = await client.eval(script.source, 1, tag, argument, rare_arguments)
    failpoint(f"after_{name}")
    return reply


def command(name: str, tag: str, arguments: Mapping[str, Any], *, rare_arguments: bytes = b"") -> tuple[Any, ...]:
    """The same call as a command, to be sent with others. The reply is a NoScriptError if Redis has forgotten the
    script."""
    return ("EVALSHA", load(name).sha, 1, tag, packed_arguments(arguments), rare_arguments)


def whole_command(name: str, tag: str, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    """As command, but for a Redis that has forgotten the script."""
    return ("EVAL", load(name).source, 1, tag, packed_arguments(arguments))


def call_from_thread(client: SyncRedis, name: str, tag: str, arguments: Mapping[str, Any]) -> Any:
    script, argument = load(name), packed_arguments(arguments)
    failpoint(f"before_{name}")
    with translate_errors():
        try:
            reply = client.evalsha(script.sha, 1, tag, argument)
        except NoScriptError:
            reply = client.eval(script.source, 1, tag, argument)
        except ResponseError as error:
            # In Redis 6.2 the client library does not recognise this error. It would reconnect, to the new master.
            if refusal_of(error) == "READONLY":
                client.connection_pool.disconnect(inuse_connections=False)
            raise
    failpoint(f"after_{name}")
    return reply
