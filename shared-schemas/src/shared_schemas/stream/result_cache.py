"""Which job has the result of a question that was asked before. A question is a model, an input and
parameters; whoever asks knows what belongs to it, and gives its digest.

The cache of a queue keeps ids of jobs and no results: a result stays where it is, in its job. So a
job that is deleted takes its result with it. Knows no model.
"""

import msgspec

from shared_schemas.ids import JobId, QueueName, queue_of
from shared_schemas.job import JobState
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.transitions import set_of

_SOURCES = set_of([JobState.SUCCEEDED])
_decode_facts = msgspec.json.Decoder(dict[str, str]).decode


class CachedResult(msgspec.Struct, frozen=True):
    """job_id: the job that made it. result: JSON. digest, facts: see outcome.Success."""

    job_id: JobId
    result: bytes
    digest: str
    facts: dict[str, str]


class ResultCache:
    """most: how many results of a queue can be found; 0 turns the cache off. age_s: for how long."""

    def __init__(self, nodes: Nodes, *, most: int, age_s: float) -> None:
        self._nodes, self._most, self._age_s = nodes, most, age_s

    @property
    def is_on(self) -> bool:
        return self._most > 0

    async def get(self, queue: QueueName, digest: str) -> CachedResult | None:
        """digest: of the question. None if no job has its result. BackendUnavailable."""
        found = await scripts.call(
            self._nodes.of_queue(queue), "cache_get", keys.tag(queue), {"digest": digest, "sources": _SOURCES}
        )
        if not found:
            return None
        job_id, result, result_digest, facts = found
        try:
            msgspec.json.decode(result, type=msgspec.Raw)
            known = _decode_facts(facts) if facts else {}
            return CachedResult(JobId(job_id.decode()), result, result_digest.decode(), known)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # What no worker wrote is in the hash of that job.
            return None

    async def put(self, digest: str, job_id: JobId) -> None:
        """Note that the job has the result. It may be noted before the job has ended: `get` gives
        only results of jobs that have succeeded. BackendUnavailable."""
        queue = queue_of(job_id)
        await scripts.call(
            self._nodes.of_queue(queue),
            "cache_put",
            keys.tag(queue),
            {"digest": digest, "id": job_id, "age_ms": max(1, round(self._age_s * 1000)), "most": self._most},
        )
