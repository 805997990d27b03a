"""What is left of a queue at rest, where nothing should be left. For the end of tests that broke
something."""

from shared_schemas.ids import QueueName
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.keys import GROUP, Lane


async def left_over(client: AsyncRedis, queue: QueueName) -> dict[str, int]:
    """How many entries, pending entries, leases, and jobs that are due or waiting there are, by
    name. Empty at rest."""
    found: dict[str, int] = {}
    for lane in Lane:
        stream = keys.ready(queue, lane)
        found[f"ready:{lane}"] = await client.xlen(stream)
        if found[f"ready:{lane}"] or await client.exists(stream):
            for group in await client.xinfo_groups(stream):
                if group["name"] == GROUP.encode():
                    found[f"pending:{lane}"] = group["pending"]
    for name in ("leases", "due", "waiting", "deadlines"):
        found[name] = await client.zcard(f"{keys.tag(queue)}{name}")
    return {name: count for name, count in found.items() if count}
