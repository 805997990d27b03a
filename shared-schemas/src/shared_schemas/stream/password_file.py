"""The file that holds the password of Redis, read for each new connection: a changed password needs no restart."""

from pathlib import Path

from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError

from shared_schemas.stream.redis_settings import RedisSettings


def credentials_of(settings: RedisSettings) -> CredentialProvider | None:
    """None where the settings name no file: redis-py then takes what the URL says."""
    path = settings.redis_password_file
    return _PasswordFile(settings.redis_user, Path(path)) if path else None


class _PasswordFile(CredentialProvider):
    def __init__(self, user: str, path: Path) -> None:
        self._user, self._path = user, path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = self._path.read_text().strip()
        except (OSError, ValueError) as error:
            # The file may come later, so this is retried as a lost connection is.
            raise ConnectionError("the file of the password cannot be read") from error
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()
