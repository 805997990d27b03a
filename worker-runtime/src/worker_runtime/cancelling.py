"""Passes requests to cancel or pause a job to its running attempt.

Requests arrive by pub/sub. A request that is lost on the way comes with the next renewal of the
lease.
"""

from collections.abc import Callable

import anyio
import structlog
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import JobId, QueueName
from shared_schemas.stream import keys
from shared_schemas.stream.leases import Renewal
from shared_schemas.stream.pubsub import PubSubConnection

from worker_runtime.active_attempts import ActiveAttempts
from worker_runtime.handler import StopReason

_REQUESTS = {"cancel": StopReason.CANCELLED, "pause": StopReason.PAUSED}


async def listen(connect: Callable[[], PubSubConnection], queues: list[QueueName], active: ActiveAttempts) -> None:
    backoff = Backoff()
    while True:
        try:
            async with connect() as pubsub:
                await pubsub.subscribe(*(keys.control_channel(queue) for queue in queues))
                async for _, payload in pubsub.messages():
                    backoff.reset()
                    if payload is not None:
                        _apply_request(payload, active)
        except BackendUnavailable:
            await anyio.sleep(backoff.next_s())


def apply_renewals(
    active: ActiveAttempts, fences: dict[JobId, str], renewals: dict[JobId, Renewal], pause_grace_s: float
) -> None:
    """Apply what a renewal said about each attempt: that its claim is lost, or a request that did
    not arrive. fences: of the attempts that were renewed. pause_grace_s: how long a handler may
    take to save a checkpoint for a pause."""
    for job_id, renewal in renewals.items():
        attempt = active.attempt(job_id, fences[job_id])
        if attempt is None:
            continue
        if not renewal.held:
            attempt.ask(StopReason.CLAIM_LOST)
        elif renewal.cancel_requested:
            attempt.ask(StopReason.CANCELLED)
        elif renewal.pause_requested:
            attempt.ask(StopReason.PAUSED)
            if attempt.has_ignored_pause(grace_s=pause_grace_s):
                attempt.scope.cancel()
        else:
            attempt.withdraw_pause()


def _apply_request(payload: bytes, active: ActiveAttempts) -> None:
    verb, _, job_id = payload.decode(errors="replace").partition(" ")
    reason = _REQUESTS.get(verb)
    if reason is not None and active.ask(JobId(job_id), reason):
        structlog.get_logger().info("stop_requested", job_id=job_id, reason=reason)
