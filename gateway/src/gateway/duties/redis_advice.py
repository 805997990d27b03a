"""What an operator should know about the Redis in use: logged once, and part of /readyz.

Does not know what makes a Redis unfit: `shared_schemas.stream` does.
"""

import anyio
import structlog
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.fitness import faults_of, server_facts
from shared_schemas.stream.known_bugs import password_warning, warnings_of

from gateway.services import Services

_RETRY_S = 2.0


async def advice(services: Services) -> tuple[list[str], list[str]]:
    """-> (what makes this Redis unfit to keep jobs, its known bugs). BackendUnavailable."""
    facts = await server_facts(services.client)
    exposed = password_warning(services.settings.redis_password_file)
    return faults_of(facts), warnings_of(facts) + ([exposed] if exposed else [])


async def advise(services: Services) -> None:
    """Log the advice, as soon as Redis answers."""
    while True:
        try:
            faults, warnings = await advice(services)
        except BackendUnavailable:
            await anyio.sleep(_RETRY_S)
            continue
        for fault in faults:
            structlog.get_logger().error("redis_unfit", fault=fault)
        for warning in warnings:
            structlog.get_logger().warning("redis_known_bug", warning=warning)
        return
