"""A worker: one task group. Each of its duties has a file of its own, and this file starts them.

It knows no models: those are the handler's.
"""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.abc import TaskGroup
from shared_schemas.backoff import Backoff
from shared_schemas.capabilities import Capabilities
from shared_schemas.errors import BackendUnavailable, ErrorInfo, MalformedId
from shared_schemas.ids import QueueName, default_queue, kind_of_queue, parse_queue
from shared_schemas.job import HeldModel
from shared_schemas.service.observers import combined
from shared_schemas.service.settings import SettingsRejected
from shared_schemas.stream.attempt_writer import AttemptWriter
from shared_schemas.stream.claims import Claims
from shared_schemas.stream.connection import AsyncRedis, connect, connect_for_thread, connect_one
from shared_schemas.stream.fitness import faults_of, server_facts
from shared_schemas.stream.known_bugs import password_warning, warnings_of
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.recovery import Recovery
from shared_schemas.stream.schedule import Schedule
from shared_schemas.stream.store_version import check_store
from shared_schemas.stream.timeline import Timeline

from worker_runtime import cancelling, metrics, promotion
from worker_runtime.active_attempts import ActiveAttempts
from worker_runtime.circuit_breaker import CircuitBreaker
from worker_runtime.claiming import Claiming
from worker_runtime.device_use import DeviceUseMonitor
from worker_runtime.draining import Draining
from worker_runtime.handler import Handler, StopReason
from worker_runtime.heartbeat import BEATS_PER_LEASE, Heartbeat
from worker_runtime.instrument import QueueObserver
from worker_runtime.log_lines import QueueLog
from worker_runtime.metrics import QueueMetrics
from worker_runtime.monitoring import listen, monitored
from worker_runtime.process import run_process
from worker_runtime.reclaiming import Reclaiming
from worker_runtime.recording import Recorder
from worker_runtime.running import Runner
from worker_runtime.settings import RuntimeSettings
from worker_runtime.settling import Settler

CLOSING_S = 2.0
# A broken GPU may never say how much of its memory is in use.
_FIRST_USE_S = 2.0


