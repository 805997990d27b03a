"""Which checkpoints of its own an attempt keeps: the newest few and the best one. Knows no torch.

An older one goes once Redis has a newer one on record, so what is on record is always there. What a worker that died
leaves behind goes with `collecting`, as do those of earlier attempts.
"""

import anyio
import structlog
from anyio import to_thread
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ClaimLost
from shared_schemas.events import Checkpointed
from shared_schemas.store.files import ArtifactStore
from worker_runtime import Attempt


def split(made: list[Checkpointed], *, kept: int) -> tuple[list[ArtifactRef], list[ArtifactRef]]:
    """made: oldest first. -> (what is kept, what is not)"""
    best = [event for event in made if event.best][-1:]
    keep = [event.artifact for event in (*best, *made[-kept:])]
    return keep, [event.artifact for event in made if event.artifact not in keep]


class Retention:
    """kept: how many of the newest."""

    def __init__(self, attempt: Attempt, store: ArtifactStore, *, kept: int) -> None:
        self._attempt, self._store, self._kept = attempt, store, kept
        self._made: list[Checkpointed] = []
        self._rung = anyio.Event()

    def add(self, event: Checkpointed) -> None:
        """Once it was handed over to be recorded."""
        self._made.append(event)
        self._rung.set()

    async def run(self) -> None:
        """Apart from what relays events, which must not wait for Redis."""
        try:
            while True:
                await self._rung.wait()
                self._rung = anyio.Event()
                await self.prune()
        except ClaimLost:
            return

    async def prune(self) -> None:
        """ClaimLost, and then nothing is removed: another attempt may have started from any of them."""
        keep, gone = split(self._made, kept=self._kept)
        if not gone:
            return
        await self._attempt.flush()
        self._made = [event for event in self._made if event.artifact in keep]
        for artifact in gone:
            try:
                await to_thread.run_sync(self._store.remove, artifact)
            except OSError as error:
                structlog.get_logger().warning("checkpoint_left_behind", sha256=artifact.sha256, error=error.strerror)
