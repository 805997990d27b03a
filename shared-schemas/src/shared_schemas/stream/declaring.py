"""Declarations of queues. Whoever serves a queue repeats its declaration from time to time."""

from collections.abc import Iterable

from shared_schemas.ids import QueueName, is_queue
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.damage import reply_of
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_errors import translate_errors


async def declare(nodes: Nodes, queues: Iterable[QueueName]) -> None:
    """Declare queues, for the first time or again."""
    arguments = {"declared": list(queues), "empty": [], "known_ms": 0, "leaving_ms": 0}
    await scripts.call(nodes.shared, "queues", keys.ALL, arguments)


async def declared(nodes: Nodes) -> list[QueueName]:
    """The declared queues. `queues.Queues` also knows those that exist without a declaration."""
    with translate_errors():
        names = await reply_of(nodes.shared.zrange(keys.DECLARED, 0, -1)) or ()
    return sorted(QueueName(name) for member in names if is_queue(name := member.decode(errors="replace")))
