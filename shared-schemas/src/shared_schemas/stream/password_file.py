"""The file that holds the password of Redis. Each new connection reads it, so a changed password needs no restart."""

from pathlib import Path

from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError

from shared_schemas.stream.redis_settings import RedisSettings


def credentials_of(settings: RedisSettings) -> CredentialProvider | None:
    """None if the settings name no file: redis-py then uses the URL."""
    path = settings.redis_password_file
    return _PasswordFile(settings.redis_user, Path(path)) if path else None


class _PasswordFile(CredentialProvider):
    def __init__(self, user: str, path: Path) -> None:
        self._user, self._path = user, path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = self._path.read_text().strip()
        except (OSError, ValueError) as error:
            # The file may come later. So this is retried like a lost connection.
            raise ConnectionError("the password file cannot be read") from error
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()
