"""The settings of every worker. Read once, in a worker's `__main__`."""

from typing import Annotated, Literal

from shared_schemas.service.settings import setting
from shared_schemas.stream.redis_settings import RedisSettings


class RuntimeSettings(RedisSettings, frozen=True, kw_only=True):
    queues: Annotated[
        tuple[str, ...],
        setting(
            "The queues to serve, comma-separated; by default the one of the worker's kind",
            change="some workers should run only some jobs",
        ),
    ] = ()
    worker_name: Annotated[
        str,
        setting(
            "The name to show; host and process by default. Each start adds a random part, because it needs a new name"
        ),
    ] = ""
    slots: Annotated[
        int,
        setting("How many attempts run at once", change="the device has room for more than one", ge=1, le=10_000),
    ] = 1
    lease_s: Annotated[
        float,
        setting(
            "How long a silent worker keeps its jobs, in seconds. It renews its leases three times in that period",
            change="the jobs of a dead worker should run again sooner, or Redis stalls for longer",
            ge=0.5,
            le=3600.0,
        ),
    ] = 15.0
    drain_grace_s: Annotated[
        float,
        setting(
            "How long running attempts may take to end after SIGTERM, or to save a checkpoint for a pause, in seconds",
            change="checkpoints take longer to write. Whatever stops the process must wait longer than this",
            gt=0.0,
        ),
    ] = 20.0
    metrics_port: Annotated[
        int,
        setting(
            "The port of /metrics and /healthz, on all addresses; 0 for none",
            change="Prometheus or a health probe should reach the worker",
            ge=0,
            le=65_535,
        ),
    ] = 0
    log_format: Annotated[
        Literal["auto", "json", "console"],
        setting("The format of the logs on stderr; auto is console on a terminal, else json"),
    ] = "auto"
    log_lines_per_s: Annotated[
        int,
        setting(
            "How many lines about attempts that succeed are logged in a second. The others of that second become "
            "one line that counts them. Failures are always logged",
            change="you need a line for each attempt",
            ge=0,
        ),
    ] = 20
