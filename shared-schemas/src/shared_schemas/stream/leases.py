"""Renews leases, from a thread. Knows neither what an attempt does nor what happens if it loses its
job."""

from collections.abc import Mapping

import msgspec

from shared_schemas.ids import JobId, QueueName
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import SyncRedis


class Renewal(msgspec.Struct, frozen=True):
    held: bool
    cancel_requested: bool
    pause_requested: bool


class Leases:
    """For a thread of its own with a connection of its own. A live worker must not look dead because of torch, ONNX
    Runtime or a slow callback on the event loop."""

    def __init__(self, client: SyncRedis, queue: QueueName, *, worker: str, lease_s: float) -> None:
        self._client, self._worker, self._lease_s = client, worker, lease_s
        self._tag = keys.tag(queue)

    def renew(self, fences: Mapping[JobId, str], facts: Mapping[str, str]) -> dict[JobId, Renewal]:
        """Extend each lease. With facts, also extend the worker's registration (see workers.worker_facts)."""
        rows = scripts.call_from_thread(
            self._client,
            "renew",
            self._tag,
            {
                "worker": self._worker,
                "lease_ms": round(self._lease_s * 1000),
                "items": [{"id": job_id, "fence": fence} for job_id, fence in fences.items()],
                "facts": [part for fact in facts.items() for part in fact],
            },
        )
        return {
            job_id: Renewal(bool(held), bool(cancel), bool(pause))
            for job_id, (held, cancel, pause) in zip(fences, rows, strict=True)
        }
