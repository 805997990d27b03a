"""The usual clients of event streams against a real gateway: each does what docs/following.md says, and gets each event
once.

Those of npm are installed for the run and marked so: `uv run pytest -m npm -n 0`, where node is and its registry can be
reached.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from shared_schemas.events import Logged

from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.gateways import TRAINING_BODY, Driver, Gateway, driver, running_gateway, succeeded
from tests.support.redis_server import RedisServer
from tests.support.sse_clients import COMMAND, NPM, PAGE, PYPI, Outcome, expected, made

FOLDER = Path(__file__).parent
# requests-sse doubles what it waits before it asks again.
DEADLINE_S = 90.0
FOREVER = 3
DONE, AT_END, CUT, DRAINED, OUTAGE, AWAY = (
    "`done` and a clean end",
    "204: no more events",
    "the connection is cut",
    "the gateway drains, another starts",
    "Redis restarts during the stream",
    "503 at the first request",
)
clients = pytest.mark.parametrize("client", [*(pytest.param(name, marks=pytest.mark.npm) for name in NPM), *PYPI])


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients of npm installed."""
    folder = tmp_path_factory.mktemp("npm")
    for name in ("package.json", "read.mjs"):
        shutil.copy(FOLDER / name, folder)
    command = ["npm", "install", "--silent", "--no-fund", "--no-audit"]
    if shutil.which("npm") is None or subprocess.run(command, cwd=folder, timeout=300, check=False).returncode != 0:
        pytest.skip("npm and its registry are needed")
    return folder


@pytest.fixture
def command(client: str, request: pytest.FixtureRequest) -> list[str]:
    """To read with this client, less the address."""
    if client in NPM:
        return ["node", str(request.getfixturevalue("npm") / "read.mjs"), client]
    return [sys.executable, str(FOLDER / "read.py"), client]


