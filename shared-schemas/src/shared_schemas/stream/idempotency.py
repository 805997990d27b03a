"""Which job an Idempotency-Key names, in any queue.

All keys are in the slot of the queue with the most jobs, KEYS_OF. The script that stores a job of
that queue also checks its key. For any other queue, `claim_keys` first assigns the key to the id
that the job will have. Then the job is stored under that id. If a process dies in between, the key
keeps its id, and the next request with that key stores the job. So a job with a key costs one more
call if it goes to another queue than KEYS_OF. If its queue refuses it, `release_keys` takes the body
off the key, which then stands for no job.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from shared_schemas.ids import JobId, default_queue, queue_of
from shared_schemas.kinds import JobKind
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.nodes import Nodes

KEYS_OF = default_queue(JobKind.INFERENCE)
IDEMPOTENCY_TTL_MS = 86_400_000


class Keyed(Protocol):
    @property
    def job_id(self) -> JobId: ...
    @property
    def idempotency_key(self) -> str | None: ...
    @property
    def fingerprint(self) -> str: ...


S = TypeVar("S", bound=Keyed)


def is_claimed_first(submission: Keyed) -> bool:
    return submission.idempotency_key is not None and queue_of(submission.job_id) != KEYS_OF


async def claim_keys(nodes: Nodes, submissions: Sequence[S]) -> dict[int, tuple[str, JobId]]:
    """Claim the keys of submissions to other queues than KEYS_OF. -> for the place of each such
    submission: "claimed"; "known" for a key with the same body; or "conflict" for a key with
    another body; and the id of the key."""
    keyed = [place for place, each in enumerate(submissions) if each.idempotency_key is not None]
    places = [place for place in keyed if is_claimed_first(submissions[place])]
    if not places:
        return {}
    items = [_item(submissions[place], submissions[place].job_id) for place in places]
    answers = await scripts.call(
        nodes.of_queue(KEYS_OF), "claim_keys", keys.tag(KEYS_OF), {"items": items, "idem_ttl_ms": IDEMPOTENCY_TTL_MS}
    )
    return {place: (how.decode(), JobId(job_id.decode())) for place, (how, job_id) in zip(places, answers, strict=True)}


async def release_keys(nodes: Nodes, refused: Sequence[tuple[Keyed, JobId]]) -> None:
    """Release the keys of submissions that were refused. Each with the id that `claim_keys` gave it."""
    items = [_item(submission, job_id) for submission, job_id in refused]
    await scripts.call(nodes.of_queue(KEYS_OF), "release_keys", keys.tag(KEYS_OF), {"items": items})


def _item(submission: Keyed, job_id: JobId) -> tuple[str | None, JobId, str]:
    return submission.idempotency_key, job_id, submission.fingerprint or "-"
