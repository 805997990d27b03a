"""The main job with real processes over HTTP: train, publish, serve, follow, replay, cancel."""

import csv
import io
import os
import time
from collections.abc import Iterator

import msgspec
import psutil
import pytest
from headrace import Client, JobCancelled, NotFound
from headrace_local.logs import Log
from headrace_local.samples import write_samples
from headrace_local.system import LocalSystem, SystemConfig, free_port, running_system
from rich.console import Console
from shared_schemas.events import Checkpointed, Done, Emitted, Measured, Produced, Progressed, StateChanged
from shared_schemas.job import JobState
from shared_schemas.models import TrainingResult
from shared_schemas.specs import Hyperparameters

DEADLINE_S = 60.0
FREED_WITHIN_S = 2.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    config = SystemConfig(
        data_dir=tmp_path_factory.mktemp("system"),
        environment={name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")},
        port=free_port(),
        drain_grace_s=5.0,
    )
    written = io.StringIO()
    with running_system(config, Log(Console(file=written, width=240))) as system:
        write_samples(config.data_root)
        yield system
        deaths = {service.name: service.deaths for service in system.services if service.deaths}
    assert not deaths, written.getvalue()
    assert not system.pids()


@pytest.fixture
def client(system: LocalSystem) -> Iterator[Client]:
    with Client(system.url) as client:
        yield client


def wines(system: LocalSystem) -> list[dict[str, str]]:
    with (system.config.data_root / "wine.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_train_publish_infer_follow_and_replay(system: LocalSystem, client: Client) -> None:
    submitted = client.submit_training(
        model_type="mlp",
        data_path="/data/wine.csv",
        output_model="wine",
        seed=3,
        hyperparameters=Hyperparameters(epochs=40),
    )
    events = list(client.events(submitted.job_id))

    assert [event.n for event in events] == list(range(1, len(events) + 1))
    sorts = {type(event) for event in events}
    assert {StateChanged, Progressed, Measured, Produced, Done} <= sorts
    losses = [event.values["loss"] for event in events if isinstance(event, Measured) and event.split == "train"]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < losses[0]
    result = msgspec.convert(client.result(submitted.job_id), TrainingResult)
    assert (result.model, result.task) == ("wine@1", "tabular-classification")
    assert (result.metrics["accuracy"] or 0) > (result.baseline["accuracy"] or 1)
    assert [str(model.ref) for model in client.models()] == ["wine@1"]

    rows = wines(system)[::30]
    inputs = [{name: float(value) for name, value in row.items() if name != "cultivar"} for row in rows]
    asked = client.submit_inference(model_id="wine", input_data=inputs)
    answers = client.result(asked.job_id, timeout_s=DEADLINE_S)
    assert len(answers) == len(rows)
    right = sum(answer["label"] == row["cultivar"] for answer, row in zip(answers, rows, strict=True))
    assert right >= len(rows) - 1
    assert all(abs(sum(answer["scores"].values()) - 1) < 1e-4 for answer in answers)
    by_job = client.submit_inference(model_id=submitted.job_id, input_data=inputs[0])
    assert client.result(by_job.job_id, timeout_s=DEADLINE_S)["label"] == answers[0]["label"]

    for original in (submitted.job_id, asked.job_id):
        again = client.wait(client.replay(original).job_id, timeout_s=DEADLINE_S)
        assert again.replay_of == original
        assert again.replay is not None
        assert again.replay.identical is True
    assert [str(model.ref) for model in client.models()] == ["wine@1"]
    # Events can be read again from any number.
    assert list(client.events(submitted.job_id)) == events
    assert list(client.events(submitted.job_id, after=5)) == events[5:]


def test_a_language_model_is_served_token_by_token(client: Client) -> None:
    trained = client.submit_training(
        model_type="transformer",
        data_path="topics.csv",
        output_model="prose",
        seed=1,
        hyperparameters=Hyperparameters(
            max_steps=6, width=16, layers=1, heads=2, max_length=32, vocabulary_size=300, batch_size=8
        ),
    )
    assert client.wait(trained.job_id, timeout_s=DEADLINE_S).state is JobState.SUCCEEDED

    asked = client.submit_inference(
        model_id="prose@1", input_data="The ", parameters={"max_tokens": 12, "seed": 5, "temperature": 1.0}
    )
    chunks = [event.chunk for event in client.events(asked.job_id) if isinstance(event, Emitted)]
    result = client.result(asked.job_id)

    assert len(chunks) > 1
    assert "".join(chunks) == result["text"]
    again = client.wait(client.replay(asked.job_id).job_id, timeout_s=DEADLINE_S)
    assert again.replay is not None
    assert again.replay.identical is True


def test_cancelling_a_training_frees_its_process_within_two_seconds(system: LocalSystem, client: Client) -> None:
    worker = psutil.Process(system.pids()["training-1"])
    before = set(worker.children(recursive=True))
    submitted = client.submit_training(
        model_type="mlp", data_path="wine.csv", seed=1, hyperparameters=Hyperparameters(epochs=100_000)
    )
    for event in client.events(submitted.job_id):
        if isinstance(event, Measured):
            break
    children = [child for child in worker.children(recursive=True) if child not in before]
    assert children

    began = time.monotonic()
    client.cancel(submitted.job_id)
    _, alive = psutil.wait_procs(children, timeout=DEADLINE_S)
    took_s = time.monotonic() - began
    with pytest.raises(JobCancelled):
        client.result(submitted.job_id, timeout_s=DEADLINE_S)

    assert not alive
    assert took_s < FREED_WITHIN_S
    with pytest.raises(NotFound):
        client.submit_inference(model_id=submitted.job_id, input_data=[1.0])


def test_a_paused_training_goes_on_from_its_checkpoint(client: Client) -> None:
    submitted = client.submit_training(
        model_type="mlp", data_path="wine.csv", seed=1, hyperparameters=Hyperparameters(epochs=1000)
    )
    has_asked = False
    for event in client.events(submitted.job_id):
        if isinstance(event, Measured) and not has_asked:
            client.pause(submitted.job_id)
            has_asked = True
        if isinstance(event, StateChanged) and event.state is JobState.PAUSED:
            break
    client.resume(submitted.job_id)
    events = list(client.events(submitted.job_id))

    assert any(isinstance(event, Checkpointed) for event in events)
    assert isinstance(events[-1], Done)
    assert events[-1].state is JobState.SUCCEEDED
