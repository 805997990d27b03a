"""Which files of the artifact store Redis refers to. Jobs have checkpoints and artifacts, models
have files.

Reads and writes no file.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from shared_schemas.artifacts import References
from shared_schemas.codec import decode_event
from shared_schemas.events import Checkpointed
from shared_schemas.ids import JobId, QueueName, is_job_id, kind_of_queue
from shared_schemas.job import JobState
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import SHORT_FIELDS
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.redis_errors import translate_errors
from shared_schemas.stream.timeline import Entry, Timeline, entries_in_hash

_NAMED = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PAGE = 100


class StoreBinding:
    """Which artifact store belongs to this Redis, and which process may remove files from it now."""

    def __init__(self, nodes: Nodes) -> None:
        self._client = nodes.shared

    async def identity(self) -> str | None:
        with translate_errors():
            known = await self._client.get(keys.ARTIFACTS)
        return None if known is None else known.decode()

    async def identify(self, identity: str) -> str:
        """Set the identity if there is none. -> the identity of the store, which is that of the
        first process to set it"""
        with translate_errors():
            await self._client.set(keys.ARTIFACTS, identity, nx=True)
            return str((await self._client.get(keys.ARTIFACTS)).decode())

    async def take_turn(self, *, every_s: float) -> bool:
        """Whether this process may remove files now: no process has had a turn for so long."""
        with translate_errors():
            return bool(await self._client.set(keys.ARTIFACTS_TURN, 1, nx=True, px=round(every_s * 900)))


async def read_references(nodes: Nodes, *, checkpoints_kept: int, queues: Iterable[QueueName] = ()) -> References:
    """checkpoints_kept: how many of the newest checkpoints of a job; the best one is also kept. queues: beside those
    that are declared. If an entry cannot be read, all files that it names are kept."""
    found = _Found(checkpoints_kept)
    with translate_errors():
        # Staged before published, so that a model that is published in between is found.
        await _read_models(nodes.shared, found)
        for queue in await Queues(nodes, always=queues).names():
            if kind_of_queue(queue).makes_files:
                ids = await _job_ids(nodes.of_queue(queue), queue)
                for first in range(0, len(ids), _PAGE):
                    await _read_jobs(nodes, queue, ids[first : first + _PAGE], found)
    return found.references()


class _Found:
    def __init__(self, checkpoints_kept: int) -> None:
        self._n = checkpoints_kept
        self.kept, self._checkpoints, self._superseded = set[str](), set[str](), set[str]()

    def name_all(self, data: bytes) -> None:
        self.kept.update(name.decode() for name in _NAMED.findall(data))

    def read_job(self, fields: dict[bytes, bytes], timeline: Sequence[Entry]) -> None:
        short = {name.encode() for name in SHORT_FIELDS}
        for name, value in fields.items():
            if name not in short:
                self.name_all(value)
        made: list[Checkpointed] = []
        for entry in timeline:
            event = _checkpoint(entry)
            if event is None:
                self.name_all(entry.data)
            else:
                made.append(event)
        best = [event for event in made if event.best][-1:]
        kept = {event.artifact.sha256 for event in (*best, *made[-self._n :])}
        self.kept |= kept
        self._checkpoints |= kept
        self._superseded |= {event.artifact.sha256 for event in made} - kept

    def references(self) -> References:
        return References(
            kept=frozenset(self.kept),
            checkpoints=frozenset(self._checkpoints),
            superseded=frozenset(self._superseded - self.kept),
        )


def _checkpoint(entry: Entry) -> Checkpointed | None:
    try:
        event = decode_event(entry.data) if entry.event == "checkpoint" else None
    except msgspec.DecodeError:
        return None
    return event if isinstance(event, Checkpointed) else None


async def _read_models(client: AsyncRedis, found: _Found) -> None:
    versions = list[str]()
    for member in await client.smembers(keys.STAGING):
        name, version = await client.hmget(keys.staged(JobId(member.decode())), "name", "version")
        if name is not None and version is not None:
            versions.append(f"{name.decode()}@{version.decode()}")
    for name in await client.zrange(keys.MODEL_NAMES, 0, -1):
        numbers = await client.zrange(keys.published(name.decode()), 0, -1)
        versions += [f"{name.decode()}@{number.decode()}" for number in numbers]
    for first in range(0, len(versions), _PAGE):
        pipeline = client.pipeline(transaction=False)
        for version in versions[first : first + _PAGE]:
            pipeline.hget(keys.model_version(version), "manifest")
        for manifest in await pipeline.execute():
            found.name_all(manifest or b"")


async def _job_ids(client: AsyncRedis, queue: QueueName) -> list[JobId]:
    """From one snapshot, so that a job that changes its state in the meantime is not missed."""
    pipeline = client.pipeline(transaction=True)
    for state in JobState:
        for lane in LANES:
            pipeline.zrange(keys.listing(queue, state, lane), 0, -1)
    members = {member.decode(errors="replace") for row in await pipeline.execute() for member in row}
    return [JobId(member) for member in sorted(members) if is_job_id(member)]


async def _read_jobs(nodes: Nodes, queue: QueueName, ids: Sequence[JobId], found: _Found) -> None:
    pipeline = nodes.of_queue(queue).pipeline(transaction=False)
    for job_id in ids:
        pipeline.hgetall(keys.job(job_id))
    for job_id, fields in zip(ids, await pipeline.execute(), strict=True):
        timeline = entries_in_hash([fields.get(name.encode()) for name in SHORT_FIELDS])
        found.read_job(fields, timeline or await _long_timeline(nodes, job_id))


async def _long_timeline(nodes: Nodes, job_id: JobId) -> list[Entry]:
    entries, timeline = list[Entry](), Timeline(nodes)
    while page := await timeline.read(job_id, after=entries[-1].n if entries else 0):
        entries += page
    return entries
