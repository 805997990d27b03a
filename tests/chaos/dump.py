"""Reads a Dump from Redis at rest, for the checker: every key about the jobs of a history."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import JobState
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.stored_jobs import fields_of

from tests.chaos.history import Dump, JobDump
from tests.support.stored import entries_of

_SETS = ("leases", "due", "waiting", "deadlines")
_PAGE = 200
OPEN = tuple(state for state in JobState if not state.is_terminal)
_SHA256 = re.compile(r'"sha256":"([0-9a-f]{64})"')


async def is_at_rest(client: AsyncRedis, queue: QueueName) -> bool:
    """Whether no job is open and no stream has an entry."""
    pipeline = client.pipeline(transaction=True)
    for lane in LANES:
        pipeline.xlen(keys.ready(queue, lane))
        for state in OPEN:
            pipeline.zcard(keys.listing(queue, state, lane))
    return not any(await pipeline.execute())


async def ids_in(client: AsyncRedis, queue: QueueName, state: JobState) -> list[JobId]:
    found = [await client.zrange(keys.listing(queue, state, lane), 0, -1) for lane in LANES]
    return [JobId(job_id.decode()) for ids in found for job_id in ids]


async def take(
    client: AsyncRedis, queues: Iterable[QueueName], *, since_ms: int, artifacts: Path | None = None
) -> Dump:
    """since_ms: jobs that were submitted before do not belong to the history."""
    jobs: dict[str, JobDump] = {}
    listings: dict[str, tuple[str, ...]] = {}
    sets: dict[str, tuple[str, ...]] = {}
    streams: dict[str, tuple[int, int]] = {}
    for queue in queues:
        for lane in LANES:
            streams[f"{queue}:{lane}"] = await _fill(client, keys.ready(queue, lane))
            for state in JobState:
                ids = _texts(await client.zrange(keys.listing(queue, state, lane), 0, -1))
                listings[f"{state}:{lane}"] = listings.get(f"{state}:{lane}", ()) + ids
        for name in _SETS:
            sets[name] = sets.get(name, ()) + _texts(await client.zrange(f"{keys.tag(queue)}{name}", 0, -1))
        jobs |= await _jobs(client, queue, since_ms)
    return Dump(jobs=jobs, listings=listings, sets=sets, streams=streams, artifacts=_shas(jobs, artifacts))


async def _fill(client: AsyncRedis, stream: str) -> tuple[int, int]:
    length = await client.xlen(stream)
    groups = await client.xinfo_groups(stream) if await client.exists(stream) else []
    return length, sum(group["pending"] for group in groups)


async def _jobs(client: AsyncRedis, queue: QueueName, since_ms: int) -> dict[str, JobDump]:
    ids = [JobId(key.decode().partition("job:")[2]) async for key in client.scan_iter(f"{keys.tag(queue)}job:*", 1000)]
    jobs = {}
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        pipeline = client.pipeline(transaction=False)
        for job_id in page:
            pipeline.hgetall(keys.job(job_id))
            pipeline.xrange(keys.events(job_id))
        replies = await pipeline.execute()
        for job_id, fields, events in zip(page, replies[::2], replies[1::2], strict=True):
            named = fields_of(fields)
            if int(named.get("created", 0)) >= since_ms:
                jobs[str(job_id)] = JobDump(
                    fields={name: value.decode() for name, value in named.items()},
                    events=tuple((f"{entry.n}-0", entry.data.decode()) for entry in entries_of(fields, events)),
                )
    return jobs


def _shas(jobs: dict[str, JobDump], folder: Path | None) -> dict[str, str]:
    """The SHA-256 of the content of every file that the jobs name, by its name."""
    if folder is None:
        return {}
    named = {sha for job in jobs.values() for _, data in job.events for sha in _SHA256.findall(data)}
    return {sha: _sha_of_file(folder / "sha256" / sha[:2] / sha) for sha in named}


def _sha_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _texts(values: list[bytes]) -> tuple[str, ...]:
    return tuple(value.decode() for value in values)
