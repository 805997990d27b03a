"""What can be set about the runtime. Built once, in a worker's `__main__`."""

from typing import Annotated, Literal

from msgspec import Meta
from shared_schemas.stream.connection import RedisSettings

Seconds = Annotated[float, Meta(gt=0.0)]


class RuntimeSettings(RedisSettings, frozen=True, kw_only=True):
    """queues: names to serve; the kind's own by default. worker_name: made of host and process by default; a random
    part is added, since a consumer's name must be new for each start.
    slots: attempts that run at once. lease_s: how long a silent worker keeps its jobs; it renews three times in that
    time. Shorter: a dead worker's jobs move on sooner. Longer: rides out longer stalls of Redis or the network.
    drain_grace_s: how long running attempts may take to end after SIGTERM, or to save themselves after a pause.
    """

    queues: tuple[str, ...] = ()
    worker_name: str = ""
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 1
    lease_s: Annotated[float, Meta(ge=0.5, le=3600.0)] = 15.0
    drain_grace_s: Seconds = 20.0
    log_format: Literal["auto", "json", "console"] = "auto"
