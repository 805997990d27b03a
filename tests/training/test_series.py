"""Which metrics of a run go to the timeline, and that a file has all of them."""

import math
import random
from pathlib import Path

import msgspec
import pytest
from recipe_kit.series import Series, SeriesState
from shared_schemas.codec import decode_event
from shared_schemas.events import Checkpointed, Logged, Measured
from shared_schemas.job import Checkpoint
from shared_schemas.specs import Hyperparameters
from shared_schemas.store.files import ArtifactStore

from tests.support.training import assignment, fitted, measured, stopped, trained, write_table

MOST = 40
TABLE = {"model_type": "mlp", "data_path": "table.csv", "feature_columns": ("x", "z"), "label_column": "kind"}
LONG = Hyperparameters(epochs=50, batch_size=8, width=8, layers=1, max_steps=200)


def step(n: int, loss: float | None) -> Measured:
    return Measured(split="train", step=n, values={"loss": loss, "learning_rate": 0.1})


def noise(n: int) -> list[Measured]:
    rng = random.Random(23)
    return [step(i, rng.gauss(1 / i, 0.1)) for i in range(1, n + 1)]


def lines_of(path: Path) -> list[object]:
    return [decode_event(line) for line in path.read_bytes().splitlines()]


def test_a_million_steps_make_a_short_timeline_and_one_file_of_all_of_them(tmp_path: Path) -> None:
    store, reported = ArtifactStore(tmp_path), list[Measured]()
    series = Series(store, reported.append, most=1000, total=1_000_000)

    for n in range(1, 1_000_001):
        series.add(step(n, math.sin(n / 1000)))
    whole = series.end()

    assert len(reported) <= 2000
    assert [event.step for event in reported] == sorted({event.step for event in reported})
    assert (reported[0].step, reported[-1].step) == (1, 1_000_000)
    assert whole is not None
    with store.path(whole).open("rb") as file:
        steps = [msgspec.json.decode(line)["step"] for line in file]
    assert steps == list(range(1, 1_000_001))


@pytest.mark.parametrize("total", [41, 44, 80, 81, 200, 1000, 12_345])
def test_the_first_the_last_and_the_extremes_of_each_stretch_are_in_the_timeline(tmp_path: Path, total: int) -> None:
    reported = list[Measured]()
    series = Series(ArtifactStore(tmp_path), reported.append, most=MOST, total=total)
    events = noise(total)

    for event in events:
        series.add(event)
    series.end()

    length = math.ceil((total - MOST) * 4 / MOST)
    expected = {event.step for event in events[:MOST]}
    for begin in range(MOST, total, length):
        first, *others = events[begin : begin + length]
        extremes = (min, max) if others else ()
        kept = [first, *(of(others, key=lambda event: event.values["loss"]) for of in extremes), *others[-1:]]
        expected |= {event.step for event in kept}
    assert [event.step for event in reported] == sorted(expected)
    assert len(reported) <= 2 * MOST


@pytest.mark.parametrize("total", [1, MOST - 1, MOST])
def test_a_short_run_is_in_the_timeline_as_a_whole_and_makes_no_file(tmp_path: Path, total: int) -> None:
    reported = list[Measured]()
    series = Series(ArtifactStore(tmp_path), reported.append, most=MOST, total=total)

    for event in noise(total):
        series.add(event)

    assert series.end() is None
    assert reported == noise(total)
    assert not (tmp_path / "sha256").exists()


@pytest.mark.parametrize("cut", [10, MOST, MOST + 1, 200, 333])
def test_a_resumed_series_is_the_same_as_one_that_never_stopped(tmp_path: Path, cut: int) -> None:
    events, whole, halves = noise(500), list[Measured](), list[Measured]()
    first = Series(ArtifactStore(tmp_path / "a"), whole.append, most=MOST, total=500)
    for event in events:
        first.add(event)
    store = ArtifactStore(tmp_path / "b")
    before = Series(store, halves.append, most=MOST, total=500)
    for event in events[:cut]:
        before.add(event)
    state, rest = before.saved()
    kept = msgspec.json.decode(msgspec.json.encode(state), type=SeriesState)
    after = Series(store, halves.append, most=MOST, total=500, state=kept, rest=rest)
    for event in events[cut:]:
        after.add(event)

    assert after.end() == first.end()
    assert halves == whole


def test_a_value_that_was_not_finite_is_no_extreme(tmp_path: Path) -> None:
    reported = list[Measured]()
    series = Series(ArtifactStore(tmp_path), reported.append, most=8, total=24)
    events = [step(n, None if n in (10, 11) else float(n)) for n in range(1, 25)]

    for event in events:
        series.add(event)
    series.end()

    assert [event.step for event in reported if event.step > 8] == [9, 12, 16, 17, 18, 24]


def test_each_split_is_thinned_by_itself(tmp_path: Path) -> None:
    reported = list[Measured]()
    series = Series(ArtifactStore(tmp_path), reported.append, most=MOST, total=400)
    validated = [Measured(split="validation", step=n, values={"accuracy": 0.5}) for n in range(0, 400, 20)]

    for n, event in enumerate(noise(400)):
        series.add(event)
        if n % 20 == 0:
            series.add(validated[n // 20])
    series.end()

    assert [event for event in reported if event.split == "validation"] == validated


def test_a_training_that_is_long_has_its_series_in_a_file(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    given = msgspec.structs.replace(assignment(tmp_path, hyperparameters=LONG, **TABLE), metric_events=MOST)

    finished, events = trained(given)

    trains = [event for event in events if isinstance(event, Measured) and event.split == "train"]
    assert len(trains) <= 2 * MOST
    assert trains[-1].step == 200
    assert finished.series is not None
    series = lines_of(ArtifactStore(tmp_path / "artifacts").verify(finished.series))
    assert [event.step for event in series if isinstance(event, Measured) and event.split == "train"] == list(
        range(1, 201)
    )
    assert all(event in series for event in events if isinstance(event, Measured))


def test_a_resumed_training_reports_the_same_metrics(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    given = msgspec.structs.replace(assignment(tmp_path, hyperparameters=LONG, **TABLE), metric_events=MOST)
    _, events = fitted(given)

    checkpoint, reported = stopped(given, after_steps=130)
    _, rest = fitted(msgspec.structs.replace(given, checkpoint=checkpoint))

    assert [event for event in events if isinstance(event, Logged)] != []
    assert len(measured(reported) + measured(rest)) == len(measured(events))
    assert [step for split, step, _ in measured(reported) + measured(rest)][:MOST] == [
        step for split, step, _ in measured(events)
    ][:MOST]


def test_a_run_from_the_weights_of_another_has_a_series_of_its_own(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    given = msgspec.structs.replace(assignment(tmp_path, hyperparameters=LONG, **TABLE), metric_events=MOST)
    _, first = fitted(given)
    last = [event for event in first if isinstance(event, Checkpointed)][-1]
    source = Checkpoint(step=last.step, artifact=last.artifact)

    _, events = fitted(msgspec.structs.replace(given, checkpoint=source, starts_new_run=True))

    steps = [step for split, step, _ in measured(events) if split == "train"]
    assert (steps[:MOST], steps[-1]) == (list(range(1, MOST + 1)), 200)
