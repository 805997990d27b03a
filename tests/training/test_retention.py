"""Which checkpoints an attempt keeps while it runs."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.events import Checkpointed, JobEvent, Measured
from shared_schemas.specs import Hyperparameters
from shared_schemas.store.files import ArtifactMissing, ArtifactStore
from training_worker.messages import Assignment
from training_worker.retention import Retention, split

from tests.support.attempts import CollectingAttempt
from tests.support.training import assignment, fitted, stopped, write_table

WANTED = Hyperparameters(epochs=12, batch_size=8, width=8, layers=1, learning_rate=0.05)


def given(root: Path, **fields: object) -> Assignment:
    write_table(root / "table.csv")
    table = {"model_type": "mlp", "data_path": "table.csv", "feature_columns": ("x", "z"), "label_column": "kind"}
    return msgspec.structs.replace(assignment(root, hyperparameters=WANTED, **table), **fields)


def made(store: ArtifactStore, n: int, *, best: int | None = None) -> list[Checkpointed]:
    return [Checkpointed(step=i, artifact=store.put_bytes(b"%d" % i), best=i == best) for i in range(n)]


def left(store: ArtifactStore, events: list[Checkpointed]) -> list[int]:
    steps = []
    for event in events:
        try:
            store.path(event.artifact)
        except ArtifactMissing:
            continue
        steps.append(event.step)
    return steps


def best_of(events: Sequence[JobEvent]) -> list[int]:
    return [event.step for event in events if isinstance(event, Checkpointed) and event.best]


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    events = made(ArtifactStore(tmp_path), 6, best=1)

    keep, gone = split(events, kept=2)

    assert [event.step for event in events if event.artifact in keep] == [1, 4, 5]
    assert [event.step for event in events if event.artifact in gone] == [0, 2, 3]
    assert split(events[:2], kept=2)[1] == []


def test_a_file_that_two_checkpoints_share_is_kept_for_the_newer_one(tmp_path: Path) -> None:
    first, second = made(ArtifactStore(tmp_path), 2)

    _, gone = split([first, second, msgspec.structs.replace(first, step=7)], kept=1)

    assert gone == [second.artifact]


async def test_an_older_checkpoint_is_removed_only_after_a_newer_one_is_recorded(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    events = made(store, 5, best=0)
    recorded, is_asked = anyio.Event(), anyio.Event()

    class Slow(CollectingAttempt):
        async def flush(self) -> None:
            is_asked.set()
            await recorded.wait()

    retention = Retention(Slow(given(tmp_path).spec), store, kept=2)
    async with anyio.create_task_group() as group:
        group.start_soon(retention.run)
        for event in events:
            retention.add(event)
        await is_asked.wait()
        assert left(store, events) == [0, 1, 2, 3, 4]
        recorded.set()
        await retention.prune()
        group.cancel_scope.cancel()

    assert left(store, events) == [0, 3, 4]


def test_the_best_checkpoint_is_that_of_the_best_headline_metric(tmp_path: Path) -> None:
    _, events = fitted(given(tmp_path))

    reached = {
        event.step: event.values["accuracy"] or 0.0
        for event in events
        if isinstance(event, Measured) and event.split == "validation"
    }
    saved = [event for event in events if isinstance(event, Checkpointed)]
    best = [event.metrics["accuracy"] or 0.0 for event in saved if event.best]
    assert best == sorted(set(best))
    assert best[-1] == max(reached.values()) == reached[best_of(events)[-1]]
    assert saved[-1].step == max(reached)


def test_a_resumed_run_knows_what_was_best_before(tmp_path: Path) -> None:
    whole = given(tmp_path)
    _, events = fitted(whole)

    checkpoint, reported = stopped(whole, after_steps=33)
    _, rest = fitted(msgspec.structs.replace(whole, checkpoint=checkpoint))

    assert best_of([*reported, *rest]) == best_of(events)


def test_two_attempts_at_the_same_step_save_files_of_their_own(tmp_path: Path) -> None:
    files = set[ArtifactRef]()
    for owner in ("job 1-a", "job 2-b"):
        checkpoint, _ = stopped(given(tmp_path, owner=owner), after_steps=2)
        files.add(checkpoint.artifact)

    assert len(files) == 2
