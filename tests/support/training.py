"""Small data sets and ways to train on them, for the tests of the training worker."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from shared_schemas.events import Checkpointed, JobEvent, Measured
from shared_schemas.job import Checkpoint
from shared_schemas.specs import Hyperparameters, TrainingSpec
from shared_schemas.store.files import ArtifactStore
from training_worker.messages import Assignment, Finished

TINY = Hyperparameters(
    epochs=2, batch_size=8, width=16, layers=1, heads=2, max_length=8, vocabulary_size=280, dropout=0.1
)


class Fit(NamedTuple):
    """The parts of a run that are compared with another run."""

    steps: int
    weights_sha256: str
    metrics: dict[str, float | None]
    tokenizer: str | None


def write_csv(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_table(path: Path, n_rows: int = 48) -> Path:
    """Write a table with two features (x, z), a class that they decide (kind), and a number that
    they give (amount)."""
    rng = random.Random(5)
    lines = ["x,z,kind,amount"]
    for _ in range(n_rows):
        x, z = rng.uniform(-1, 1), rng.uniform(-1, 1)
        lines.append(f"{x:.4f},{z:.4f},{'warm' if x + z > 0 else 'cold'},{3 * x - z + 100:.4f}")
    return write_csv(path, lines)


def write_texts(path: Path, n_rows: int = 32, *, labelled: bool = True) -> Path:
    """Write texts in which one word decides the class."""
    rng = random.Random(7)
    lines = ["text,label" if labelled else "text"]
    for _ in range(n_rows):
        kind = rng.choice(["rain", "sun"])
        text = " ".join([*rng.choices(["the", "day", "of", "a", "long", "week"], k=7), kind])
        lines.append(f"{text},{kind}" if labelled else text)
    return write_csv(path, lines)


def assignment(root: Path, *, checkpoint: Checkpoint | None = None, starts_new_run: bool = False,
               **spec: object) -> Assignment:  # fmt: skip
    """An assignment for a job with its data in `root` and its artifacts in `root`/artifacts. It
    uses one thread, so that results are equal to the bit."""
    wanted = TrainingSpec(**({"hyperparameters": TINY, "seed": 11} | spec))  # type: ignore[arg-type]
    return Assignment(
        spec=wanted,
        seed=wanted.seed or 0,
        data_root=str(root),
        artifacts_root=str(root / "artifacts"),
        device="cpu",
        threads=1,
        checkpoint=checkpoint,
        starts_new_run=starts_new_run,
    )


def steps_until(n_steps: int) -> Callable[[], bool]:
    """A should_stop that is true after the nth step."""
    left = [n_steps]

    def should_stop() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return should_stop


def never() -> bool:
    return False


def trained(given: Assignment) -> tuple[Finished, list[JobEvent]]:
    """Train to the end, and export."""
    from training_worker.training import train

    events: list[JobEvent] = []
    return train(given, report=events.append, should_stop=never), events


def fitted(given: Assignment) -> tuple[Fit, list[JobEvent]]:
    """Train to the end without the export, which takes most of the time of such a small run."""
    from training_worker.training import fit

    events: list[JobEvent] = []
    end = fit(given, ArtifactStore(Path(given.artifacts_root)), report=events.append, should_stop=never)
    trained = end.trained
    return Fit(trained.steps, end.weights_sha256, trained.metrics, trained.vocabulary.tokenizer), events


def experiment(given: Assignment) -> Any:
    """What a built-in recipe prepares from the data, before it trains."""
    from training_worker.installed import find
    from training_worker.training import context_of

    recipe: Any = find(given.spec.model_type)
    store = ArtifactStore(Path(given.artifacts_root))
    return recipe.experiment(context_of(given, recipe, store, report=lambda event: None, should_stop=never))


def stopped(given: Assignment, *, after_steps: int) -> tuple[Checkpoint, list[JobEvent]]:
    """Train until stopped. -> (the last checkpoint, events)"""
    from recipe_kit.context import StoppedEarlyError
    from training_worker.training import fit

    events: list[JobEvent] = []
    store = ArtifactStore(Path(given.artifacts_root))
    try:
        fit(given, store, report=events.append, should_stop=steps_until(after_steps))
    except StoppedEarlyError:
        last = [event for event in events if isinstance(event, Checkpointed)][-1]
        return Checkpoint(step=last.step, artifact=last.artifact), events
    raise AssertionError("it was not stopped")


def measured(events: list[JobEvent]) -> list[tuple[str, int, dict[str, float | None]]]:
    """All measurements, without the values that depend on a clock."""
    clocked = {"steps_per_s", "tokens_per_s"}
    return [
        (event.split, event.step, {name: value for name, value in event.values.items() if name not in clocked})
        for event in events
        if isinstance(event, Measured)
    ]
