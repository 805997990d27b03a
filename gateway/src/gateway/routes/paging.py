"""Pages of jobs from many queues, newest first, by a cursor that new jobs do not move. Knows no
route."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta
from shared_schemas.ids import JobId, QueueName, is_ulid, ulid_of
from shared_schemas.job import JobSummary
from shared_schemas.replies import ProblemItem
from shared_schemas.stream.listing import Page

from gateway.edge.problems import ProblemError

Limit = Annotated[int, Meta(ge=1, le=100)]
# A place in a listing of jobs: a point in time, as a ULID. Clients must not rely on that.
Cursor = Annotated[str, Meta(pattern=r"^[0-7][0-9a-hjkmnp-tv-z]{25}\Z")]


def merged(pages: Sequence[Page], limit: int) -> tuple[tuple[JobSummary, ...], str | None]:
    """The queues' pages merged by the time of submission, and the cursor of the next page. If a
    queue has more jobs than its page, those are unknown here, so no job older than the end of that
    page is returned."""
    more = [ulid_of(JobId(page.before)) for page in pages if page.before is not None]
    horizon = max(more, default="")
    jobs = sorted((job for page in pages for job in page.jobs), key=lambda job: ulid_of(job.id), reverse=True)
    kept = [job for job in jobs if ulid_of(job.id) >= horizon][:limit]
    has_more = len(kept) < len(jobs) or bool(more)
    if not has_more:
        return tuple(kept), None
    last = ulid_of(kept[-1].id) if len(kept) == limit or not more else horizon
    return tuple(kept), last


def moment_of(cursor: str | None, *, pointer: str = "cursor") -> str | None:
    """The time of a cursor, as a ULID. pointer: where it was given, for the problem if it is
    malformed."""
    if cursor is None:
        return None
    if is_ulid(cursor):
        return cursor
    item = ProblemItem(pointer=pointer, code="invalid_value", detail="not a cursor of this API")
    raise ProblemError(422, "invalid_parameter", "the cursor is not valid", errors=[item])


def id_at(queue: QueueName, moment: str | None) -> JobId | None:
    """The id that a job submitted to this queue at that time would have."""
    return None if moment is None else JobId(f"{queue}-{moment}")
