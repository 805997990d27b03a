"""Numbers of any size and offset train equally well, up to the answer of the served model."""

import math
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from inference_worker.handler import InferenceHandler
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from shared_schemas.events import JobEvent, Logged
from shared_schemas.models import Model, ModelManifest
from shared_schemas.outcome import Success
from shared_schemas.specs import Hyperparameters, InferenceSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.attempts import CollectingAttempt
from tests.support.onnx_models import Published
from tests.support.training import assignment, fitted, trained, write_csv

N_ROWS = 160
PLAN = Hyperparameters(epochs=40, learning_rate=0.01, batch_size=16, width=16, layers=1, dropout=0.0)
# Each value is written so that float() reads back exactly the same.
FEATURES: dict[str, Callable[[int], object]] = {
    "milliseconds since 1970": lambda i: 1_764_000_000_000 + 1000 * i,
    "microseconds since 1970": lambda i: 1_764_000_000_000_000 + 1000 * i,
    "ids beyond 2^24": lambda i: 2**24 + i,
    "ids just below 2^53": lambda i: 2**53 - N_ROWS + i,
    "a billionth of its size": lambda i: 1.0 + i * 1e-9,
    "tiny": lambda i: i * 1e-30,
    "subnormal": lambda i: i * 1e-310,
    "huge": lambda i: i * 1e30,
    "negative": lambda i: -1e12 + i,
}
TARGETS: dict[str, Callable[[int], float]] = {
    "behind a billion": lambda i: 1e9 + i / 64,
    "tiny": lambda i: i * 2.0**-100,
    "huge": lambda i: i * 2.0**100,
}


def plainly(i: int) -> int:
    return i


def written(root: Path, x: Callable[[int], object], y: Callable[[int], float]) -> dict[str, object]:
    """-> the job that learns y from x."""
    # The rows are not in the order of x, or the rows of a batch would have neighbouring values.
    rows = [(i * 37) % N_ROWS for i in range(N_ROWS)]
    write_csv(root / "rows.csv", ["x,y", *(f"{x(i)!r},{y(i)!r}" for i in rows)])
    return {"model_type": "mlp", "data_path": "rows.csv", "task": "regression", "hyperparameters": PLAN}


def metrics_of(root: Path, x: Callable[[int], object], y: Callable[[int], float]) -> dict[str, float]:
    fit, _ = fitted(assignment(root, **written(root, x, y)))
    return {name: value for name, value in fit.metrics.items() if value is not None}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    found = metrics_of(tmp_path_factory.mktemp("plain"), plainly, float)
    assert found["r2"] > 0.99
    return found


@pytest.mark.parametrize("x", FEATURES.values(), ids=FEATURES)
def test_a_feature_trains_as_well_as_its_shifted_and_scaled_copy(
    tmp_path: Path, plain: dict[str, float], x: Callable[[int], object]
) -> None:
    found = metrics_of(tmp_path, x, float)

    assert found["rmse"] == pytest.approx(plain["rmse"], rel=0.05)
    assert found["r2"] == pytest.approx(plain["r2"], abs=1e-3)


@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
def test_a_target_trains_as_well_as_its_shifted_and_scaled_copy(
    tmp_path: Path, plain: dict[str, float], y: Callable[[int], float]
) -> None:
    found, unit = metrics_of(tmp_path, plainly, y), y(1) - y(0)

    assert found["rmse"] / unit == pytest.approx(plain["rmse"], rel=0.05)
    assert found["r2"] == pytest.approx(plain["r2"], abs=1e-3)


@pytest.mark.parametrize(
    "y", [TARGETS["tiny"], lambda i: i * 1e-12, lambda i: 1e-11 * i - 1e-9], ids=["2^-100", "1e-12", "around 0"]
)
def test_a_target_of_any_size_survives_the_export(tmp_path: Path, y: Callable[[int], float]) -> None:
    """The exported graph adds the mean of the target, however small it is. If it did not, the export
    would fail with export_mismatch."""
    finished, _ = trained(assignment(tmp_path, **written(tmp_path, plainly, y)))

    r2 = finished.manifest.metrics["r2"]
    assert r2 is not None
    assert r2 > 0.99


