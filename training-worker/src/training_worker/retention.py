"""Removes the checkpoints of a running attempt that it no longer needs. Knows no torch.

It keeps the newest few and the best one. An older file is removed only after Redis has recorded a
newer checkpoint, so the file of the recorded one always exists. `collecting` removes the
checkpoints of earlier attempts, and those of a worker that died.
"""

import anyio
import structlog
from anyio import to_thread
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ClaimLost
from shared_schemas.events import Checkpointed
from shared_schemas.store.files import ArtifactStore
from worker_runtime import Attempt


def split(saved: list[Checkpointed], *, kept: int) -> tuple[list[ArtifactRef], list[ArtifactRef]]:
    """saved: checkpoints, oldest first. kept: how many of the newest to keep. -> (files to keep,
    files to remove)"""
    best = [event for event in saved if event.best][-1:]
    keep = [event.artifact for event in (*best, *saved[-kept:])]
    return keep, [event.artifact for event in saved if event.artifact not in keep]


class Retention:
    """The checkpoints that one attempt has saved. kept: how many of the newest to keep."""

    def __init__(self, attempt: Attempt, store: ArtifactStore, *, kept: int) -> None:
        self._attempt, self._store, self._kept = attempt, store, kept
        self._saved: list[Checkpointed] = []
        self._added = anyio.Event()

    def add(self, event: Checkpointed) -> None:
        """Call this once the event was handed over to be recorded."""
        self._saved.append(event)
        self._added.set()

    async def run(self) -> None:
        """Prune whenever a checkpoint was added. A task of its own, because pruning waits for
        Redis, and the task that relays events must not. Returns once the claim is lost."""
        try:
            while True:
                await self._added.wait()
                self._added = anyio.Event()
                await self.prune()
        except ClaimLost:
            return

    async def prune(self) -> None:
        """Remove the files that are not kept, once Redis has recorded the events so far. ClaimLost
        before anything is removed: another attempt may have started from any of the checkpoints."""
        keep, unneeded = split(self._saved, kept=self._kept)
        if not unneeded:
            return
        await self._attempt.flush()
        self._saved = [event for event in self._saved if event.artifact in keep]
        for artifact in unneeded:
            try:
                await to_thread.run_sync(self._store.remove, artifact)
            except OSError as error:
                structlog.get_logger().warning("checkpoint_left_behind", sha256=artifact.sha256, error=error.strerror)
