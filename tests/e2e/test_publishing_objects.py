"""Estimators of scikit-learn and modules of PyTorch are published, and answer as the objects do. With a real
gateway, Redis and workers, and both clients."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import redis
import torch
from headrace import AsyncClient, Client, ExportFailed, JobFailed
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from tests.support.gateways import Gateway
from tests.support.publishing import publishing_system
from tests.support.redis_server import RedisServer

DEADLINE_S = 60.0
WINE = load_wine(as_frame=True)
NAMES = np.asarray(WINE.target_names)[WINE.target]


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    redis.Redis.from_url(shared_redis.url).flushall()
    with publishing_system(shared_redis.url, tmp_path_factory.mktemp("system")) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(gateway.url) as client:
        yield client


def test_a_classifier_answers_as_predict_and_predict_proba_do(client: Client) -> None:
    forest = RandomForestClassifier(20, random_state=0).fit(WINE.data, NAMES)

    made = client.publish(forest, name="forest", example=WINE.data, timeout_s=DEADLINE_S)
    rows = WINE.data.iloc[::7]
    answers = client.result(client.submit_inference(model_id=str(made.ref), input_data=rows).job_id)

    assert made.manifest.task == "tabular-classification"
    assert made.manifest.features == tuple(WINE.data.columns)
    assert [each["label"] for each in answers] == forest.predict(rows).tolist()
    scores = [[each["scores"][name] for name in forest.classes_] for each in answers]
    assert np.allclose(scores, forest.predict_proba(rows), atol=1e-5)


async def test_a_regressor_answers_as_predict_does(gateway: Gateway) -> None:
    rows, target = load_diabetes(return_X_y=True)
    trees = GradientBoostingRegressor(n_estimators=20, random_state=0).fit(rows, target)

    async with AsyncClient(gateway.url) as client:
        made = await client.publish(trees, name="trees", example=rows, timeout_s=DEADLINE_S)
        job = await client.submit_inference(model_id=str(made.ref), input_data=rows[:20])
        answers = await client.result(job.job_id, timeout_s=DEADLINE_S)

    assert np.allclose([each["prediction"] for each in answers], trees.predict(rows[:20]), rtol=1e-4)


def test_a_pipeline_of_named_columns_takes_each_as_a_tensor(client: Client) -> None:
    people = pd.DataFrame({"age": [22, 38, 26, 35], "class": ["b", "a", "b", "a"]})
    columns = make_column_transformer((OneHotEncoder(), ["class"]), (StandardScaler(), ["age"]))
    model = make_pipeline(columns, LogisticRegression()).fit(people, ["no", "yes", "no", "yes"])

    made = client.publish(model, name="people", example=people, timeout_s=DEADLINE_S)
    given = {"age": [[30], [22]], "class": [["a"], ["b"]]}
    answer = client.result(client.submit_inference(model_id=str(made.ref), input_data=given).job_id)

    assert made.manifest.batch_axis == "batch"
    wanted = model.predict(pd.DataFrame({"age": [30, 22], "class": ["a", "b"]}))
    assert answer["outputs"]["label"]["data"] == wanted.tolist()


def test_a_module_answers_as_itself(client: Client) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(13, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Tanh(), nn.Linear(16, 3))
    rows = torch.tensor(WINE.data.to_numpy()[:9] / 100, dtype=torch.float32)
    described = {"task": "tabular-classification", "labels": ["a", "b", "c"], "features": list(WINE.data.columns)}

    made = client.publish(module, name="module", example=rows[:2], manifest=described, timeout_s=DEADLINE_S)
    answers = client.result(client.submit_inference(model_id=str(made.ref), input_data=rows.numpy()).job_id)

    wanted = module.eval()(rows).softmax(dim=1).detach().numpy()
    assert np.allclose([[each["scores"][name] for name in "abc"] for each in answers], wanted, atol=1e-5)


def test_a_module_without_a_task_takes_and_gives_tensors(client: Client) -> None:
    module = nn.Conv1d(2, 3, 2)
    rows = torch.ones(2, 2, 5)

    made = client.publish(module, name="tensors", example=rows, batch_axis="batch", timeout_s=DEADLINE_S)
    given = {"input": rows[:1].numpy()}
    answer = client.result(client.submit_inference(model_id=str(made.ref), input_data=given).job_id)

    wanted = module(rows[:1]).detach().numpy()
    assert answer["outputs"]["output"]["shape"] == list(wanted.shape)
    assert np.allclose(answer["outputs"]["output"]["data"], wanted.reshape(-1), atol=1e-5)


def test_what_disagrees_is_not_sent(client: Client) -> None:
    nearest = KNeighborsClassifier().fit(WINE.data.round(-1), NAMES)

    with pytest.raises(ExportFailed, match="differs from the object"):
        client.publish(nearest, name="nearest", example=WINE.data.round(-1))

    assert "nearest" not in {model.name for model in client.models()}


def test_a_module_of_a_task_that_lacks_its_labels_is_refused_by_the_worker(client: Client) -> None:
    with pytest.raises(JobFailed, match="labels"):
        client.publish(
            nn.Linear(2, 2),
            name="unlabelled",
            example=np.ones((2, 2)),
            task="tabular-classification",
            features=["a", "b"],
        )
