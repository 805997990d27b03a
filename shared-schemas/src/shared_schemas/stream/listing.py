"""Pages of jobs, from any sets of ids that a queue keeps. Does not know what the sets mean."""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared_schemas.ids import JobId, QueueName, is_job_id
from shared_schemas.job import JobState, JobSummary
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.stored_jobs import SUMMARY_FIELDS, summary_of
from shared_schemas.stream.transitions import set_of

# A page skips so many ids whose jobs do not match. More of them end the page early.
_LOOKS = 2_000


class Page(msgspec.Struct, frozen=True):
    """before: pass it to get the next page; None at the end."""

    jobs: list[JobSummary]
    before: str | None


async def page_of(
    client: AsyncRedis, queue: QueueName, sets: Sequence[str], *, states: Sequence[JobState], limit: int,
    before: JobId | None,
) -> Page:  # fmt: skip
    """sets: names of sorted sets of job ids, which are merged. The summaries are of one snapshot."""
    arguments = page_arguments(sets, states=states, limit=limit, before=before)
    return page_from(queue, await scripts.call(client, "list", keys.tag(queue), arguments))


def sets_of_jobs(states: Sequence[JobState], tag: str | None) -> list[str]:
    """The sets of jobs in these states, or in any state if none is given. With a tag, the set of jobs with that tag:
    the page then filters by state."""
    if tag is not None:
        return [f"tagged:{tag}"]
    return [f"listing:{state}:{lane}" for state in tuple(states) or tuple(JobState) for lane in Lane]


def sets_of_dead_letters(code: str | None) -> list[str]:
    return ["dead" if code is None else f"dead:{code}"]


def page_arguments(
    sets: Sequence[str], *, states: Sequence[JobState], limit: int, before: JobId | None
) -> dict[str, Any]:
    """The arguments of list.lua; see page_of."""
    return {
        "sets": sets,
        "before": before or "",
        "limit": limit,
        "states": set_of(states),
        "fields": SUMMARY_FIELDS,
        "looks": _LOOKS,
    }


def page_from(queue: QueueName, reply: Any) -> Page:
    """reply: of list.lua."""
    rows, next_before = reply
    return Page([summary_of(queue, row) for row in rows if is_job_id(row[0].decode())], next_before.decode() or None)
