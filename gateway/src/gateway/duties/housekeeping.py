"""Start deadlines, promotion, expiry and publishing, so that they happen with no worker alive and no reader near."""

import anyio
import structlog
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable, CallRefused
from shared_schemas.ids import QueueName
from shared_schemas.stream.schedule import Schedule

from gateway.services import Services

TICK_S = 1.0


async def keep_house(services: Services) -> None:
    duties: dict[QueueName, Schedule] = {}
    backoff = Backoff(first_s=2.0 * TICK_S, cap_s=5.0 * TICK_S, jitter=0.0)
    while True:
        wait_s = TICK_S
        try:
            # Before jobs expire: an expired one can no longer say that it succeeded.
            await services.registry.publish_settled()
            queues = await services.catalog.review()
            duties = {queue: duty for queue, duty in duties.items() if queue in queues}
            for queue in queues:
                if queue not in duties:
                    duties[queue] = Schedule(services.nodes, queue)
                    await services.change_log.keep(queue, services.settings.log_changes)
                    services.hub.recheck()
                await _keep(duties[queue])
            backoff.reset()
        except BackendUnavailable as error:
            if backoff.is_fresh:
                structlog.get_logger().warning("redis_away", redis=services.settings.redis_address, cause=str(error))
            wait_s = backoff.next_s()
            # What Redis may have lost is said again.
            duties.clear()
        await anyio.sleep(wait_s)


async def _keep(duties: Schedule) -> None:
    """Of one queue. What Redis refuses here must not keep the other queues from theirs."""
    try:
        promotion = await duties.promote()
        if promotion.next_s == 0.0:
            await duties.sweep()
    except CallRefused as error:
        structlog.get_logger().error("housekeeping_refused", queue=duties.queue, error=str(error))
