"""The registrations of workers: what a renewal writes, and which workers are registered at a
queue."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from shared_schemas.capabilities import Capabilities
from shared_schemas.codec import encode_json
from shared_schemas.ids import JobId, QueueName, is_job_id, kind_of_queue
from shared_schemas.job import DeviceUse, HeldModel, WorkerStatus
from shared_schemas.lifecycle import from_ms
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.nodes import Nodes

# At most as long as a time in ms.
_NUMBER = re.compile(r"[0-9]{1,14}")


class Workers:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def registered(self, queue: QueueName) -> list[WorkerStatus]:
        return workers_of(queue, await scripts.call(self._nodes.of_queue(queue), "workers", keys.tag(queue), {}))


def worker_facts(
    *,
    host: str,
    pid: int,
    slots: int,
    started_at: datetime,
    state: str,
    jobs: Sequence[JobId],
    facts: dict[str, str],
    device: DeviceUse | None = None,
    capabilities: Capabilities | None = None,
    models: Sequence[HeldModel] | None = None,
) -> dict[str, str]:
    """The fields of a worker's registration, as Leases.renew writes them. device: None if it is not
    known now, whatever an earlier renewal said."""
    registered = {} if capabilities is None else {"capabilities": encode_json(capabilities).decode()}
    if models is not None:
        registered["models"] = encode_json(models).decode()
    return registered | {
        "host": host,
        "pid": str(pid),
        "slots": str(slots),
        "started": str(round(started_at.timestamp() * 1000)),
        "state": state,
        "jobs": " ".join(jobs),
        "facts": encode_json(facts).decode(),
        "device": encode_json(device).decode(),
    }


def workers_of(queue: QueueName, rows: Iterable[Any]) -> list[WorkerStatus]:
    """rows: the answer of workers.lua."""
    return [
        _worker_of(name.decode(errors="replace"), queue, dict(zip(flat[::2], flat[1::2], strict=True)))
        for name, flat in rows
        if flat
    ]


def with_shared_gpus(workers: Sequence[WorkerStatus]) -> list[WorkerStatus]:
    """The workers, each with the others on its GPU. workers: all that are registered."""
    on_gpu: dict[str, set[str]] = {}
    for worker in workers:
        if worker.device is not None and worker.device.uuid is not None:
            on_gpu.setdefault(worker.device.uuid, set()).add(worker.name)
    shared = {uuid: names for uuid, names in on_gpu.items() if len(names) > 1}
    return [
        msgspec.structs.replace(worker, gpu_shared_with=tuple(sorted(shared[worker.device.uuid] - {worker.name})))
        if worker.device is not None and worker.device.uuid in shared
        else worker
        for worker in workers
    ]


def capabilities_of(rows: Iterable[Any]) -> list[Capabilities | None]:
    """rows: the answer of workers.lua. -> for each worker its capabilities; None if it registered
    none that can be read, such as a worker of another version or in another language"""
    found: list[Capabilities | None] = []
    for _, flat in rows:
        registered = dict(zip(flat[::2], flat[1::2], strict=True)).get(b"capabilities") if flat else None
        try:
            found.append(None if registered is None else msgspec.json.decode(registered, type=Capabilities))
        except msgspec.DecodeError:
            found.append(None)
    return found


def _worker_of(name: str, queue: QueueName, row: Mapping[bytes, bytes]) -> WorkerStatus:
    """The registration of a worker. None for what is missing or malformed: a worker of another
    version, or in another language, may register less."""

    def text(field: str) -> str | None:
        return row[field.encode()].decode(errors="replace") if field.encode() in row else None

    def number(field: str) -> int | None:
        found = text(field) or ""
        return int(found) if _NUMBER.fullmatch(found) else None

    started, seen = number("started"), number("seen")
    try:
        facts = msgspec.json.decode(row.get(b"facts", b"{}"), type=dict[str, str])
    except msgspec.DecodeError:
        facts = {}
    try:
        device = msgspec.json.decode(row.get(b"device", b"null"), type=DeviceUse | None)
    except msgspec.DecodeError:
        device = None
    try:
        models = msgspec.json.decode(row.get(b"models", b"null"), type=tuple[HeldModel, ...] | None)
    except msgspec.DecodeError:
        models = None
    return WorkerStatus(
        name=name,
        queue=queue,
        kind=kind_of_queue(queue),
        host=text("host"),
        pid=number("pid"),
        slots=number("slots"),
        started_at=None if started is None else from_ms(started),
        seen_at=None if seen is None else from_ms(seen),
        state=text("state"),
        jobs=tuple(JobId(job_id) for job_id in (text("jobs") or "").split() if is_job_id(job_id)),
        facts=facts,
        device=device,
        models=models,
    )
