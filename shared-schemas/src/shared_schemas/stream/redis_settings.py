"""Where Redis is and how to log in: the settings that gateway and workers share. Opens no connection."""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from shared_schemas.service.settings import SettingsRejected, setting
from shared_schemas.stream.address import fault_of_url, has_credentials


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    redis_url: Annotated[
        str,
        setting(
            "The URL of Redis: redis://host:port/0, unix:///path, or rediss://host:port/0?ssl_ca_certs=/path for TLS",
            change="Redis is not on the same machine",
        ),
    ] = "redis://127.0.0.1:6379/0"
    redis_user: Annotated[
        str, setting("The Redis user to log in as, with the password of the file", change="Redis has an access list")
    ] = ""
    redis_password_file: Annotated[
        str,
        setting(
            "The file that contains the password. It is read for each new connection, so a new password needs no "
            "restart",
            change="Redis asks for a password. With requirepass, no user is needed",
        ),
    ] = ""
    redis_timeout_s: Annotated[
        float, setting("The longest wait for one reply of Redis, in seconds", change="Redis is far away", gt=0.0)
    ] = 5.0
    redis_connections: Annotated[
        int,
        setting("The most connections of this process to Redis", change="hundreds of requests wait for Redis", ge=4),
    ] = 64

    def __post_init__(self) -> None:
        """SettingsRejected."""
        if fault := fault_of_url(self.redis_url):
            raise SettingsRejected(f"HEADRACE_REDIS_URL: it {fault}")
        if self.redis_user and not self.redis_password_file:
            raise SettingsRejected("HEADRACE_REDIS_USER: needs HEADRACE_REDIS_PASSWORD_FILE, which is not set")
        if self.redis_password_file and has_credentials(self.redis_url):
            raise SettingsRejected(
                "HEADRACE_REDIS_URL: leave out its user and password, since HEADRACE_REDIS_PASSWORD_FILE is set"
            )

    @property
    def redis_address(self) -> str:
        """For logs: the URL without the name, the password and what follows the path."""
        url = urlsplit(self.redis_url)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
