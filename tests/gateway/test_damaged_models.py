"""A damaged entry of the registry is left out of listings and logged, and harms no other model."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from shared_schemas.stream import keys

from tests.support.gateways import Driver, Gateway

VERSION, FACTS = keys.model_version("b@1"), keys.model("b")
Damage = Callable[[Any], Awaitable[Any]]
DAMAGES: dict[str, Damage] = {
    "a manifest that is no JSON": lambda client: client.hset(VERSION, "manifest", "{"),
    "a manifest that is another's": lambda client: client.hset(VERSION, "manifest", '{"task":"x"}'),
    "a manifest that is not UTF-8": lambda client: client.hset(VERSION, "manifest", b"\xff\xfe"),
    "no manifest": lambda client: client.hdel(VERSION, "manifest"),
    "no job": lambda client: client.hdel(VERSION, "job"),
    "a job that is not UTF-8": lambda client: client.hset(VERSION, "job", b"\xff"),
    "a time that is no number": lambda client: client.hset(VERSION, "published", "soon"),
    "a time beyond all years": lambda client: client.hset(VERSION, "published", "9" * 30),
    "an alias that is no number": lambda client: client.hset(FACTS, "alias:latest", "x"),
    "no version": lambda client: client.delete(VERSION),
    "a version of another type": lambda client: _replaced(client, VERSION),
    "facts of another type": lambda client: _replaced(client, FACTS),
}
NAMES = [b"b\n", b"B", b"b@1", b"\xff", b"b c"]


async def _replaced(client: Any, key: str) -> None:
    await client.delete(key)
    await client.set(key, "x")


def logged(gateway: Gateway) -> set[str]:
    return {line["model"] for line in gateway.log() if line["event"] == "model_unreadable"}


@pytest.mark.parametrize("is_visible", [True, False])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
async def test_a_damaged_model_is_left_out_of_the_list_and_logged(
    gateway: Gateway, http: httpx.AsyncClient, drive: Driver, damage: Damage, is_visible: bool
) -> None:
    for name in ("a", "b", "c"):
        await drive.publish(name)
    if is_visible:
        assert len((await http.get("/models")).json()["models"]) == 3
    await damage(drive.client)

    page = (await http.get("/models")).json()
    one = await http.get("/models/b")
    version = await http.get("/models/b/versions/latest")
    job = await http.post("/jobs/inference", json={"model_id": "b@1", "input_data": 1})
    others = [await http.post("/jobs/inference", json={"model_id": name, "input_data": 1}) for name in ("a", "c")]

    names = {model["name"] for model in page["models"]}
    if is_visible:
        assert names == {"a", "c"}
        assert "b" in logged(gateway)
    # What was damaged while it waited to be made visible may have been written anew then.
    assert names >= {"a", "c"}
    for answer in (one, version):
        assert answer.status_code in (200, 404, 501), answer.text
    assert job.status_code in (202, 404, 501), job.text
    assert [answer.status_code for answer in others] == [202, 202]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_is_none_is_left_out_of_the_list(
    gateway: Gateway, http: httpx.AsyncClient, drive: Driver, name: bytes
) -> None:
    await drive.publish("a")
    await drive.client.zadd(keys.MODEL_NAMES, {name: 0})

    page = (await http.get("/models")).json()

    assert [model["name"] for model in page["models"]] == ["a"]
    assert name.decode(errors="replace") in logged(gateway)


async def test_pages_go_on_behind_what_cannot_be_read(http: httpx.AsyncClient, drive: Driver) -> None:
    for name in ("a", "b", "c", "d"):
        await drive.publish(name)
    await drive.client.hset(VERSION, "manifest", "{")
    await drive.client.zadd(keys.MODEL_NAMES, {"b\n": 0})

    names, cursor = list[str](), None
    for _ in range(5):
        given = {} if cursor is None else {"cursor": cursor}
        page = (await http.get("/models", params={"limit": 1, **given})).json()
        names += [model["name"] for model in page["models"]]
        cursor = page["next_cursor"]

    assert (names, cursor) == (["a", "c", "d"], None)


async def test_versions_that_can_be_read_are_shown_beside_one_that_cannot(
    gateway: Gateway, http: httpx.AsyncClient, drive: Driver
) -> None:
    for _ in range(3):
        await drive.publish("b")
    await drive.client.hset(keys.model_version("b@2"), "manifest", "{")

    versions = (await http.get("/models/b")).json()["versions"]
    damaged = await http.get("/models/b/versions/2")

    assert [version["version"] for version in versions] == [3, 1]
    assert (damaged.status_code, damaged.json()["code"]) == (501, "model_unreadable")
    assert "b@2" in logged(gateway)


@pytest.mark.parametrize("member", [b"x", b"\xff", b"training-01arz3ndektsv4rrffq69g5fav\n"])
async def test_a_staged_job_that_is_none_holds_up_no_other(
    http: httpx.AsyncClient, drive: Driver, member: bytes
) -> None:
    await drive.client.sadd(keys.STAGING, member)
    await drive.publish("a")

    assert [model["name"] for model in (await http.get("/models")).json()["models"]] == ["a"]
