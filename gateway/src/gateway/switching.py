"""Moves an alias once the workers of its model have loaded the version that it moves to. Knows no
request.

A worker takes part if it holds another version of the model. It would have to load the new one when
the first job for it comes, and that job would wait.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio
from shared_schemas.errors import SwitchRefused
from shared_schemas.job import HeldModel, WorkerStatus
from shared_schemas.models import Model, ModelRef
from shared_schemas.stream.registry import ModelRegistry

from gateway.instrument import GatewayObserver

_SHORTEST_S, _LONGEST_S = 0.05, 0.5


class Switching:
    def __init__(
        self,
        registry: ModelRegistry,
        workers: Callable[[], Awaitable[Sequence[WorkerStatus]]],
        observer: GatewayObserver,
        *,
        timeout_s: float,
    ) -> None:
        """timeout_s: how long a switch waits for workers. After that, the alias moves all the
        same."""
        self._registry, self._workers, self._observer = registry, workers, observer
        self._timeout_s = timeout_s

    async def move(self, ref: ModelRef, alias: str, *, warm: bool) -> Model:
        """Let an alias name a version. warm: whether to wait for the workers. ModelNotFound;
        SwitchRefused if a worker cannot load it, SwitchSuperseded if a later request has moved the
        alias, or is about to."""
        if not warm or not self._timeout_s:
            return await self._registry.set_alias(ref.name, alias, ref.version)
        token = secrets.token_urlsafe(9)
        await self._registry.begin_switch(ref, alias, token=token, keep_s=self._timeout_s)
        waiting: list[str] = []
        with anyio.move_on_after(self._timeout_s) as limit:
            wait_s = _SHORTEST_S
            while waiting := _waits_for(await self._workers(), ref, token):
                await anyio.sleep(wait_s)
                wait_s = min(_LONGEST_S, wait_s * 1.5)
        if limit.cancelled_caught:
            self._observer.switch_timed_out(str(ref), alias, waiting)
        return await self._registry.set_alias(ref.name, alias, ref.version, token=token)


def _waits_for(workers: Iterable[WorkerStatus], ref: ModelRef, token: str) -> list[str]:
    """The names of the workers that have not loaded it yet. SwitchRefused."""
    waiting = []
    for worker in workers:
        of_model = [each for each in worker.models or () if each.model.rpartition("@")[0] == ref.name]
        if worker.state == "draining" or not any(_is_another(each, ref) for each in of_model):
            continue
        of_version = [each for each in of_model if each.model == str(ref)]
        for each in of_version:
            if each.state == "failed" and each.switch == token:
                raise SwitchRefused(
                    f"the alias stays as it is, because a worker cannot load this version: {each.code}; "
                    'with "warm": false it moves at once'
                )
        if not any(each.state == "ready" for each in of_version):
            waiting.append(worker.name)
    return waiting


def _is_another(held: HeldModel, ref: ModelRef) -> bool:
    return held.model != str(ref) and held.state != "failed"
