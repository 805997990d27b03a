"""Requests to running attempts, as soon as they are made. The heartbeat brings what is missed here."""

from collections.abc import Callable

import anyio
import structlog
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import JobId, QueueName
from shared_schemas.stream import keys
from shared_schemas.stream.timeline import Doorbells

from worker_runtime.backoff import Backoff
from worker_runtime.handler import StopReason
from worker_runtime.holding import Held

_REQUESTS = {"cancel": StopReason.CANCELLED, "pause": StopReason.PAUSED}


async def listen(doorbells: Callable[[], Doorbells], queues: list[QueueName], held: Held) -> None:
    backoff = Backoff()
    while True:
        try:
            async with doorbells() as bells:
                await bells.add(*(keys.control(queue) for queue in queues))
                async for _, payload in bells.rings():
                    backoff.reset()
                    if payload is not None:
                        _heed(payload, held)
        except BackendUnavailable:
            await anyio.sleep(backoff.next_s())


def _heed(payload: bytes, held: Held) -> None:
    verb, _, job_id = payload.decode(errors="replace").partition(" ")
    attempt, reason = held.attempt(JobId(job_id)), _REQUESTS.get(verb)
    if attempt is not None and reason is not None:
        structlog.get_logger().info("stop_requested", job_id=job_id, reason=reason)
        attempt.ask(reason)
