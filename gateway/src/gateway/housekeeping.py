"""Start deadlines, promotion and expiry for every queue, so that they hold with no worker alive."""

import anyio
import structlog
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import QueueName
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.housekeeping import Housekeeping
from shared_schemas.stream.ledger import Ledger

TICK_S = 1.0


async def keep_house(client: AsyncRedis, ledger: Ledger) -> None:
    duties: dict[QueueName, Housekeeping] = {}
    away = False
    while True:
        try:
            for queue in await ledger.queues():
                duty = duties.setdefault(queue, Housekeeping(client, queue))
                promotion = await duty.promote()
                if promotion.next_s == 0.0:
                    await duty.sweep()
            away = False
        except BackendUnavailable as error:
            if not away:
                structlog.get_logger().warning("redis_away", error=str(error))
            away = True
        await anyio.sleep(TICK_S)