class Worker:
    """Serves `handler.kind` jobs until drained.

        worker = Worker(settings, handler)
        await worker.run()  # returns after SIGTERM or worker.drain(), once no attempt is left

    capabilities: what it registers for the gateways, such as its recipes.
    models: what it holds, for its registration. It is called from another thread and must not wait.
    unfit: why the worker has ended by itself: its handler could run nothing any more, and a new
        process is needed.

    SettingsRejected for queues of another kind, or if metrics_port is taken.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        handler: Handler,
        *,
        capabilities: Capabilities | None = None,
        models: Callable[[], Sequence[HeldModel] | None] = lambda: None,
    ) -> None:
        self._settings, self._handler, self._capabilities = settings, handler, capabilities
        self._models, self._registration_changed = models, anyio.Event()
        self.queues = _queues(settings, handler)
        self.name = f"{settings.worker_name or f'{socket.gethostname()}-{os.getpid()}'}-{secrets.token_hex(3)}"
        self.unfit: ErrorInfo | None = None
        self._monitor = listen(settings.metrics_port)
        lines_per_s = settings.log_lines_per_s
        self._observers = {
            queue: combined(
                QueueObserver, QueueMetrics(queue), QueueLog(queue, worker=self.name, lines_per_s=lines_per_s)
            )
            for queue in self.queues
        }
        self._active = ActiveAttempts(settings.slots)
        self._draining = Draining(self._active, worker=self.name, grace_s=settings.drain_grace_s)
        # A handler that names no device runs on the CPU, as everything can.
        device = handler.describe().get("device", "cpu")
        self._device_use = DeviceUseMonitor(device, interval_s=settings.lease_s / BEATS_PER_LEASE)
        self._breaker, self._lock, self._claimed_all = CircuitBreaker(), anyio.Lock(fast_acquire=True), anyio.Event()

    def register_soon(self) -> None:
        """Write the registration now instead of at the next renewal."""
        self._registration_changed.set()

    def drain(self) -> None:
        """End as after SIGTERM. A second call ends the grace period at once."""
        self._draining.begin()

    def _give_up(self, error: ErrorInfo) -> None:
        structlog.get_logger().error("worker_unfit", worker=self.name, code=error.code, message=error.message)
        self.unfit = error
        self.drain()
        self.drain()

    async def run(self, *, handle_signals: bool = True) -> None:
        """handle_signals: turn SIGTERM and SIGINT into a drain; only in a process's main thread."""
        metrics.SLOTS.set(self._settings.slots)
        metrics.RUNNING.set_function(lambda: len(self._active.all()))
        with monitored(self._monitor, asyncio.get_running_loop()):
            await self._serve(handle_signals=handle_signals)

    async def _serve(self, *, handle_signals: bool) -> None:
        settings, log = self._settings, structlog.get_logger().bind(worker=self.name)
        client = connect(settings)
        if not await self._is_store_known(client, handle_signals=handle_signals):
            await client.aclose()
            return
        writers = {queue: connect_one(settings) for queue in self.queues}
        readers = {queue: connect_one(settings, retries=0) for queue in self.queues}
        nodes, connections = Nodes(client), {queue: Nodes(writers[queue]) for queue in self.queues}
        claims = {
            queue: Claims(
                connections[queue],
                readers[queue],
                queue,
                worker=self.name,
                lease_s=settings.lease_s,
                capacity=settings.slots,
            )
            for queue in self.queues
        }
        heartbeat = self._heartbeat(asyncio.get_running_loop())
        log.info("worker_started", queues=self.queues, slots=settings.slots, **self._handler.describe())
        try:
            self._device_use.start()
            # So that the first registration has it.
            await anyio.to_thread.run_sync(self._device_use.wait_for_first, _FIRST_USE_S)
            heartbeat.start()
            async with anyio.create_task_group() as duties:
                if handle_signals:
                    duties.start_soon(self._draining.listen)
                duties.start_soon(self._check_redis, client)
                duties.start_soon(cancelling.listen, lambda: PubSubConnection(client), self.queues, self._active)
                duties.start_soon(self._register_draining, heartbeat)
                duties.start_soon(self._register_changes, heartbeat)
                async with anyio.create_task_group() as attempts:
                    claiming = [
                        self._start_duties(
                            duties, attempts, nodes, claims[queue], AttemptWriter(connections[queue], queue)
                        )
                        for queue in self.queues
                    ]
                    attempts.start_soon(self._claim, claiming, attempts)
                    await self._draining.run(self._claimed_all)
                    attempts.cancel_scope.cancel()
                duties.cancel_scope.cancel()
        finally:
            heartbeat.end()
            self._device_use.end()
            with anyio.move_on_after(CLOSING_S, shield=True):
                # A renewal that has begun would register the worker again.
                await anyio.to_thread.run_sync(heartbeat.join, CLOSING_S / 2)
                await self._close(claims.values(), [client, *writers.values(), *readers.values()])
            for observer in self._observers.values():
                observer.worker_ending()
        log.info("worker_stopped")

    async def _claim(self, claiming: list[Claiming], attempts: TaskGroup) -> None:
        async with anyio.create_task_group() as group:
            for each in claiming:
                group.start_soon(each.run, attempts)
        self._claimed_all.set()

    def _start_duties(
        self, duties: TaskGroup, attempts: TaskGroup, nodes: Nodes, claims: Claims, writer: AttemptWriter
    ) -> Claiming:
        settings = self._settings
        observer = self._observers[claims.queue]
        recorder = Recorder(writer, lambda: self._active.all(claims.queue), observer)
        settler = Settler(writer, observer)
        runner = Runner(
            self._handler,
            self._active,
            recorder,
            settler,
            self._breaker,
            observer,
            give_up=self._give_up,
            timeline=Timeline(nodes),
        )
        reclaiming = Reclaiming(Recovery(nodes, claims.queue), observer, worker=self.name, lease_s=settings.lease_s)
        duties.start_soon(recorder.run)
        duties.start_soon(settler.run)
        duties.start_soon(reclaiming.run)
        duties.start_soon(promotion.promote, Schedule(nodes, claims.queue), observer)
        return Claiming(
            claims,
            self._active,
            runner,
            self._draining,
            self._breaker,
            self._lock,
            observer,
            is_only=len(self.queues) == 1,
        )

    def _heartbeat(self, loop: asyncio.AbstractEventLoop) -> Heartbeat:
        settings = self._settings

        def call_soon(function: Callable[..., None], *arguments: object) -> None:
            # anyio's portal would wait for the loop, and a blocked loop must not stop the renewals.
            # Once the worker has stopped, the loop is closed, and the call is of no use.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(function, *arguments)

        # A call that hangs must fail before the next beat is due, or a lost lease would be found
        # too late.
        impatient = msgspec.structs.replace(
            settings, redis_timeout_s=min(settings.redis_timeout_s, settings.lease_s / BEATS_PER_LEASE)
        )
        return Heartbeat(
            {queue: connect_for_thread(impatient) for queue in self.queues},
            self._active,
            self._observers,
            worker=self.name,
            lease_s=settings.lease_s,
            state=lambda: "draining" if self._draining.has_begun else "running",
            facts=self._handler.describe(),
            device=self._device_use.latest,
            capabilities=self._capabilities,
            models=self._models,
            on_renewed=lambda fences, renewals: call_soon(
                cancelling.apply_renewals, self._active, fences, renewals, settings.drain_grace_s
            ),
            on_lost=lambda queue: call_soon(self._active.ask_all, StopReason.CLAIM_LOST, queue),
        )

    async def _register_draining(self, heartbeat: Heartbeat) -> None:
        """Show in GET /workers at once that this worker drains."""
        await self._draining.wait_until_begun()
        heartbeat.beat_soon()

    async def _register_changes(self, heartbeat: Heartbeat) -> None:
        while True:
            await self._registration_changed.wait()
            self._registration_changed = anyio.Event()
            heartbeat.beat_soon()

    async def _is_store_known(self, client: AsyncRedis, *, handle_signals: bool) -> bool:
        """Wait until Redis is available, and check that this version can use its database. False if
        the worker was drained before. SettingsRejected if another version of Headrace wrote the
        database."""
        backoff = Backoff()
        async with anyio.create_task_group() as group:
            if handle_signals:
                group.start_soon(self._draining.listen)
            rejected = None
            while not self._draining.has_begun:
                try:
                    await check_store(client)
                    break
                except SettingsRejected as error:
                    rejected = error
                    break
                except BackendUnavailable as error:
                    if backoff.is_fresh:
                        address = self._settings.redis_address
                        structlog.get_logger().warning("redis_away", redis=address, cause=str(error))
                    await self._draining.wait_unless_draining(anyio.sleep, backoff.next_s())
            group.cancel_scope.cancel()
        if rejected is not None:
            raise rejected
        return not self._draining.has_begun

    async def _check_redis(self, client: AsyncRedis) -> None:
        """Log once what makes this Redis unfit, and which known bugs it has. The worker serves all
        the same, because the jobs are there already."""
        backoff, is_logged = Backoff(), False
        if exposed := password_warning(self._settings.redis_password_file):
            structlog.get_logger().warning("password_file_exposed", warning=exposed)
        while True:
            try:
                facts = await server_facts(client)
                for fault in faults_of(facts):
                    structlog.get_logger().error("redis_unfit", fault=fault)
                for warning in warnings_of(facts):
                    structlog.get_logger().warning("redis_known_bug", warning=warning)
                return
            except BackendUnavailable as error:
                if not is_logged:
                    address = self._settings.redis_address
                    structlog.get_logger().warning("redis_away", redis=address, cause=str(error))
                is_logged = True
                await anyio.sleep(backoff.next_s())

    async def _close(self, claims: Iterable[Claims], clients: Iterable[AsyncRedis]) -> None:
        try:
            for each in claims:
                await each.close()
        except BackendUnavailable:
            structlog.get_logger().warning("registration_left_behind", worker=self.name)
        for client in clients:
            await client.aclose()


def run_worker(settings: RuntimeSettings, handler: Handler) -> None:
    """Run until drained: the body of a worker's main(). SystemExit with a message if the handler gave up."""
    worker = Worker(settings, handler)
    run_process(worker.run)
    if worker.unfit is not None:
        sys.exit(worker.unfit.message)


def _queues(settings: RuntimeSettings, handler: Handler) -> list[QueueName]:
    try:
        queues = [parse_queue(name) for name in dict.fromkeys(settings.queues)] or [default_queue(handler.kind)]
    except MalformedId as error:
        raise SettingsRejected(f"HEADRACE_QUEUES: {error}") from None
    if any(kind_of_queue(queue) is not handler.kind for queue in queues):
        raise SettingsRejected(f"HEADRACE_QUEUES: a {handler.kind} worker serves {handler.kind} queues only")
    return queues
