"""What can be set about the gateway. Built once, from the environment, in app.py or __main__.py."""

from typing import Annotated, Literal

from msgspec import Meta
from shared_schemas.stream.connection import RedisSettings

Seconds = Annotated[float, Meta(gt=0.0)]


class GatewaySettings(RedisSettings, frozen=True, kw_only=True):
    """host, port: where to listen. cors_origins: origins of pages that may call the API, `*` for any.
    max_body_bytes: larger bodies get 413. body_timeout_s: a body that takes longer to arrive gets 408.
    keep_alive_s: a comment is sent on an event stream silent for so long, below the idle timeout of any proxy in
    between. send_timeout_s: a reader that takes nothing for so long is cut off; it can resume. drain_s: how long
    open requests may take to end after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8000
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 1_048_576
    body_timeout_s: Seconds = 30.0
    keep_alive_s: Seconds = 15.0
    send_timeout_s: Seconds = 15.0
    drain_s: Seconds = 10.0
    log_format: Literal["auto", "json", "console"] = "auto"
