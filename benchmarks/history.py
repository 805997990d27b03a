"""Makes many finished jobs at once, as copies of everything that Redis keeps of one job. Knows no
layout."""

from shared_schemas.ids import JobId, job_ids_from, new_job_id, queue_of
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis

AT_ONCE = 2_000
LONG_AGO_MS = 1_000_000_000_000


async def copy_job(client: AsyncRedis, job_id: JobId, n: int) -> None:
    """Make n more jobs like this one, with old ids."""
    of_queue = [name.decode() async for name in client.scan_iter(match=f"{keys.tag(queue_of(job_id))}*", count=1000)]
    dumps = {name: await client.dump(name) for name in of_queue if job_id in name}
    scores = {
        name: score
        for name in of_queue
        if await client.type(name) == b"zset" and (score := await client.zscore(name, job_id)) is not None
    }
    first = new_job_id(queue_of(job_id), now_ms=LONG_AGO_MS, entropy=bytes(10))
    ids = job_ids_from(first, n)
    for start in range(0, n, AT_ONCE):
        copies = ids[start : start + AT_ONCE]
        pipeline = client.pipeline(transaction=False)
        for copy in copies:
            for name, dump in dumps.items():
                pipeline.restore(name.replace(job_id, copy), 0, dump)
        for name, score in scores.items():
            pipeline.zadd(name, dict.fromkeys(copies, score))
        await pipeline.execute()
