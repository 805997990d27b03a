"""Renews leases, on a thread that neither a handler nor the event loop can block.

A worker that could not renew for a whole lease stops its attempts, because another worker may run
them by then.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from shared_schemas.capabilities import Capabilities
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import DeviceUse, HeldModel
from shared_schemas.stream.connection import SyncRedis
from shared_schemas.stream.leases import Leases, Renewal
from shared_schemas.stream.workers import worker_facts

from worker_runtime.active_attempts import ActiveAttempts
from worker_runtime.instrument import QueueObserver

BEATS_PER_LEASE = 3


class Heartbeat(threading.Thread):
    """clients: one connection for each queue, which this thread closes. A call on it must fail well
    within a lease. state, device, models: of the worker, for its registration. on_renewed: called
    with the fences of the attempts and the result for each. on_lost: called with a queue for which
    no renewal has succeeded for a whole lease. All five are called from this thread and must not
    wait."""

    def __init__(
        self,
        clients: dict[QueueName, SyncRedis],
        active: ActiveAttempts,
        observers: dict[QueueName, QueueObserver],
        *,
        worker: str,
        lease_s: float,
        state: Callable[[], str],
        facts: dict[str, str],
        device: Callable[[], DeviceUse | None],
        capabilities: Capabilities | None,
        models: Callable[[], Sequence[HeldModel] | None],
        on_renewed: Callable[[dict[JobId, str], dict[JobId, Renewal]], None],
        on_lost: Callable[[QueueName], None],
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._clients, self._active, self._observers, self._lease_s = clients, active, observers, lease_s
        self._leases = {
            queue: Leases(client, queue, worker=worker, lease_s=lease_s) for queue, client in clients.items()
        }
        self._state, self._facts, self._on_renewed, self._on_lost = state, facts, on_renewed, on_lost
        self._device, self._capabilities, self._models = device, capabilities, models
        self._started_at = datetime.now(UTC)
        self._ending = threading.Event()
        self._now = threading.Event()

    def end(self) -> None:
        self._ending.set()
        self._now.set()

    def beat_soon(self) -> None:
        """Renew now, and so update the registration of the worker, instead of at the next beat."""
        self._now.set()

    def run(self) -> None:
        renewed_at = dict.fromkeys(self._leases, time.monotonic())
        failing: set[QueueName] = set()
        while not self._ending.is_set():
            for queue, leases in self._leases.items():
                asked_at = time.monotonic()
                try:
                    self._renew(queue, leases)
                    late_s = time.monotonic() - renewed_at[queue] - self._lease_s / BEATS_PER_LEASE
                    self._observers[queue].leases_renewed(max(0.0, late_s))
                    renewed_at[queue] = asked_at
                    failing.discard(queue)
                except Exception as error:  # if this thread ended, the worker would run on without leases
                    if not isinstance(error, BackendUnavailable):
                        self._observers[queue].renewal_crashed()
                    elif queue not in failing:
                        self._observers[queue].renewal_failed(error)
                    failing.add(queue)
                    if time.monotonic() - renewed_at[queue] >= self._lease_s:
                        self._on_lost(queue)
            self._now.wait(self._lease_s / BEATS_PER_LEASE)
            self._now.clear()
        for client in self._clients.values():
            client.close()

    def _renew(self, queue: QueueName, leases: Leases) -> None:
        now = time.monotonic()
        fences = {a.job_id: a.fence for a in self._active.all(queue) if a.wants_renewal(now)}
        facts = worker_facts(
            host=socket.gethostname(),
            pid=os.getpid(),
            slots=self._active.slots,
            started_at=self._started_at,
            state=self._state(),
            jobs=list(fences),
            facts=self._facts,
            device=self._device(),
            capabilities=self._capabilities,
            models=self._models(),
        )
        self._on_renewed(fences, leases.renew(fences, facts))
