"""Registers a worker as its heartbeat does, without running one."""

import os
from contextlib import closing
from datetime import UTC, datetime

from shared_schemas.ids import QueueName
from shared_schemas.stream.connection import connect_for_thread
from shared_schemas.stream.leases import Leases
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.workers import worker_facts


def register(redis_url: str, queue: QueueName, *, lease_s: float = 60.0) -> None:
    facts = worker_facts(
        host="h", pid=os.getpid(), slots=1, started_at=datetime.now(UTC), state="running", jobs=[], facts={}
    )
    with closing(connect_for_thread(RedisSettings(redis_url=redis_url))) as client:
        Leases(client, queue, worker="w", lease_s=lease_s).renew({}, facts)
