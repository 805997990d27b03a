"""What can be trained: what comes along, and what workers register. A job that no recipe fits is refused at once."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import httpx
import msgspec
import pytest
from msgspec import Meta
from shared_schemas.capabilities import Capabilities, RecipeInfo, built_in_recipes, info_of
from shared_schemas.ids import parse_queue
from shared_schemas.stream.connection import connect_for_thread
from shared_schemas.stream.leases import Leases
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.workers import worker_facts

from tests.support.gateways import Driver


class Own(msgspec.Struct, forbid_unknown_fields=True):
    rank: Annotated[int, Meta(ge=1, le=64)] = 8
    alpha: float = 1.0
    target: Annotated[str, Meta(pattern=r"^[a-z]+\Z")] | None = None
    mode: Literal["fast", "slow"] = "fast"


LORA = info_of("lora", "Adapters.", Own)


class Fleet:
    """Registers workers as their heartbeats do."""

    def __init__(self, redis_url: str) -> None:
        self._client = connect_for_thread(RedisSettings(redis_url=redis_url))

    def register(self, *recipes: RecipeInfo, queue: str = "training", name: str = "w", says: bool = True) -> None:
        facts = worker_facts(
            host="h", pid=os.getpid(), slots=1, started_at=datetime.now(UTC), state="running", jobs=[], facts={},
            capabilities=Capabilities(recipes=(*built_in_recipes(), *recipes)) if says else None,
        )  # fmt: skip
        Leases(self._client, parse_queue(queue), worker=name, lease_s=30.0).renew({}, facts)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def fleet(redis_url: str, drive: Driver) -> Iterator[Fleet]:
    made = Fleet(redis_url)
    yield made
    made.close()


async def posted(http: httpx.AsyncClient, model_type: str = "lora", **hyperparameters: Any) -> httpx.Response:
    body = {"model_type": model_type, "data_path": "x.csv", "hyperparameters": hyperparameters}
    return await http.post("/jobs/training", json=body)


async def test_the_built_in_recipes_are_listed_where_no_worker_is(http: httpx.AsyncClient, fleet: Fleet) -> None:
    recipes = (await http.get("/recipes")).json()["recipes"]

    assert [recipe["name"] for recipe in recipes] == ["mlp", "transformer"]
    assert recipes[0]["hyperparameters"]["properties"]["epochs"]["anyOf"][0]["minimum"] == 1


async def test_what_a_worker_registers_is_listed_beside_them(http: httpx.AsyncClient, fleet: Fleet) -> None:
    fleet.register(LORA)

    recipes = {recipe["name"]: recipe for recipe in (await http.get("/recipes")).json()["recipes"]}

    assert list(recipes) == ["lora", "mlp", "transformer"]
    assert recipes["lora"]["summary"] == "Adapters."
    assert list(recipes["lora"]["hyperparameters"]["properties"]) == ["rank", "alpha", "target", "mode"]


async def test_where_no_worker_is_any_recipe_may_be_meant(http: httpx.AsyncClient, fleet: Fleet) -> None:
    assert (await posted(http, "lora", anything=[1])).status_code == 202


async def test_where_a_worker_does_not_say_what_it_has_any_recipe_may_be_meant(
    http: httpx.AsyncClient, fleet: Fleet
) -> None:
    fleet.register(LORA)
    fleet.register(name="older", says=False)

    assert (await posted(http, "forest")).status_code == 202


async def test_a_recipe_that_no_worker_has_is_refused_with_those_there_are(
    http: httpx.AsyncClient, fleet: Fleet, drive: Driver
) -> None:
    fleet.register(LORA)

    answer = await posted(http, "forest")

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model_type")
    assert answer.json()["detail"].endswith("they have lora, mlp, transformer")
    assert [item["pointer"] for item in answer.json()["errors"]] == ["/model_type"]
    assert await drive.count_jobs() == 0


async def test_a_recipe_is_known_as_soon_as_its_worker_is_registered(http: httpx.AsyncClient, fleet: Fleet) -> None:
    fleet.register()
    assert (await posted(http, "adapter")).status_code == 422

    fleet.register(info_of("adapter", "", Own), name="new")

    assert (await posted(http, "adapter", rank=4)).status_code == 202


async def test_a_queue_has_the_recipes_of_its_own_workers(http: httpx.AsyncClient, fleet: Fleet, drive: Driver) -> None:
    await drive.catalog.declare(parse_queue("training-large"))
    fleet.register()
    fleet.register(info_of("large", "", Own), queue="training-large", name="large")
    body = {"model_type": "large", "data_path": "x.csv"}

    small = await http.post("/jobs/training", json=body)
    large = await http.post("/jobs/training", json={**body, "queue": "training-large"})

    assert (small.status_code, large.status_code) == (422, 202)


@pytest.mark.parametrize(
    ("given", "pointer", "told"),
    [
        ({"canary": 1}, "/hyperparameters/canary", "it has alpha, mode, rank, target"),
        ({"rank": 0}, "/hyperparameters/rank", "minimum 1"),
        ({"rank": "canary"}, "/hyperparameters/rank", 'type "integer"'),
        ({"rank": 1.5}, "/hyperparameters/rank", 'type "integer"'),
        ({"target": "CANARY 7"}, "/hyperparameters/target", "pattern"),
        ({"mode": "canary"}, "/hyperparameters/mode", 'enum ["fast","slow"]'),
    ],
)
async def test_a_hyperparameter_that_the_recipe_has_not_is_refused_and_not_repeated(
    http: httpx.AsyncClient, fleet: Fleet, given: dict[str, Any], pointer: str, told: str
) -> None:
    fleet.register(LORA)

    answer = await posted(http, **given)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")
    [item] = answer.json()["errors"]
    assert item["pointer"] == pointer
    assert told in item["detail"]
    assert "canary" not in item["detail"].lower()


async def test_null_and_whole_numbers_are_taken_as_for_built_in_recipes(http: httpx.AsyncClient, fleet: Fleet) -> None:
    fleet.register(LORA)

    job_id = (await posted(http, rank=4.0, alpha=2.0, target=None)).json()["job_id"]

    stored = (await http.get(f"/jobs/{job_id}")).json()["spec"]["hyperparameters"]
    assert stored == {"rank": 4, "alpha": 2.0}
    assert isinstance(stored["rank"], int)


async def test_in_a_list_the_job_that_does_not_fit_is_named(http: httpx.AsyncClient, fleet: Fleet) -> None:
    fleet.register(LORA)
    good = {"model_type": "lora", "data_path": "x.csv"}

    own = await http.post("/jobs/training", json=[good, {**good, "hyperparameters": {"rank": 0}}])
    built_in = {"model_type": "mlp", "data_path": "x.csv", "hyperparameters": {"epochs": 0}}
    other = await http.post("/jobs/training", json=[good, built_in])

    assert own.json()["errors"][0]["pointer"] == "/1/hyperparameters/rank"
    assert other.json()["errors"][0]["pointer"] == "/1/hyperparameters/epochs"


async def test_a_replay_is_taken_though_no_worker_has_the_recipe_any_more(
    http: httpx.AsyncClient, fleet: Fleet, drive: Driver
) -> None:
    job_id = (await posted(http, "forest")).json()["job_id"]
    await drive.finish(job_id)
    fleet.register(LORA)

    assert (await http.post(f"/jobs/{job_id}/replay")).status_code == 202


async def test_the_document_shows_the_hyperparameters_of_built_in_recipes(http: httpx.AsyncClient) -> None:
    schemas = (await http.get("/openapi.json")).json()["components"]["schemas"]

    named = [rule["if"]["properties"]["model_type"]["const"] for rule in schemas["TrainingSpec"]["allOf"]]
    assert named == ["mlp", "transformer"]
    assert "epochs" in schemas["Hyperparameters"]["properties"]
