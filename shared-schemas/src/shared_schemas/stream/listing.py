"""Pages of jobs, for whatever sets of ids a queue keeps. Knows no job's meaning."""

from collections.abc import Sequence

import msgspec

from shared_schemas.ids import JobId, QueueName, is_job_id
from shared_schemas.job import JobState, JobSummary
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.rows import SUMMARY_FIELDS, summary_of

# Ids whose jobs do not fit are passed over; more of them end the page early.
_LOOKS = 2_000


class Page(msgspec.Struct, frozen=True):
    """before: pass it to get the next page; None at the end."""

    jobs: list[JobSummary]
    before: str | None


async def page_of(
    client: AsyncRedis, queue: QueueName, sets: Sequence[str], *, states: Sequence[JobState], limit: int,
    before: JobId | None,
) -> Page:  # fmt: skip
    """sets: names of zsets of job ids, merged. Summaries from one snapshot."""
    rows, next_before = await scripts.call(
        client,
        "list",
        keys.tag(queue),
        {
            "sets": sets,
            "before": before or "",
            "limit": limit,
            "states": scripts.names(states),
            "fields": SUMMARY_FIELDS,
            "looks": _LOOKS,
        },
    )
    return Page([summary_of(queue, row) for row in rows if is_job_id(row[0].decode())], next_before.decode() or None)
