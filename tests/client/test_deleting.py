"""Deleting by both clients and by the command line, against a real gateway."""

import json

import pytest
from headrace import AsyncClient, Client, Conflict, NotFound

from tests.client.test_client import in_thread
from tests.client.test_commands import headrace
from tests.support.gateways import driver


async def test_both_clients_delete_jobs_and_versions(gateway_url: str, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        jobs = [await drive.publish("wine") for _ in range(3)]
    with Client(gateway_url) as client:
        await in_thread(client.delete_job, jobs[0])
        await in_thread(client.delete_model, "wine", 3)
        with pytest.raises(NotFound):
            await in_thread(client.delete_job, jobs[0])
        await in_thread(client.set_alias, "wine", "best", 2)
    async with AsyncClient(gateway_url) as other:
        await other.delete_job(jobs[1])
        await other.delete_model("wine", 1)
        with pytest.raises(NotFound):
            await other.delete_model("wine", 1)
        with pytest.raises(Conflict):
            await other.delete_model("wine", 2)

        assert [job.id async for job in other.list()] == [jobs[2]]
        assert [model.version for model in await other.model("wine")] == [2]


async def test_aliases_are_set_and_deleted_by_both_clients_and_the_command(gateway_url: str, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        await drive.publish("wine")
    with Client(gateway_url) as client:
        await in_thread(client.set_alias, "wine", "best", 1)
        await in_thread(client.delete_alias, "wine", "best")
    async with AsyncClient(gateway_url) as other:
        with pytest.raises(NotFound, match="no such alias"):
            await other.delete_alias("wine", "best")
    named = await headrace("alias", "set", "wine@1", "prod", url=gateway_url)
    async with AsyncClient(gateway_url) as other:
        assert (await other.model_version("wine", "prod")).version == 1
    gone = await headrace("alias", "delete", "wine@prod", url=gateway_url)
    again = await headrace("alias", "delete", "wine@prod", "--json", url=gateway_url)

    assert (named.returncode, named.stdout) == (0, b"wine@prod is wine@1\n")
    assert (gone.returncode, gone.stdout) == (0, b"deleted the alias wine@prod\n")
    assert (again.returncode, again.stdout) == (3, b"")
    for wrong in (("alias", "set", "wine", "prod"), ("alias", "set", "wine@prod", "x"), ("alias", "delete", "wine")):
        assert (await headrace(*wrong, url=gateway_url)).returncode == 2


async def test_the_command_deletes_what_is_named_up_to_the_first_that_cannot_be(
    gateway_url: str, redis_url: str
) -> None:
    async with driver(redis_url) as drive:
        jobs = [await drive.publish("wine") for _ in range(4)]
    one = await headrace("delete", jobs[0], "wine@1", url=gateway_url)
    some = await headrace("delete", jobs[1], jobs[0], jobs[2], "--json", url=gateway_url)
    none = await headrace("delete", "wine@latest", url=gateway_url)

    assert (one.returncode, one.stdout) == (0, f"deleted {jobs[0]}\ndeleted wine@1\n".encode())
    assert (some.returncode, json.loads(some.stdout)) == (3, [jobs[1]])
    assert (none.returncode, none.stdout) == (2, b"")
    with Client(gateway_url) as client:
        assert [job.id for job in await in_thread(lambda: list(client.list()))] == [jobs[3], jobs[2]]
