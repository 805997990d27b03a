"""Runs one script for many queues, in one round trip for each node.

Knows neither which queues exist nor what a reply means.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError

from shared_schemas.ids import QueueName
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_errors import translate_errors

# For each queue the name of a script and its arguments.
Call: TypeAlias = Callable[[QueueName], tuple[str, Mapping[str, Any]]]


async def ask_queues(
    nodes: Nodes, queues: Sequence[QueueName], call: Call, *, first: Sequence[tuple[Any, ...]] = ()
) -> tuple[dict[QueueName, Any], list[Any]]:
    """Run the script of `call` for each queue. first: commands that the shared node runs before its scripts, in the
    same round trip. -> the reply of each queue; the replies of `first`, of which an error is returned, not raised"""
    replies, of_first = dict[QueueName, Any](), list[Any]()
    for client, some in nodes.group_queues(queues):
        ahead = first if client is nodes.shared else ()
        answers, found = await _ask_node(client, some, call, ahead)
        replies |= answers
        of_first += found
    return replies, of_first


async def _ask_node(
    client: AsyncRedis, queues: Sequence[QueueName], call: Call, first: Sequence[tuple[Any, ...]]
) -> tuple[dict[QueueName, Any], list[Any]]:
    calls = [(queue, *call(queue)) for queue in queues]
    with translate_errors():
        commands = [scripts.command(name, keys.tag(queue), given) for queue, name, given in calls]
        replies = await _pipelined(client, [*first, *commands])
        if any(isinstance(reply, NoScriptError) for reply in replies):
            commands = [scripts.whole_command(name, keys.tag(queue), given) for queue, name, given in calls]
            replies = await _pipelined(client, [*first, *commands])
        of_first, of_queues = replies[: len(first)], replies[len(first) :]
        for reply in of_queues:
            if isinstance(reply, Exception):
                raise reply
    return dict(zip(queues, of_queues, strict=True)), of_first


async def _pipelined(client: AsyncRedis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return list(await pipeline.execute(raise_on_error=False))
