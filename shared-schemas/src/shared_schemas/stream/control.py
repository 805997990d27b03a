"""What a person can request for a job: cancel, pause, resume.

A job that is not running changes at once. For a running job the request is kept, and its attempt acts on it.
"""

from collections.abc import Sequence

from shared_schemas.codec import encode_json
from shared_schemas.errors import ErrorInfo, JobNotFound, StateConflict
from shared_schemas.events import Reason
from shared_schemas.ids import JobId, queue_of
from shared_schemas.job import JobState
from shared_schemas.lifecycle import TRANSITIONS
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.transitions import transition


class JobControl:
    """Each verb raises JobNotFound, and StateConflict if the job's state does not allow it."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def cancel(self, job_id: JobId, *, error: ErrorInfo | None = None) -> JobState:
        """Cancel the job now if it is not running, else ask its attempt to end. error: the cause, if no person
        cancelled it. -> cancelled or running. StateConflict if it has ended otherwise."""
        sources = TRANSITIONS[Reason.CANCELLED].sources - {JobState.RUNNING}
        cancelled = transition(Reason.CANCELLED, sources=sources, error=error)
        if error is not None:
            cancelled["error"] = encode_json(error).decode()
        answer = await scripts.call(
            self._nodes.of_job(job_id),
            "request_cancel",
            keys.tag(queue_of(job_id)),
            {
                "id": job_id,
                "cancelled": cancelled,
                "requested": transition(Reason.CANCEL_REQUESTED),
            },
        )
        if answer[0] == b"refused" and answer[1].decode() == JobState.CANCELLED:
            return JobState.CANCELLED
        return _as_state(answer, {b"cancelled": JobState.CANCELLED, b"requested": JobState.RUNNING})

    async def cancel_all(self, job_ids: Sequence[JobId]) -> None:
        """As cancel, for jobs of one queue, in one step. Those that have ended or are gone stay as they are."""
        sources = TRANSITIONS[Reason.CANCELLED].sources - {JobState.RUNNING}
        await scripts.call(
            self._nodes.of_job(job_ids[0]),
            "request_cancel",
            keys.tag(queue_of(job_ids[0])),
            {
                "ids": job_ids,
                "cancelled": transition(Reason.CANCELLED, sources=sources),
                "requested": transition(Reason.CANCEL_REQUESTED),
            },
        )

    async def pause(self, job_id: JobId) -> JobState:
        """Pause the job now if it is not running, else ask its attempt to save a checkpoint and let go. -> paused or
        running."""
        answer = await scripts.call(
            self._nodes.of_job(job_id),
            "request_pause",
            keys.tag(queue_of(job_id)),
            {
                "id": job_id,
                "paused": transition(Reason.PAUSED, sources=frozenset({JobState.SCHEDULED, JobState.QUEUED})),
                "requested": transition(Reason.PAUSE_REQUESTED),
            },
        )
        return _as_state(answer, {b"paused": JobState.PAUSED, b"requested": JobState.RUNNING})

    async def resume(self, job_id: JobId) -> JobState:
        """Let a paused job go on. -> queued, scheduled, or running if the pause was withdrawn in time. The state of the
        job if it goes on already."""
        answer = await scripts.call(
            self._nodes.of_job(job_id),
            "resume",
            keys.tag(queue_of(job_id)),
            {
                "id": job_id,
                "queued": transition(Reason.RESUMED),
                "scheduled": transition(Reason.SCHEDULED),
                "withdrawn": transition(Reason.PAUSE_WITHDRAWN),
            },
        )
        return _as_state(
            answer,
            {
                b"queued": JobState.QUEUED,
                b"scheduled": JobState.SCHEDULED,
                b"withdrawn": JobState.RUNNING,
            },
        )


def _as_state(answer: list[bytes], meanings: dict[bytes, JobState]) -> JobState:
    if answer[0] == b"missing":
        raise JobNotFound("no such job")
    if answer[0] == b"refused":
        raise StateConflict(f"the job is {answer[1].decode()}")
    return meanings[answer[0]]
