"""Removes files of the artifact store that nothing refers to.

One of the training workers does so every hour. An operator can do it too:

    python -m training_worker.collecting [--dry-run] [--adopt] [--json]

The store remembers which Redis it belongs to. A Redis that was emptied, or another Redis, refers to
none of the files, and without this check all of them would be removed.
"""

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio import to_thread
from shared_schemas.artifacts import References
from shared_schemas.codec import encode_json
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import QueueName
from shared_schemas.service.process import settings_checked
from shared_schemas.service.settings import SettingsRejected, from_environ
from shared_schemas.store import collecting
from shared_schemas.store.collecting import Collection
from shared_schemas.store.files import ArtifactStore, StoreUnwritable
from shared_schemas.stream.connection import AsyncRedis, connect
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.references import StoreBinding, read_references
from shared_schemas.stream.store_version import check_store

from training_worker.settings import TrainingSettings

EVERY_S = 3600.0
# No file takes this long to write, so a half-written file of this age was left by a dead process, or
# is an upload that nobody goes on with.
LEFTOVERS_S = 86_400.0
_AWAY = 1


class StoreOfAnotherRedis(Exception):
    """The files of the store belong to another Redis than the connected one."""


async def collect(
    client: AsyncRedis,
    root: Path,
    *,
    checkpoints_kept: int,
    grace_s: float,
    dry_run: bool = False,
    adopt: bool = False,
    queues: Sequence[QueueName] = (),
) -> Collection:
    """Remove the files under `root`, the store, that nothing refers to.

    checkpoints_kept: how many of the newest checkpoints of a job stay, besides its best one.
    grace_s: a file stays for this many seconds after it was written or found again. dry_run: remove
    nothing, and only return what would go. adopt: from now on the store belongs to this Redis.
    queues: to look at besides those that Redis has declared. StoreOfAnotherRedis,
    BackendUnavailable, OSError before anything is removed.
    """
    nodes = Nodes(client)
    references = await read_references(nodes, checkpoints_kept=checkpoints_kept, queues=queues)
    await _check_owner(StoreBinding(nodes), root, references, adopt=adopt, dry_run=dry_run)
    files = partial(collecting.collect, root, references, grace_s=grace_s, dry_run=dry_run)
    return await to_thread.run_sync(files)


def sweep(settings: TrainingSettings) -> None:
    """Remove what is half-written and old. StoreUnwritable, OSError."""
    ArtifactStore(Path(settings.artifacts_root)).sweep(older_than_s=LEFTOVERS_S)


async def collect_for_ever(settings: TrainingSettings, client: AsyncRedis, queues: Sequence[QueueName]) -> None:
    """Collect every EVERY_S seconds, in turn with the other training workers. Returns at once if
    the grace period is 0, which means never."""
    binding, log = StoreBinding(Nodes(client)), structlog.get_logger()
    has_fitted = False
    while settings.artifacts_grace_s:
        try:
            await check_store(client)
            has_fitted = True
            if await binding.take_turn(every_s=EVERY_S):
                done = await collect(
                    client,
                    Path(settings.artifacts_root),
                    checkpoints_kept=settings.checkpoints_kept,
                    grace_s=settings.artifacts_grace_s,
                    queues=queues,
                )
                await to_thread.run_sync(lambda: sweep(settings))
                log.info(
                    "artifacts_collected", files=len(done.collected), bytes=done.n_bytes, kept=done.kept,
                    waiting=done.waiting,
                )  # fmt: skip
        except SettingsRejected as error:
            # A worker that starts makes the same check, says why and ends.
            if has_fitted:
                log.error("artifacts_not_collected", error=str(error))
            return
        except (StoreOfAnotherRedis, StoreUnwritable, OSError) as error:
            log.warning("artifacts_not_collected", error=str(error))
        except BackendUnavailable:
            # The other duties of the worker log it.
            pass
        await anyio.sleep(EVERY_S)


async def _check_owner(
    binding: StoreBinding, root: Path, references: References, *, adopt: bool, dry_run: bool
) -> None:
    """Let the store and this Redis have the same identity, or raise StoreOfAnotherRedis. A store
    without an identity gets one if it is empty, or has a file that this Redis refers to."""
    of_store, of_redis = await to_thread.run_sync(collecting.identity_of, root), await binding.identity()
    if of_store is not None and of_store == of_redis:
        return
    is_known = collecting.is_empty(root) or collecting.has_any(root, references.kept)
    if not (adopt or (of_store is None and is_known)):
        raise StoreOfAnotherRedis(
            "this Redis does not know the files of the artifact store: it was emptied, or is another one. "
            "To remove all files that it does not refer to, collect once with --adopt"
        )
    if not dry_run:
        identity = await binding.identify(secrets.token_hex(16))
        await to_thread.run_sync(collecting.identify, root, identity)


def summary(done: Collection, *, dry_run: bool) -> list[str]:
    """Lines for a person: how many files went and why, and how many stayed."""
    lines = []
    for why, what in (
        ("superseded", "checkpoints that are neither among the newest of their job nor its best"),
        ("unreferenced", "files that no job and no model refers to"),
    ):
        found = [file for file in done.collected if file.why == why]
        if found:
            lines.append(f"{len(found)} {what}: {_size(sum(file.n_bytes for file in found))}")
    verb = "would be removed" if dry_run else "removed"
    lines.append(f"{len(done.collected)} files {verb}, {_size(done.n_bytes)}")
    lines.append(f"{done.kept} files are in use; {done.waiting} more wait for the end of their grace period")
    return lines


def _size(n_bytes: int) -> str:
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


async def run(settings: TrainingSettings, *, dry_run: bool, adopt: bool) -> Collection:
    """Collect once, as the settings say. SettingsRejected if another version of Headrace wrote the
    database; otherwise as of `collect`."""
    client = connect(settings)
    try:
        await check_store(client)
        return await collect(
            client,
            Path(settings.artifacts_root),
            checkpoints_kept=settings.checkpoints_kept,
            grace_s=settings.artifacts_grace_s,
            dry_run=dry_run,
            adopt=adopt,
        )
    finally:
        await client.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="training_worker.collecting", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    parser.add_argument("--adopt", action="store_true", help="the store belongs to this Redis from now on")
    parser.add_argument("--json", action="store_true", help="each file that goes, as JSON")
    given = parser.parse_args()
    with settings_checked("gc"):
        settings = from_environ(TrainingSettings, prefix="HEADRACE_", environ=os.environ)
        try:
            done = asyncio.run(run(settings, dry_run=given.dry_run, adopt=given.adopt))
        except (BackendUnavailable, StoreOfAnotherRedis, OSError) as error:
            print(f"gc: {error}", file=sys.stderr)
            raise SystemExit(_AWAY) from None
    if given.json:
        sys.stdout.write(encode_json(done).decode() + "\n")
    else:
        print("\n".join(summary(done, dry_run=given.dry_run)))


if __name__ == "__main__":
    main()
