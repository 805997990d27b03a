"""The settings of the gateway. Built once, from the environment, by `app` or `__main__`."""

import re
from typing import Annotated, Literal

from shared_schemas.errors import MalformedId
from shared_schemas.ids import parse_queue
from shared_schemas.service.settings import SettingsRejected, setting
from shared_schemas.stream.queue_limits import QueueLimits, parse_limits
from shared_schemas.stream.redis_settings import RedisSettings

_HOST = re.compile(
    r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){2,}"
)
# As a browser sends it (RFC 6454, section 7). Files and pages in a sandbox have the origin null.
_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")


class GatewaySettings(RedisSettings, frozen=True, kw_only=True):
    host: Annotated[
        str,
        setting(
            "The address to listen on",
            change="the gateway runs in a container, or other machines should reach it: 0.0.0.0",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, setting("The port to listen on", ge=0, le=65_535)] = 8000
    cors_origins: Annotated[
        tuple[str, ...],
        setting(
            "Origins of pages that may call the API, comma-separated; `*` allows any",
            change="a page of your own calls the API",
        ),
    ] = ()
    max_body_bytes: Annotated[
        int,
        setting(
            "The largest request body, in bytes. A larger one gets 413",
            change="inputs are larger. Redis stores each of them",
            ge=1024,
        ),
    ] = 1_048_576
    batch_lines: Annotated[
        int, setting("The most lines of a batch. One with more gets 413, and is cancelled", ge=1, le=1_000_000)
    ] = 50_000
    batch_bytes: Annotated[
        int,
        setting(
            "The most bytes of all lines of a batch. One with more gets 413, and is cancelled",
            change="inputs are larger. Redis stores each of them",
            ge=1024,
        ),
    ] = 209_715_200
    switch_timeout_s: Annotated[
        float,
        setting(
            "How long a request that moves an alias waits until the workers of the model have loaded the new version, "
            "in seconds. The alias moves after that all the same. With 0, no request waits",
            change="large models take longer to load. Clients must wait for an answer longer than this",
            ge=0.0,
            le=3600.0,
        ),
    ] = 20.0
    body_timeout_s: Annotated[
        float,
        setting(
            "The longest time for a body to arrive, in seconds, and for the next bytes of a file that is uploaded. A "
            "slower one gets 408",
            gt=0.0,
        ),
    ] = 30.0
    infer_wait_s: Annotated[
        float,
        setting(
            "How long POST /v2/models/{name}/infer waits for the job to end, in seconds. Then it gets 504 with the "
            "id of the job. Stock clients give up after 60",
            change="models take longer, and clients wait for them",
            gt=0.0,
        ),
    ] = 50.0
    artifacts_root: Annotated[
        str,
        setting(
            "The folder that gets the files of models. Workers must use the same one",
            change="the gateway runs outside a container",
        ),
    ] = "/data/artifacts"
    max_file_bytes: Annotated[
        int,
        setting(
            "The largest file that can be uploaded, in bytes. A larger one gets 413",
            change="the disk is small. ONNX allows no larger file than the default",
            ge=1,
        ),
    ] = 2 << 30
    keep_alive_s: Annotated[
        float,
        setting(
            "After so many seconds of silence, the gateway sends a comment in an event stream",
            change="a proxy closes idle connections sooner",
            gt=0.0,
        ),
    ] = 15.0
    send_timeout_s: Annotated[
        float,
        setting("A reader that reads nothing for so many seconds is cut off. It can resume", gt=0.0),
    ] = 15.0
    hosts: Annotated[
        tuple[str, ...],
        setting(
            "Names that Host may contain, besides those of this machine, comma-separated; "
            "`*.example.org` for all names of a domain, `*` for any name",
            change="clients use the name of a proxy, a service or a machine",
        ),
    ] = ()
    max_head_bytes: Annotated[
        int,
        setting(
            "The largest request line with headers, and the largest trailers, in bytes. Larger ones get 431 or 414",
            ge=1024,
        ),
    ] = 65_536
    head_timeout_s: Annotated[
        float,
        setting(
            "The longest time for a request head to arrive, in seconds from when the connection is accepted. A "
            "slower one gets 408",
            gt=0.0,
        ),
    ] = 15.0
    max_connections: Annotated[
        int,
        setting(
            "The most open connections. Others get 503",
            change="there are more readers. The system must allow as many open files",
            ge=1,
        ),
    ] = 10_000
    max_streams: Annotated[
        int,
        setting(
            "The most open event streams. Others get 503. Keep it below the number of connections, to leave room "
            "for other requests",
            change="there are more readers",
            ge=0,
        ),
    ] = 9_000
    max_pipelined: Annotated[
        int,
        setting(
            "The most requests that may wait on a connection behind the current one. At that number, the gateway "
            "pauses reading",
            ge=1,
        ),
    ] = 16
    drain_s: Annotated[float, setting("How long open requests may take to end after SIGTERM, in seconds", gt=0.0)] = (
        10.0
    )
    queues: Annotated[
        tuple[str, ...],
        setting(
            "Queues that accept jobs before a worker has served them, comma-separated; training, inference and "
            "publishing always do",
            change="workers of a queue start only once it has jobs",
        ),
    ] = ()
    queue_limits: Annotated[
        tuple[str, ...],
        setting(
            "How many jobs may wait for a worker in each queue, comma-separated: `inference=10000` for one queue, "
            "a number alone for all others, 0 for no limit. A job beyond that gets 429. Use the same value in all "
            "gateways",
            change="clients submit faster than workers finish, or Redis must not fill up",
        ),
    ] = ()
    queue_known_s: Annotated[
        float,
        setting(
            "How long a queue accepts jobs after its last worker has gone and its last job was removed, in seconds",
            change="workers are away for longer",
            gt=0.0,
        ),
    ] = 86_400.0
    log_changes: Annotated[
        int,
        setting(
            "About how many changes of each queue the log of all jobs keeps, for GET /events. Use the same value "
            "in all gateways",
            change="readers are away for longer than the log reaches back. A change takes about 200 bytes of Redis",
            ge=1000,
        ),
    ] = 100_000
    log_format: Annotated[
        Literal["auto", "json", "console"],
        setting("The format of the logs on stderr; auto is console on a terminal, else json"),
    ] = "auto"
    log_lines_per_s: Annotated[
        int,
        setting(
            "How many lines about requests that succeed, and about event streams that end, are logged in a second. "
            "The others of that second become one line that counts them. Errors are always logged",
            change="you need a line for each request",
            ge=0,
        ),
    ] = 20

    def __post_init__(self) -> None:
        """SettingsRejected."""
        super().__post_init__()
        for name in self.queues:
            try:
                parse_queue(name)
            except MalformedId as error:
                raise SettingsRejected(f"HEADRACE_QUEUES: {error}") from None
        self.limits()
        for host in self.hosts:
            if _HOST.fullmatch(host) is None:
                raise SettingsRejected("HEADRACE_HOSTS: names without a scheme, port or path, *.example.org, or *")
        for origin in self.cors_origins:
            if _ORIGIN.fullmatch(origin) is None:
                raise SettingsRejected(
                    "HEADRACE_CORS_ORIGINS: origins as https://example.org:8443 without a path, or *"
                )

    def limits(self) -> QueueLimits:
        return parse_limits(self.queue_limits, variable="HEADRACE_QUEUE_LIMITS")