class Reader:
    """heard: the events' numbers. reported: all that it said."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process, self._lines = process, self._read()
        self.reported: list[dict[str, Any]] = []

    @property
    def heard(self) -> list[int]:
        return [int(line["id"]) for line in self.reported if "id" in line]

    @property
    def n_errors(self) -> int:
        return len([line for line in self.reported if "error" in line])

    async def _read(self) -> AsyncIterator[dict[str, Any]]:
        assert self._process.stdout is not None
        left = b""
        async for chunk in self._process.stdout:
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)

    async def until(self, found: Callable[["Reader"], bool]) -> None:
        with anyio.fail_after(DEADLINE_S):
            while not found(self):
                self.reported.append(await anext(self._lines))

    async def outcome(self, *, goes_on_to: int | None = None) -> Outcome:
        """goes_on_to: number of the event that is heard if it goes on."""
        await self.until(lambda self: goes_on_to in self.heard or self._is_over or self._errors_in_a_row() >= FOREVER)
        if goes_on_to in self.heard:
            return Outcome.GOES_ON
        if not self._is_over:
            return Outcome.ASKS
        return Outcome.REPORTED if self.reported[-1]["over"] == "reported" else Outcome.SILENT

    @property
    def _is_over(self) -> bool:
        return bool(self.reported) and "over" in self.reported[-1]

    def _errors_in_a_row(self) -> int:
        last = [("error" in line) for line in self.reported]
        return len(last) - 1 - max((i for i, is_error in enumerate(last) if not is_error), default=-1)


@asynccontextmanager
async def reading(command: list[str], url: str) -> AsyncIterator[Reader]:
    async with await anyio.open_process([*command, url], stderr=None) as process:
        try:
            yield Reader(process)
        finally:
            process.kill()


@pytest.fixture
def gateway(own_redis: RedisServer, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(own_redis.url, tmp_path) as gateway:
        yield gateway


@pytest.fixture
def proxy(gateway: Gateway) -> Iterator[FaultProxy]:
    with fault_proxy(gateway.url) as proxy:
        yield proxy


@pytest.fixture
async def drive(own_redis: RedisServer) -> AsyncIterator[Driver]:
    async with driver(own_redis.url) as made:
        yield made


async def submitted(gateway: Gateway) -> str:
    async with gateway.client() as http:
        return str((await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"])


@clients
async def test_a_finished_job_is_read_to_its_end(
    gateway: Gateway, drive: Driver, command: list[str], client: str
) -> None:
    job_id = await submitted(gateway)
    await drive.finish(job_id, n_events=3)

    async with reading(command, f"{gateway.url}/jobs/{job_id}/events") as reader:
        await reader.until(lambda reader: reader.heard[-1:] == [6])
        outcome = await reader.outcome()

    assert reader.heard == [1, 2, 3, 4, 5, 6]
    assert outcome == expected(DONE, client)


@clients
async def test_whoever_has_all_is_told_so(gateway: Gateway, drive: Driver, command: list[str], client: str) -> None:
    job_id = await submitted(gateway)
    await drive.finish(job_id)

    async with reading(command, f"{gateway.url}/jobs/{job_id}/events?after=3") as reader:
        outcome = await reader.outcome()

    assert reader.heard == []
    assert outcome == expected(AT_END, client)


@clients
async def test_a_cut_line(gateway: Gateway, proxy: FaultProxy, drive: Driver, command: list[str], client: str) -> None:
    job_id = await submitted(gateway)
    claim = await drive.begin(job_id)

    async with reading(command, f"{proxy.url}/jobs/{job_id}/events") as reader:
        await reader.until(lambda reader: reader.heard[-1:] == [2])
        assert proxy.cut() >= 1
        await drive.record(claim, Logged(line="after the cut"))
        outcome = await reader.outcome(goes_on_to=3)

    assert reader.heard == [1, 2, 3][: 3 if outcome is Outcome.GOES_ON else 2]
    assert outcome == expected(CUT, client)


@clients
async def test_a_gateway_that_is_drained(
    own_redis: RedisServer,
    gateway: Gateway,
    proxy: FaultProxy,
    drive: Driver,
    command: list[str],
    client: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "other").mkdir()
    with running_gateway(own_redis.url, tmp_path / "other") as other:
        job_id = await submitted(gateway)
        claim = await drive.begin(job_id)

        async with reading(command, f"{proxy.url}/jobs/{job_id}/events") as reader:
            await reader.until(lambda reader: reader.heard[-1:] == [2])
            proxy.lead_to(other.url)
            gateway.terminate()
            await drive.record(claim, Logged(line="after the drain"))
            outcome = await reader.outcome(goes_on_to=3)

    assert reader.heard == [1, 2, 3][: 3 if outcome is Outcome.GOES_ON else 2]
    assert outcome == expected(DRAINED, client)


@clients
async def test_redis_goes_away_under_an_open_stream(
    own_redis: RedisServer, gateway: Gateway, drive: Driver, command: list[str], client: str
) -> None:
    job_id = await submitted(gateway)
    claim = await drive.begin(job_id)

    async with reading(command, f"{gateway.url}/jobs/{job_id}/events") as reader:
        await reader.until(lambda reader: reader.heard[-1:] == [2])
        own_redis.kill()
        await _knows_it(gateway)
        own_redis.start()
        await drive.record(claim, Logged(line="after the outage"))
        outcome = await reader.outcome(goes_on_to=3)

    assert reader.heard == [1, 2, 3][: 3 if outcome is Outcome.GOES_ON else 2]
    assert outcome == expected(OUTAGE, client)


@clients
async def test_a_first_request_while_redis_is_away(
    own_redis: RedisServer, gateway: Gateway, drive: Driver, command: list[str], client: str
) -> None:
    job_id = await submitted(gateway)
    own_redis.kill()

    async with reading(command, f"{gateway.url}/jobs/{job_id}/events") as reader:
        await reader.until(lambda reader: reader.n_errors > 0)
        own_redis.start()
        outcome = await reader.outcome(goes_on_to=1)

    assert outcome == expected(AWAY, client)


async def _knows_it(gateway: Gateway) -> None:
    async with gateway.client() as http:
        with anyio.fail_after(DEADLINE_S):
            while True:
                if (await http.get("/readyz")).status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    return
                await anyio.sleep(0.05)


JS = """\
import { EventSource } from "eventsource";
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import("@microsoft/fetch-event-source");
const url = process.argv[2];
const show = (event) => console.log(JSON.stringify({ id: event.lastEventId ?? event.id }));
process.on("exit", () => console.log(JSON.stringify({ over: "silent" })));
"""
PYTHON = """\
import atexit, json, sys, time
import httpx
from httpx_sse import SSEError, connect_sse
from requests_sse import EventSource, InvalidStatusCodeError
client, url = httpx.Client(timeout=None, trust_env=False), sys.argv[1]
def show(event):
    print(json.dumps({"id": getattr(event, "last_event_id", None) or event.id}), flush=True)
atexit.register(lambda: print(json.dumps({"over": "silent"}), flush=True))
"""


def recipe(client: str) -> str:
    """What the page says to write."""
    [section] = re.findall(
        rf"^### (?:@microsoft/)?{client}\n(.*?)(?=^### |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    return section.partition("```")[2].partition("\n")[2].partition("```")[0]


@pytest.fixture
def as_told(client: str, request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """To read by what the page says to write, less the address."""
    if client in NPM:
        file = request.getfixturevalue("npm") / f"{client}.mjs"
        file.write_text(JS + recipe(client))
        return ["node", str(file)]
    file = tmp_path / "recipe.py"
    file.write_text(PYTHON + recipe(client))
    return [sys.executable, str(file)]


@clients
async def test_what_the_page_says_to_write_follows_a_job_to_its_end_and_ends(
    own_redis: RedisServer, gateway: Gateway, proxy: FaultProxy, drive: Driver, as_told: list[str], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with running_gateway(own_redis.url, tmp_path / "other") as other:
        job_id = await submitted(gateway)
        claim = await drive.begin(job_id)

        async with reading(as_told, f"{proxy.url}/jobs/{job_id}/events") as reader:
            await reader.until(lambda reader: reader.heard[-1:] == [2])
            proxy.lead_to(other.url)
            gateway.terminate()
            await drive.record(claim, Logged(line="after the drain"))
            await drive.settle(claim, succeeded(), first=1)
            outcome = await reader.outcome()

    assert reader.heard == [1, 2, 3, 4]
    assert outcome == Outcome.SILENT


def test_the_page_says_what_is_tested() -> None:
    text = PAGE.read_text()

    assert made(text) == text, COMMAND
