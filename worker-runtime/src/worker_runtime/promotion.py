"""Makes due jobs ready, ends jobs past their start deadline, and removes expired jobs.

Knows no attempt.
"""

import anyio
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.schedule import Schedule

from worker_runtime.instrument import QueueObserver

# A gateway does the same every second. A worker does it too, less often, because there may be no
# gateway.
TICK_S = 2.0
SHORTEST_S = 0.02


async def promote(schedule: Schedule, observer: QueueObserver) -> None:
    backoff = Backoff()
    while True:
        try:
            promotion = await schedule.promote()
            if promotion.promoted or promotion.expired:
                observer.jobs_promoted(promotion.promoted, promotion.expired)
            if promotion.next_s == 0.0:
                await schedule.sweep()
            backoff.reset()
            wait_s = TICK_S if promotion.next_s is None else min(TICK_S, promotion.next_s)
            await anyio.sleep(max(SHORTEST_S, wait_s))
        except BackendUnavailable as error:
            if backoff.is_fresh:
                observer.promotion_interrupted(error)
            await anyio.sleep(backoff.next_s())
