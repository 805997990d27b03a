"""Calls of Lua scripts by name, with one MessagePack argument.

EVALSHA first, the source once more when Redis has forgotten it (a restart, SCRIPT FLUSH). What the source is, `linking`
says.
"""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from shared_schemas.failpoints import failpoint
from shared_schemas.stream.connection import AsyncRedis, SyncRedis
from shared_schemas.stream.linking import load
from shared_schemas.stream.redis_errors import refusal_of, translated
from shared_schemas.stream.transitions import packed_arguments


async def call(client: AsyncRedis, name: str, tag: str, arguments: Mapping[str, Any], *, seldom: bytes = b"") -> Any:
    """Run lua/<name>.lua on the queue or registry that `tag` names. seldom: more arguments, from `packed_arguments`,
    that few calls need. BackendUnavailable if Redis is away."""
    script, argument = load(name), packed_arguments(arguments)
    failpoint(f"before_{name}")
    with translated():
        try:
            reply = await client.evalsha(script.sha, 1, tag, argument, seldom)
        except NoScriptError:
            reply = await client.eval(script.source, 1, tag, argument, seldom)
    failpoint(f"after_{name}")
    return reply


def command(name: str, tag: str, arguments: Mapping[str, Any], *, seldom: bytes = b"") -> tuple[Any, ...]:
    """The same call, to be sent among others. Where Redis has forgotten the script, the reply is a NoScriptError."""
    return ("EVALSHA", load(name).sha, 1, tag, packed_arguments(arguments), seldom)


def whole_command(name: str, tag: str, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    """As command, for a Redis that has forgotten the script."""
    return ("EVAL", load(name).source, 1, tag, packed_arguments(arguments))


def call_from_thread(client: SyncRedis, name: str, tag: str, arguments: Mapping[str, Any]) -> Any:
    script, argument = load(name), packed_arguments(arguments)
    failpoint(f"before_{name}")
    with translated():
        try:
            reply = client.evalsha(script.sha, 1, tag, argument)
        except NoScriptError:
            reply = client.eval(script.source, 1, tag, argument)
        except ResponseError as error:
            # Redis 6.2 hides this from the client library, which would open another line, to the master of today.
            if refusal_of(error) == "READONLY":
                client.connection_pool.disconnect(inuse_connections=False)
            raise
    failpoint(f"after_{name}")
    return reply
