"""Which faults happen, when, and how: a plan made from a seed, and the `Conductor` that carries it
out.

The plan is made before anything runs, so the same seed gives the same faults on any machine. The
conductor writes each fault into the history when it happens.
"""

import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import anyio
import redis.exceptions
from shared_schemas.ids import default_queue
from shared_schemas.kinds import JobKind
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis

from tests.chaos.history import Ended, Faulted, History
from tests.chaos.parts import Part
from tests.support.redis_server import RedisServer

QUEUE = default_queue(JobKind.INFERENCE)
LANES = list(keys.Lane)
LOADING_S = 120.0
WEIGHTS = {
    "worker killed": 5,
    "worker stopped and continued": 4,
    "worker terminated": 3,
    "gateway killed": 1,
    "gateway stopped and continued": 2,
    "gateway terminated": 1,
    "redis killed": 2,
    "redis stopped and continued": 1,
    "connections cut": 4,
    "subscriptions cut": 2,
    "group destroyed": 2,
    "consumers deleted": 2,
    "ready stream deleted": 2,
    "ready stream trimmed": 2,
    "scripts flushed": 2,
}


class Fault(NamedTuple):
    """at_s: since the load began. target: a number that selects the victim. hold_s: how long until
    it is undone."""

    at_s: float
    kind: str
    target: int
    hold_s: float


def plan(seed: str, seconds: float, *, every_s: float = 2.0) -> list[Fault]:
    rng, at_s, faults = random.Random(f"{seed} faults"), 1.0, list[Fault]()
    while (at_s := at_s + rng.expovariate(1 / every_s)) < seconds:
        kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        faults.append(Fault(at_s, kind, rng.randrange(1_000_000), rng.uniform(0.1, 5.0 if "stopped" in kind else 1.5)))
    return faults


class Conductor:
    def __init__(self, server: RedisServer, client: AsyncRedis, history: History, parts: list[Part]) -> None:
        self._server, self._client, self._history, self._parts = server, client, history, parts
        self._redis_lock = anyio.Lock()
        self.counts: Counter[str] = Counter()

    async def carry_out(self, faults: list[Fault]) -> None:
        """Return when every fault has happened and is undone."""
        start = anyio.current_time()
        async with anyio.create_task_group() as striking:
            for fault in faults:
                await anyio.sleep(max(0.0, start + fault.at_s - anyio.current_time()))
                striking.start_soon(self._strike, fault)

    async def watch(self) -> None:
        """Start each part again that has ended by itself. Record that, unless a job made it crash
        on purpose."""
        while True:
            for part in self._parts:
                ended = part.ended_unasked()
                if ended is not None:
                    if part.has_crashed_on_purpose:
                        self._note("worker crashed by a job", part.name)
                    else:
                        self._history.append(ended)
                    part.start()
            # To wait for the end of each process would take a thread for each.
            await anyio.sleep(0.2)

    async def _strike(self, fault: Fault) -> None:
        who, _, what = fault.kind.partition(" ")
        if who in ("worker", "gateway"):
            victims = [part for part in self._parts if part.role in (who, "trainer" if who == "worker" else who)]
            await self._strike_part(fault, what, victims[fault.target % len(victims)])
        elif who == "redis":
            await self._strike_redis(fault, what)
        else:
            # While Redis is away, this fault has no target.
            with suppress(redis.exceptions.RedisError, OSError):
                target = await _ON_REDIS[fault.kind](self._client, fault.target)
                self._note(fault.kind, target)

    async def _strike_part(self, fault: Fault, what: str, part: Part) -> None:
        if part.is_ending or not part.is_alive:
            return
        if what == "stopped and continued":
            part.is_ending = True
            part.signal(signal.SIGSTOP)
            self._note(fault.kind, f"{part.name} for {fault.hold_s:.1f} s")
            await anyio.sleep(fault.hold_s)
            part.signal(signal.SIGCONT)
            self._note("continued", part.name)
            part.is_ending = False
            return
        part.is_ending = True
        part.signal(signal.SIGKILL if what == "killed" else signal.SIGTERM)
        self._note(fault.kind, part.name)
        assert part.process is not None
        await anyio.to_thread.run_sync(part.process.wait)
        if what == "terminated" and part.process.returncode not in (0, -signal.SIGTERM):
            self._history.append(Ended(process=part.name, status=part.process.returncode))
        await anyio.sleep(fault.hold_s)
        part.start()
        self._note("started", part.name)

    async def _strike_redis(self, fault: Fault, what: str) -> None:
        if self._redis_lock.locked():
            return
        async with self._redis_lock:
            assert self._server.process is not None
            if what == "killed":
                self._server.kill()
                self._note(fault.kind)
                await anyio.sleep(fault.hold_s)
                self._server.start(wait=False)
                # Redis loads all its data, and the machine may be busy.
                await anyio.to_thread.run_sync(partial(self._server.wait_until_ready, deadline_s=LOADING_S))
                self._note("redis started")
                return
            self._server.process.send_signal(signal.SIGSTOP)
            self._note(fault.kind, f"for {fault.hold_s:.1f} s")
            await anyio.sleep(fault.hold_s)
            self._server.process.send_signal(signal.SIGCONT)
            self._note("redis continued")

    def _note(self, kind: str, target: str = "") -> None:
        self._history.append(Faulted(kind=kind, target=target))
        self.counts[kind] += 1


def _stream(target: int) -> str:
    return keys.ready(QUEUE, LANES[target % len(LANES)])


async def _cut_connections(client: AsyncRedis, target: int) -> str:
    clients = [c for c in await client.client_list() if c["cmd"] != "client|list"]
    cut = random.Random(target).sample(clients, min(len(clients), 1 + target % 20))
    for each in cut:
        await client.execute_command("CLIENT", "KILL", "ID", each["id"])
    return f"{len(cut)} of {len(clients)}"


async def _cut_subscriptions(client: AsyncRedis, _: int) -> str:
    return str(await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))


async def _destroy_group(client: AsyncRedis, target: int) -> str:
    await client.xgroup_destroy(_stream(target), keys.GROUP)
    return _stream(target)


async def _delete_consumers(client: AsyncRedis, target: int) -> str:
    pending = 0
    for consumer in await client.xinfo_consumers(_stream(target), keys.GROUP):
        pending += await client.xgroup_delconsumer(_stream(target), keys.GROUP, consumer["name"])
    return f"{_stream(target)}, {pending} pending"


async def _delete_stream(client: AsyncRedis, target: int) -> str:
    await client.delete(_stream(target))
    return _stream(target)


async def _trim_stream(client: AsyncRedis, target: int) -> str:
    return f"{_stream(target)}, {await client.xtrim(_stream(target), maxlen=target % 2, approximate=False)} entries"


async def _flush_scripts(client: AsyncRedis, _: int) -> str:
    await client.script_flush()
    return ""


_ON_REDIS: dict[str, Callable[[Any, int], Awaitable[str]]] = {
    "connections cut": _cut_connections,
    "subscriptions cut": _cut_subscriptions,
    "group destroyed": _destroy_group,
    "consumers deleted": _delete_consumers,
    "ready stream deleted": _delete_stream,
    "ready stream trimmed": _trim_stream,
    "scripts flushed": _flush_scripts,
}
