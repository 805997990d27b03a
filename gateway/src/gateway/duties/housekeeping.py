"""Promotes due jobs, ends jobs past their start deadline, drops old jobs and publishes models.

Workers promote and drop jobs too. The gateway does so in case no worker is alive. Knows no
request.
"""

import anyio
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable, CallRefused
from shared_schemas.ids import QueueName
from shared_schemas.stream.schedule import Schedule

from gateway.instrument import GatewayObserver
from gateway.services import Services

TICK_S = 1.0


async def keep_house(services: Services) -> None:
    schedules: dict[QueueName, Schedule] = {}
    backoff = Backoff(first_s=2.0 * TICK_S, cap_s=5.0 * TICK_S, jitter=0.0)
    while True:
        wait_s = TICK_S
        try:
            # First, because a job that `sweep` has dropped can no longer show that it succeeded.
            await services.registry.publish_settled()
            queues = await services.catalog.review()
            schedules = {queue: schedule for queue, schedule in schedules.items() if queue in queues}
            for queue in queues:
                if queue not in schedules:
                    schedules[queue] = Schedule(services.nodes, queue)
                    await services.change_log.keep(queue, services.settings.log_changes)
                    services.hub.recheck()
                await _review(services.observer, schedules[queue])
            backoff.reset()
        except BackendUnavailable as error:
            if backoff.is_fresh:
                services.observer.housekeeping_interrupted(services.settings.redis_address, error)
            wait_s = backoff.next_s()
            # Redis may have lost the length of the log, so it is set again for every queue.
            schedules.clear()
        await anyio.sleep(wait_s)


async def _review(observer: GatewayObserver, schedule: Schedule) -> None:
    """Take care of one queue. A call that Redis refuses must not stop the work on other queues."""
    try:
        promotion = await schedule.promote()
        if promotion.next_s == 0.0:
            await schedule.sweep()
    except CallRefused as error:
        observer.housekeeping_refused(schedule.queue, error)
