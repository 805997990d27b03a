"""`headrace gc`: removes files that nothing refers to from the artifact store of this machine.

`training_worker.collecting` decides which files to remove. No other module of this package imports
the training worker.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from shared_schemas.errors import BackendUnavailable
from shared_schemas.service.settings import from_environ
from shared_schemas.store.collecting import Collection
from training_worker.collecting import StoreOfAnotherRedis, run, summary
from training_worker.settings import TrainingSettings

from headrace_local.environment import with_redis_url
from headrace_local.errors import LocalError


class NotCollected(LocalError):
    pass


def collect(
    environ: Mapping[str, str],
    *,
    data_dir: Path,
    redis_url: str | None,
    artifacts_root: str,
    dry_run: bool,
    adopt: bool,
) -> Collection:
    """redis_url, artifacts_root: if not given, those of `headrace up` in data_dir.
    NotCollected, SettingsRejected."""
    root = Path(artifacts_root or data_dir / "artifacts").resolve()
    if not root.is_dir():
        raise NotCollected(f"there are no artifacts in {root}: name the folder of `headrace up` with --data-dir")
    url = redis_url or f"unix://{(data_dir / 'redis' / 'redis.sock').resolve()}"
    settings = from_environ(
        TrainingSettings,
        prefix="HEADRACE_",
        environ={
            **with_redis_url(environ, url, is_embedded=redis_url is None),
            "HEADRACE_ARTIFACTS_ROOT": str(root),
        },
    )
    try:
        return asyncio.run(run(settings, dry_run=dry_run, adopt=adopt))
    except BackendUnavailable:
        message = "Redis, which knows the files in use, does not answer: is `headrace up` running?"
        raise NotCollected(message) from None
    except (StoreOfAnotherRedis, OSError) as error:
        raise NotCollected(str(error)) from None


__all__ = ["NotCollected", "collect", "summary"]
