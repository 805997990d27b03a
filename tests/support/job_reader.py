"""A reader of one job over HTTP, and a job for it to read. It must not know what breaks meanwhile."""

import anyio
import httpx
from shared_schemas.ids import JobId

from tests.support.gateways import DEADLINE_S, TRAINING_BODY, frames


async def submitted(http: httpx.AsyncClient) -> JobId:
    return JobId((await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"])


class Reader:
    """Follows one job as EventSource does: it continues behind the last event after every cut, and ends at `done`.
    n_connections: how many responses had status 200."""

    def __init__(self, job_id: JobId) -> None:
        self._path = f"/jobs/{job_id}/events"
        self.numbers: list[int] = []
        self.n_connections = 0
        self._grown = anyio.Event()

    async def follow(self, http: httpx.AsyncClient) -> None:
        is_done = False
        with anyio.fail_after(60):
            while not is_done:
                header = {"Last-Event-ID": str(self.numbers[-1])} if self.numbers else {}
                try:
                    async with http.stream("GET", self._path, headers=header) as response:
                        if response.status_code != 200:
                            assert response.status_code == 503
                            await anyio.sleep(0.05)
                            continue
                        self.n_connections += 1
                        async for frame in frames(response):
                            self.numbers.append(int(frame.id))
                            is_done = frame.event == "done"
                            self._grown.set()
                except httpx.TransportError:
                    await anyio.sleep(0.05)

    async def has(self, n: int) -> None:
        with anyio.fail_after(DEADLINE_S):
            while not self.numbers or self.numbers[-1] < n:
                self._grown = anyio.Event()
                await self._grown.wait()
