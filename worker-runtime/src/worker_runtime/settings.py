"""What can be set about the runtime. Built once, in a worker's `__main__`."""

from typing import Annotated, Literal

from shared_schemas.settings import setting
from shared_schemas.stream.redis_settings import RedisSettings


class RuntimeSettings(RedisSettings, frozen=True, kw_only=True):
    queues: Annotated[
        tuple[str, ...],
        setting("queues to serve, comma-separated; the kind's own by default", change="some workers are for some jobs"),
    ] = ()
    worker_name: Annotated[
        str,
        setting("name to show; host and process by default. A random part is added, as each start needs a new one"),
    ] = ""
    slots: Annotated[
        int,
        setting("attempts that run at once", change="a device has room for more than one", ge=1, le=10_000),
    ] = 1
    lease_s: Annotated[
        float,
        setting(
            "how long a silent worker keeps its jobs, s; it renews them three times in that time",
            change="shorter: a dead worker's jobs move on sooner; longer: rides out longer stalls of Redis",
            ge=0.5,
            le=3600.0,
        ),
    ] = 15.0
    drain_grace_s: Annotated[
        float,
        setting(
            "how long running attempts may take to end after SIGTERM, or to save themselves after a pause, s",
            change="checkpoints take longer to write; give whoever stops the process more than this",
            gt=0.0,
        ),
    ] = 20.0
    metrics_port: Annotated[
        int,
        setting(
            "port of /metrics and /healthz, on all addresses; 0 for none",
            change="Prometheus or a probe asks",
            ge=0,
            le=65_535,
        ),
    ] = 0
    log_format: Annotated[
        Literal["auto", "json", "console"], setting("of the logs on stderr; auto is console on a terminal, else json")
    ] = "auto"
