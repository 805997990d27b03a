"""A real gateway process, and a driver that takes jobs through their states without a worker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import msgspec
from headrace_local.system import free_port
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.codec import encoded
from shared_schemas.events import JobEvent, Logged, Progressed
from shared_schemas.ids import JobId, QueueName, default_queue, queue_of
from shared_schemas.kinds import JobKind
from shared_schemas.models import ModelManifest, TensorSpec
from shared_schemas.outcome import Outcome, Success
from shared_schemas.stream.attempt_writer import AttemptWriter, Batch, Settlement
from shared_schemas.stream.claims import Claim, Claims
from shared_schemas.stream.connection import AsyncRedis, connect
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.dead_letters import DeadLetters
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.schedule import Schedule
from shared_schemas.stream.submission import Submitter
from shared_schemas.stream.workers import Workers

INFERENCE, TRAINING = default_queue(JobKind.INFERENCE), default_queue(JobKind.TRAINING)
TRAINING_BODY = {"model_type": "transformer", "data_path": "/data/train.csv"}
MODEL = "echo"
DEADLINE_S = 20.0
T = TypeVar("T")
ROOT = Path(__file__).parents[2]


class Gateway:
    """One process, which a test can end and start again on the same port."""

    def __init__(
        self,
        redis_url: str,
        log: Path,
        *,
        is_bare: bool = False,
        module: Sequence[str] = ("gateway",),
        **settings: object,
    ) -> None:
        """log: the file for its log. is_bare: run `uvicorn gateway.app:app` instead of `python -m
        gateway`. module: another module to run, with its arguments."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log, self.folder = log, log.parent
        self.module = ["uvicorn", "gateway.app:app", "--port", str(self.port)] if is_bare else module
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")},
            "HEADRACE_REDIS_URL": redis_url,
            "HEADRACE_PORT": str(self.port),
            "HEADRACE_ARTIFACTS_ROOT": str(log.parent / "artifacts"),
            **{f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log(self) -> list[dict[str, Any]]:
        """The complete lines of the log, decoded. The gateway may be writing another one."""
        *lines, _ = self._log.read_text().split("\n")
        return [json.loads(line) for line in lines]

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.module], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        # Connections are refused at once until the process listens.
        transport = httpx.HTTPTransport(retries=100)
        with httpx.Client(transport=transport, base_url=self.url, timeout=DEADLINE_S) as client:
            client.get("/healthz").raise_for_status()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self, *, within_s: float = DEADLINE_S) -> int:
        """-> the exit status"""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def client(self, **options: Any) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=1000, max_keepalive_connections=0)
        options = {"timeout": DEADLINE_S, "limits": limits, **options}
        return httpx.AsyncClient(base_url=self.url, trust_env=False, **options)


@contextmanager
def running_gateway(redis_url: str, folder: Path, **settings: Any) -> Iterator[Gateway]:
    gateway = Gateway(redis_url, folder / "gateway.log", **settings)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def gateways(redis_url: str, folder: Path, n: int, **settings: Any) -> Iterator[list[Gateway]]:
    """n gateways on one Redis. A test may end and start them."""
    started = [Gateway(redis_url, folder / f"gateway-{i}.log", **settings) for i in range(n)]
    try:
        with ThreadPoolExecutor() as threads:
            list(threads.map(Gateway.start, started))
        yield started
    finally:
        for gateway in started:
            gateway.stop()