async def test_numbers_that_are_equal_as_float32_give_different_answers(tmp_path: Path) -> None:
    rows = [(i * 37) % N_ROWS for i in range(N_ROWS)]
    moment, number = FEATURES["milliseconds since 1970"], FEATURES["ids just below 2^53"]
    amount = TARGETS["behind a billion"]
    write_csv(tmp_path / "rows.csv", ["at,id,y", *(f"{moment(i)},{number(i)},{amount(i)!r}" for i in rows)])
    finished, _ = trained(
        assignment(tmp_path, model_type="mlp", data_path="rows.csv", hyperparameters=PLAN, task="regression")
    )
    asked = [{"at": moment(i), "id": number(i)} for i in (10, 80, 150)]

    async with serving(tmp_path, finished.manifest) as ask:
        answers = await ask(asked)

    assert [answer["prediction"] for answer in answers] == pytest.approx([amount(i) for i in (10, 80, 150)], abs=0.1)
    assert not any("warnings" in answer for answer in answers)
    assert finished.manifest.feature_ranges == (
        (moment(0), moment(N_ROWS - 1)),
        (number(0), number(N_ROWS - 1)),
    )


async def test_values_far_from_the_training_data_are_reported_and_limited(tmp_path: Path) -> None:
    rows = [(i * 37) % N_ROWS for i in range(N_ROWS)]
    # The middle column has the same value in every row, the last one almost the same.
    nearly = [2024.0 + 1e-9 * (i % 3) for i in rows]
    lines = [f"{i},2024,{noise!r},{3 * i}" for i, noise in zip(rows, nearly, strict=True)]
    write_csv(tmp_path / "rows.csv", ["size,year,nearly,price", *lines])
    finished, events = trained(
        assignment(tmp_path, model_type="mlp", data_path="rows.csv", hyperparameters=PLAN, task="regression")
    )
    usual = {"size": 80, "year": 2024, "nearly": 2024.0}

    async with serving(tmp_path, finished.manifest) as ask:
        asked = [
            usual,
            usual | {"year": 2025},
            usual | {"nearly": 2025},
            usual | {"size": 1e300},
            usual | {"size": 170},
        ]
        known, other_year, other_noise, enormous, near = await ask(asked)

    assert any("the same value in every row" in line and "'year'" in line for line in lines_of(events))
    assert "warnings" not in known
    assert other_year["prediction"] == known["prediction"] == pytest.approx(240, abs=10)
    assert other_year["warnings"] == [{"code": "outside_training_range", "feature": "year"}]
    assert other_noise["prediction"] == pytest.approx(240, abs=240)
    assert other_noise["warnings"] == [{"code": "outside_training_range", "feature": "nearly"}]
    assert math.isfinite(enormous["prediction"])
    assert abs(enormous["prediction"]) < 1e5
    assert enormous["warnings"] == [{"code": "outside_training_range", "feature": "size"}]
    assert "warnings" not in near


def test_a_column_with_a_few_extreme_values_is_in_the_log(tmp_path: Path) -> None:
    def few_far_away(i: int) -> float:
        return 1e12 if i % 40 == 5 else float(i)

    _, events = fitted(assignment(tmp_path, **written(tmp_path, few_far_away, float)))

    assert any("hardly be distinguished: 'x'" in line for line in lines_of(events))


@pytest.mark.parametrize("value", [0.0, 1e-30, -7.5, 1e30, 0.1 + 0.2])
def test_a_target_that_is_always_the_same_is_in_the_log_and_learned(tmp_path: Path, value: float) -> None:
    fit, events = fitted(assignment(tmp_path, **written(tmp_path, plainly, lambda _: value)))

    assert any("the same value in every row" in line and "'y'" in line for line in lines_of(events))
    assert fit.metrics["r2"] is None
    assert fit.metrics["rmse"] is not None
    assert fit.metrics["rmse"] < 1.0


def lines_of(events: list[JobEvent]) -> Iterator[str]:
    return (event.line for event in events if isinstance(event, Logged))


@asynccontextmanager
async def serving(root: Path, manifest: ModelManifest) -> Any:
    """-> a function from inputs to the answers of ONNX Runtime."""
    model = Model(
        name="model",
        version=1,
        job_id="training-01arz3ndektsv4rrffq69g5fav",
        created_at=datetime.now(UTC),
        aliases=(),
        manifest=manifest,
    )
    settings = Settings(device="cpu", intra_op_threads=1)
    async with LoadedModels(Published(model).resolve, ArtifactStore(root / "artifacts"), settings) as models:
        handler = InferenceHandler(models, device="cpu")

        async def ask(inputs: list[Any]) -> list[dict[str, Any]]:
            with anyio.fail_after(60):
                outcome = await handler.run(CollectingAttempt(InferenceSpec(model_id="model", input_data=inputs)))
            assert isinstance(outcome, Success)
            return list(msgspec.json.decode(outcome.result))

        yield ask
