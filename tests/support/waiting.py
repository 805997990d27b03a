"""Submissions that wait for the end of their job, in tasks of the test that sends them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
from shared_schemas.ids import JobId

from tests.support.gateways import TRAINING_BODY, frames

WAIT = {"Prefer": "wait=30"}


class Waiting:
    """A submission that waits, and its answer."""

    def __init__(self) -> None:
        self.answer: httpx.Response | None = None

    async def run(self, http: httpx.AsyncClient, body: Any, headers: dict[str, str]) -> None:
        self.answer = await http.post("/jobs/training", json=body, headers=headers)


@asynccontextmanager
async def waiting(
    http: httpx.AsyncClient, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> AsyncIterator[tuple[Waiting, JobId]]:
    """Submit in a task. -> the submission and its job. The block ends once it has its answer."""
    known = {summary["id"] for summary in (await http.get("/jobs")).json()["jobs"]}
    asked = Waiting()
    async with anyio.create_task_group() as group, http.stream("GET", "/events", params={"after": "0"}) as log:
        group.start_soon(asked.run, http, TRAINING_BODY | (body or {}), WAIT | (headers or {}))
        async for frame in frames(log):
            if frame.json["job_id"] not in known:
                yield asked, JobId(frame.json["job_id"])
                return


async def has_the_answer_of_get(http: httpx.AsyncClient, asked: Waiting, job_id: JobId) -> dict[str, Any]:
    """-> the job, as both say"""
    assert asked.answer is not None
    assert asked.answer.status_code == 200
    assert asked.answer.content == (await http.get(f"/jobs/{job_id}")).content
    job: dict[str, Any] = asked.answer.json()
    return job