class Driver:
    """Takes jobs through their states, as a worker and the housekeeping would."""

    def __init__(self, client: AsyncRedis, reader: AsyncRedis) -> None:
        self.client, self.nodes, self._reader = client, Nodes(client), reader
        self._begun: dict[JobId, Claim] = {}
        self.submitter, self.jobs, self.control = Submitter(self.nodes), Jobs(self.nodes), JobControl(self.nodes)
        self.catalog, self.workers = Queues(self.nodes), Workers(self.nodes)
        self.queue_queries = QueueQueries(self.nodes, self.catalog)
        self.registry = ModelRegistry(self.nodes)
        self.dead_letters = DeadLetters(self.nodes)

    async def begin(self, job_id: JobId) -> Claim:
        """Claim jobs of the job's queue until this one is claimed."""
        claims = self.claims(queue_of(job_id))
        await claims.open()
        with anyio.fail_after(DEADLINE_S):
            while job_id not in self._begun:
                fences = {begun.job_id: begun.fence for begun in self._begun.values()}
                for claim in await claims.claim(16, token=os.urandom(8).hex(), held=fences):
                    self._begun[claim.job_id] = claim
                if job_id not in self._begun:
                    # An entry that arrives is pending for this worker, so the next claim alone would not find it.
                    entries = await claims.wait(timeout_s=1.0)
                    for claim in await claims.claim(16, token=os.urandom(8).hex(), entries=entries):
                        self._begun[claim.job_id] = claim
        return self._begun.pop(job_id)

    async def record(self, claim: Claim, *events: JobEvent, first: int = 0) -> None:
        writer = AttemptWriter(self.nodes, claim.queue)
        assert await writer.record([Batch(claim, first, [*map(encoded, events)])]) == [True]

    async def settle(self, claim: Claim, outcome: Outcome, *, first: int = 0) -> None:
        writer = AttemptWriter(self.nodes, claim.queue)
        assert await writer.settle([Settlement(Batch(claim, first, ()), outcome)]) == [True]

    async def finish(self, job_id: JobId, outcome: Outcome | None = None, *, n_events: int = 0) -> Claim:
        """Begin the job, record n_events log lines, and end it."""
        claim = await self.begin(job_id)
        if n_events:
            await self.record(claim, *(Logged(line=f"line {i}") for i in range(n_events)))
        await self.settle(claim, outcome or succeeded(), first=n_events)
        return claim

    async def publish(
        self,
        name: str = MODEL,
        *,
        by: JobId | None = None,
        replay_of: JobId | None = None,
        manifest: ModelManifest | None = None,
    ) -> JobId:
        """Publish a model as a training job does: stage it, then let the job succeed."""
        if by is None:
            by = await self._training_job(replay_of)
        claim = await self.begin(by)
        await self.registry.stage(name=name, job_id=by, fence=claim.fence, manifest=manifest or a_manifest())
        await self.settle(claim, succeeded({"model": name}))
        return by

    async def sweep(self, queue: QueueName) -> None:
        await Schedule(self.nodes, queue).sweep()

    async def count_jobs(self) -> int:
        names = [key async for key in self.client.scan_iter(match="{hr:*}:job:*", count=1000)]
        return len([name for name in names if not name.startswith(b"{hr:models}")])

    async def _training_job(self, replay_of: JobId | None = None) -> JobId:
        from shared_schemas.specs import TrainingSpec

        from tests.support.workers import Bench

        return await Bench(self.client).submit(
            TrainingSpec(model_type="mlp", data_path="a.csv", seed=1), queue=TRAINING, replay_of=replay_of
        )

    def claims(self, queue: QueueName) -> Claims:
        return Claims(self.nodes, self._reader, queue, worker="driver", lease_s=60.0)


@asynccontextmanager
async def driver(redis_url: str) -> AsyncIterator[Driver]:
    settings = RedisSettings(redis_url=redis_url)
    client, reader = connect(settings), connect(settings, retries=0)
    try:
        yield Driver(client, reader)
    finally:
        await client.aclose()
        await reader.aclose()


class Frame(msgspec.Struct, frozen=True):
    """One server-sent event, as it was received."""

    id: str
    event: str
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


async def frames(response: httpx.Response) -> AsyncIterator[Frame]:
    """Parse a stream by the standard, but expect that data is one line.

    https://html.spec.whatwg.org/#parsing-an-event-stream
    """
    fields: dict[str, str] = {}
    left = b""
    async for chunk in response.aiter_bytes():
        *lines, left = (left + chunk).split(b"\n")
        for line in lines:
            if line:
                name, _, value = line.decode().partition(": ")
                assert name not in fields, line
                fields[name] = value
                continue
            if "data" in fields:
                yield Frame(fields["id"], fields["event"], fields["data"])
            fields = {}


async def read_frames(client: httpx.AsyncClient, path: str, **options: Any) -> list[Frame]:
    """All frames of a stream that ends."""
    async with client.stream("GET", path, **options) as response:
        assert response.status_code == 200, await response.aread()
        return [frame async for frame in frames(response)]


async def until_cut(parts: AsyncIterator[T], *, is_cut: bool = True) -> AsyncIterator[T]:
    """Yield the parts of a response to its end. is_cut: whether the response must end incomplete."""
    try:
        async for part in parts:
            yield part
    except httpx.RemoteProtocolError:
        assert is_cut
    else:
        assert not is_cut


async def cut_short(http: httpx.AsyncClient, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """The status and the received bytes of a response that must be cut."""
    async with http.stream("GET", path, headers=headers) as response:
        return response.status_code, b"".join([part async for part in until_cut(response.aiter_bytes())])


def succeeded(value: object = None, *, digest: str | None = None, facts: dict[str, str] | None = None) -> Success:
    return Success(msgspec.Raw(msgspec.json.encode(value)), digest, facts or {})


def progressed(i: int, n: int) -> Progressed:
    return Progressed(fraction=i / n, step=i, total=n)


def a_manifest() -> ModelManifest:
    file = ArtifactRef(sha256="a" * 64, n_bytes=1)
    tensor = TensorSpec(name="features", dtype="float32", shape=("batch", 4))
    return ModelManifest(task="tabular-regression", model_type="mlp", onnx=file, inputs=(tensor,), outputs=(tensor,))
