"""What can be set about the gateway. Built once, from the environment, in app.py or __main__.py."""

import re
from typing import Annotated, Literal

from shared_schemas.errors import MalformedId
from shared_schemas.ids import parse_queue
from shared_schemas.settings import SettingsRejected, setting
from shared_schemas.stream.redis_settings import RedisSettings

_HOST = re.compile(
    r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){2,}"
)
# As a browser sends it (RFC 6454, section 7); null is that of files, and of pages in a sandbox.
_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")


class GatewaySettings(RedisSettings, frozen=True, kw_only=True):
    host: Annotated[
        str, setting("address to listen on", change="in a container, or to be reached from outside: 0.0.0.0")
    ] = "127.0.0.1"
    port: Annotated[int, setting("port to listen on", ge=0, le=65_535)] = 8000
    cors_origins: Annotated[
        tuple[str, ...],
        setting(
            "origins of pages that may call the API, comma-separated; * for any", change="a page of yours shows jobs"
        ),
    ] = ()
    max_body_bytes: Annotated[
        int, setting("larger bodies get 413, bytes", change="inputs are larger; each is kept in Redis", ge=1024)
    ] = 1_048_576
    body_timeout_s: Annotated[float, setting("a body that takes longer to arrive gets 408, s", gt=0.0)] = 30.0
    keep_alive_s: Annotated[
        float,
        setting(
            "a comment is sent on an event stream that was silent for so long, s",
            change="a proxy in between cuts idle lines sooner than that",
            gt=0.0,
        ),
    ] = 15.0
    send_timeout_s: Annotated[
        float,
        setting("a reader that takes nothing for so long is cut off, s; it can resume", gt=0.0),
    ] = 15.0
    hosts: Annotated[
        tuple[str, ...],
        setting(
            "names in Host that requests may come by, beside those of the own machine, comma-separated; "
            "*.example.org for all of a domain, * for any",
            change="clients reach it by a name: a proxy's, a service's, a machine's",
        ),
    ] = ()
    max_head_bytes: Annotated[
        int, setting("request line and headers, or trailers, beyond that get 431 or 414, bytes", ge=1024)
    ] = 65_536
    head_timeout_s: Annotated[
        float, setting("a head that takes longer to arrive, from when the connection is taken, gets 408, s", gt=0.0)
    ] = 15.0
    max_connections: Annotated[
        int,
        setting(
            "connections beyond that get 503",
            change="more readers than that; the system must allow as many open files",
            ge=1,
        ),
    ] = 10_000
    max_streams: Annotated[
        int,
        setting(
            "event streams beyond that get 503; fewer than connections, so that there is room for other requests",
            change="more readers than that",
            ge=0,
        ),
    ] = 9_000
    max_pipelined: Annotated[
        int, setting("requests of a connection behind the one that is answered; reading pauses there", ge=1)
    ] = 16
    drain_s: Annotated[float, setting("how long open requests may take to end after SIGTERM, s", gt=0.0)] = 10.0
    queues: Annotated[
        tuple[str, ...],
        setting(
            "queues that take jobs before a worker has served them, comma-separated; training and inference always do",
            change="workers of a queue are started only once there are jobs in it",
        ),
    ] = ()
    queue_known_s: Annotated[
        float,
        setting(
            "how long a queue takes jobs after its last worker has gone and its last job was dropped, s",
            change="workers are away for longer than that",
            gt=0.0,
        ),
    ] = 86_400.0
    log_changes: Annotated[
        int,
        setting(
            "changes that the log of all jobs keeps of each queue, about, for GET /events; the same in all gateways",
            change="readers are away for longer than it reaches; a change takes about 200 bytes of Redis",
            ge=1000,
        ),
    ] = 100_000
    log_format: Annotated[
        Literal["auto", "json", "console"], setting("of the logs on stderr; auto is console on a terminal, else json")
    ] = "auto"

    def __post_init__(self) -> None:
        """SettingsRejected."""
        super().__post_init__()
        for name in self.queues:
            try:
                parse_queue(name)
            except MalformedId as error:
                raise SettingsRejected(f"HEADRACE_QUEUES: {error}") from None
        for host in self.hosts:
            if _HOST.fullmatch(host) is None:
                raise SettingsRejected("HEADRACE_HOSTS: names without a scheme, port or path, *.example.org, or *")
        for origin in self.cors_origins:
            if _ORIGIN.fullmatch(origin) is None:
                raise SettingsRejected(
                    "HEADRACE_CORS_ORIGINS: origins as https://example.org:8443 without a path, or *"
                )
