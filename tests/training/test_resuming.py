"""A run that was stopped and resumed gives the same bits as a run that never stopped."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo, HeadraceError
from shared_schemas.events import Checkpointed, JobEvent, Logged, Measured
from shared_schemas.job import Checkpoint
from shared_schemas.specs import Hyperparameters
from shared_schemas.store.files import ArtifactStore
from training_worker.messages import Assignment

from tests.support.training import (
    TINY,
    Fit,
    assignment,
    fitted,
    measured,
    never,
    stopped,
    write_csv,
    write_table,
    write_texts,
)

if TYPE_CHECKING:
    # This imports torch, and the collection of tests should not wait for that.
    from recipe_kit.checkpoint import Vocabulary

# 27 training rows in batches of 8: four steps an epoch, two epochs.
STEPS = 8


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fit, list[JobEvent]]:
    root = tmp_path_factory.mktemp("whole")
    write_texts(root / "texts.csv")
    return root, *fitted(assignment(root, model_type="transformer", data_path="texts.csv"))


@pytest.mark.parametrize("after_steps", [1, 3, 4, 5, STEPS])
def test_a_stopped_run_resumes_as_if_it_had_not_been_stopped(
    never_stopped: tuple[Path, Fit, list[JobEvent]], after_steps: int
) -> None:
    root, whole, events = never_stopped
    job = {"model_type": "transformer", "data_path": "texts.csv"}
    assert whole.steps == STEPS

    checkpoint, before = stopped(assignment(root, **job), after_steps=after_steps)
    rest, after = fitted(assignment(root, checkpoint=checkpoint, **job))

    assert checkpoint.step == after_steps
    assert measured(before) + measured(after) == measured(events)
    assert rest == whole


def test_a_run_may_be_stopped_many_times(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    job = {"model_type": "mlp", "data_path": "table.csv", "feature_columns": ("x", "z"), "hyperparameters": TINY}
    whole, events = fitted(assignment(tmp_path, **job))

    reported, checkpoint = [], None
    for _ in range(whole.steps):
        checkpoint, part = stopped(assignment(tmp_path, checkpoint=checkpoint, **job), after_steps=1)
        reported += measured(part)
    rest, last = fitted(assignment(tmp_path, checkpoint=checkpoint, **job))

    assert reported + measured(last) == measured(events)
    assert rest == whole


def test_a_checkpoint_is_made_as_often_as_asked_for(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    often = Hyperparameters(epochs=1, batch_size=8, width=8, layers=1, checkpoint_every_s=1e-6)

    _, events = fitted(
        assignment(tmp_path, model_type="mlp", data_path="table.csv", feature_columns=("x", "z"), hyperparameters=often)
    )

    made = [event for event in events if isinstance(event, Checkpointed)]
    assert [event.step for event in made] == [1, 2, 3, 4, 5]
    store = ArtifactStore(tmp_path / "artifacts")
    assert all(store.verify(event.artifact).stat().st_size == event.artifact.n_bytes for event in made)


def test_another_job_starts_from_the_weights_of_a_checkpoint(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")
    job = {"model_type": "transformer", "data_path": "texts.csv"}
    checkpoint, _ = stopped(assignment(tmp_path, **job), after_steps=STEPS)

    afresh, slow = fitted(assignment(tmp_path, seed=5, **job))
    finished, events = fitted(assignment(tmp_path, checkpoint=checkpoint, starts_new_run=True, seed=5, **job))

    assert [step for split, step, _ in measured(events) if split == "train"] == list(range(1, STEPS + 1))
    assert finished.tokenizer != afresh.tokenizer
    assert _first_loss(events) < _first_loss(slow)


def test_a_short_run_that_has_ended_can_be_resumed_and_started_from(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    job = {"model_type": "mlp", "data_path": "table.csv", "feature_columns": ("x", "z"), "hyperparameters": TINY}
    whole, events = fitted(assignment(tmp_path, **job))

    again, _ = fitted(assignment(tmp_path, checkpoint=_last(events), **job))
    _, goes_on = fitted(assignment(tmp_path, checkpoint=_last(events), starts_new_run=True, seed=5, **job))
    _, afresh = fitted(assignment(tmp_path, seed=5, **job))

    assert _last(events).step == whole.steps
    assert again == whole
    assert _first_loss(goes_on) < _first_loss(afresh)
    warning = "rows that are held out may be among those that the job in resume_from was trained on"
    assert [Logged(line=warning) in reported for reported in (goes_on, afresh)] == [True, False]


def test_a_run_takes_task_labels_and_shape_of_its_source(tmp_path: Path) -> None:
    """The data of the second run alone would give another task, other labels and another shape."""
    shape = msgspec.structs.replace(TINY, epochs=1)
    write_texts(tmp_path / "texts.csv")
    write_csv(tmp_path / "codes.csv", ["x,code", *(f"{i},{i % 3}" for i in range(48))])
    write_csv(tmp_path / "prices.csv", ["x,code", *(f"{i},{i}.5" for i in range(48))])
    write_csv(tmp_path / "two.csv", ["x,other", *(f"{i},{i % 2}" for i in range(48))])
    texts = {"model_type": "transformer", "data_path": "texts.csv"}
    codes = {"model_type": "mlp", "data_path": "codes.csv"}
    prices = {"model_type": "mlp", "data_path": "prices.csv"}
    cases = [
        (texts | {"task": "language-modeling"}, texts, "text-generation", ()),
        (texts, texts, "text-classification", ("rain", "sun")),
        (codes, {**codes, "data_path": "two.csv", "label_column": "other"}, "tabular-classification", ("0", "1", "2")),
        (prices, codes, "tabular-regression", ()),
    ]
    for source, job, task, labels in cases:
        _, events = fitted(assignment(tmp_path, hyperparameters=shape, **source))
        short = Hyperparameters(max_steps=2)
        given = assignment(
            tmp_path, checkpoint=_last(events), starts_new_run=True, **(job | {"hyperparameters": short})
        )

        vocabulary = _vocabulary(given)

        assert (vocabulary.task, vocabulary.labels) == (task, labels)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"model_type": "transformer"}, "model_type"),
        ({"task": "classification"}, "task"),
        ({"feature_columns": ("x", "y")}, "feature_columns"),
        ({"hyperparameters": Hyperparameters(width=32)}, "hyperparameters/width"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_spec_that_contradicts_its_source_is_refused_by_field(
    tmp_path: Path, given: dict[str, object], field: str
) -> None:
    write_table(tmp_path / "table.csv")
    job = {"model_type": "mlp", "data_path": "table.csv", "feature_columns": ("x", "z"), "hyperparameters": TINY}
    checkpoint, _ = stopped(assignment(tmp_path, **job), after_steps=1)

    info = _refusal(tmp_path, checkpoint, **(job | given))

    assert (info.code, info.retryable) == ("invalid_spec", False)
    assert info.message.startswith(f"{field} contradicts")


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")
    write_table(tmp_path / "table.csv")
    # The recipe chooses the width, so only the weights show which one it was.
    chosen = msgspec.structs.replace(TINY, width=None, heads=None)
    job = {"model_type": "transformer", "data_path": "texts.csv", "hyperparameters": chosen}
    checkpoint, _ = stopped(assignment(tmp_path, **job), after_steps=1)

    code = _refused(
        tmp_path,
        checkpoint,
        model_type="transformer",
        data_path="texts.csv",
        hyperparameters=Hyperparameters(width=32, layers=1, max_length=8),
    )

    assert code == "checkpoint_mismatch"


def test_a_missing_checkpoint_fails_a_job_that_was_to_start_from_it(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")
    absent = Checkpoint(step=3, artifact=ArtifactRef(sha256="0" * 64, n_bytes=7))

    assert _refused(tmp_path, absent, model_type="transformer", data_path="texts.csv") == "checkpoint_not_found"


def test_a_damaged_checkpoint_fails_a_job_that_was_to_start_from_it(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")
    checkpoint = _damaged(tmp_path)

    assert _refused(tmp_path, checkpoint, model_type="transformer", data_path="texts.csv") == "checkpoint_corrupt"


def test_a_job_whose_own_checkpoint_is_damaged_starts_from_the_beginning(
    never_stopped: tuple[Path, Fit, list[JobEvent]], tmp_path: Path
) -> None:
    write_texts(tmp_path / "texts.csv")
    job = {"model_type": "transformer", "data_path": "texts.csv"}
    _, whole, _ = never_stopped

    finished, events = fitted(assignment(tmp_path, checkpoint=_damaged(tmp_path), **job))

    assert finished == whole
    assert next(event.level for event in events if isinstance(event, Logged)) == "warning"


def _damaged(root: Path) -> Checkpoint:
    checkpoint, _ = stopped(assignment(root, model_type="transformer", data_path="texts.csv"), after_steps=1)
    path = ArtifactStore(root / "artifacts").path(checkpoint.artifact)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return checkpoint


def _last(events: list[JobEvent]) -> Checkpoint:
    last = [event for event in events if isinstance(event, Checkpointed)][-1]
    return Checkpoint(step=last.step, artifact=last.artifact)


def _vocabulary(given: Assignment) -> "Vocabulary":
    from training_worker.training import fit

    store = ArtifactStore(Path(given.artifacts_root))
    return fit(given, store, report=lambda event: None, should_stop=never).trained.vocabulary


def _refused(root: Path, checkpoint: Checkpoint, **spec: object) -> str:
    return _refusal(root, checkpoint, **spec).code


def _refusal(root: Path, checkpoint: Checkpoint, **spec: object) -> ErrorInfo:
    from training_worker.training import train

    given = assignment(root, checkpoint=checkpoint, starts_new_run=True, **spec)
    with pytest.raises(HeadraceError) as caught:
        train(given, report=lambda event: None, should_stop=never)
    return caught.value.info()


def _first_loss(events: list[JobEvent]) -> float:
    loss = next(event.values["loss"] for event in events if isinstance(event, Measured))
    assert loss is not None
    return loss
