"""What a person should know of the Redis that the gateway uses: said once in its log, and by /readyz."""

import anyio
import structlog
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.fitness import faults_of, server_facts
from shared_schemas.stream.known_bugs import password_warning, warnings_of

from gateway.services import Services

_AGAIN_S = 2.0


async def advice(services: Services) -> tuple[list[str], list[str]]:
    """-> what makes this Redis unfit to keep jobs, and what is known to be wrong with it. BackendUnavailable."""
    facts = await server_facts(services.client)
    exposed = password_warning(services.settings.redis_password_file)
    return faults_of(facts), warnings_of(facts) + ([exposed] if exposed else [])


async def advise(services: Services) -> None:
    """Returns once Redis has answered and all is said."""
    while True:
        try:
            faults, warnings = await advice(services)
        except BackendUnavailable:
            await anyio.sleep(_AGAIN_S)
            continue
        for fault in faults:
            structlog.get_logger().error("redis_unfit", fault=fault)
        for warning in warnings:
            structlog.get_logger().warning("redis_known_bug", warning=warning)
        return
