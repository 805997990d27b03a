"""Counts the jobs of a queue by state and lane, its dead letters and its workers. Does not know which queues exist."""

from collections.abc import Sequence
from typing import Any

from shared_schemas.ids import JobId, QueueName, created_ms, is_job_id, kind_of_queue
from shared_schemas.job import JobState, QueueStatus
from shared_schemas.lifecycle import from_ms
from shared_schemas.stream.asking import ask_queues
from shared_schemas.stream.change_log import parse_stream_id
from shared_schemas.stream.drain_rate import DrainRate
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.nodes import Nodes

_STATES = tuple(JobState)
STATUS_CALL = ("status", {"states": _STATES, "lanes": LANES, "queued": JobState.QUEUED})


async def statuses_of(nodes: Nodes, queues: Sequence[QueueName]) -> list[QueueStatus]:
    """One round trip for each node."""
    replies, _ = await ask_queues(nodes, queues, lambda _: STATUS_CALL)
    return [status_from(queue, replies[queue]) for queue in queues]


def status_from(queue: QueueName, reply: Any) -> QueueStatus:
    """reply: of status.lua."""
    counts, dead, workers, oldest, log_from, ended, took_ms = reply
    first = oldest.decode(errors="replace")
    rate = DrainRate.measured(ended, took_ms)
    by_state = dict(zip(_STATES, counts, strict=True))
    return QueueStatus(
        name=queue,
        kind=kind_of_queue(queue),
        jobs={state.value: sum(of_lanes) for state, of_lanes in by_state.items()},
        ready={lane.value: n for lane, n in zip(LANES, by_state[JobState.QUEUED], strict=True)},
        dead=dead,
        workers=workers,
        drain_per_s=None if rate is None else rate.per_s,
        log_from=from_ms(parse_stream_id(log_from.decode())[0]) if log_from else None,
        oldest_queued_at=from_ms(created_ms(JobId(first))) if is_job_id(first) else None,
    )
