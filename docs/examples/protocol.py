"""What every worker does alike, in plain Python: it calls scripts, waits for entries, and looks for
dead workers.

docs/protocol.md explains the steps, and worker.py uses them. The MessagePack code
(https://msgpack.org) covers what the protocol needs. Use a library where you have one.
"""

import contextlib
import json
import struct
import time
from typing import Any

import redis

# The formats of the length of a text, a list or a map, by the byte before it.
_LENGTHS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
LATE = {"code": "start_deadline_exceeded", "message": "no worker began the job before its start deadline"}
POISON = {"code": "poison", "message": "the job's workers were lost while they ran this job"}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def pack(value: Any) -> bytes:
    if value is None or value is True or value is False:
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BI", 0xDB, len(data)) + data
    if isinstance(value, dict):
        return struct.pack(">BI", 0xDF, len(value)) + b"".join(pack(name) + pack(part) for name, part in value.items())
    return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))


def unpack(data: bytes) -> Any:
    value, _ = _unpack(data, 0)
    return value


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    """-> the value that begins at `at`, and where the next one begins"""
    kind, at = data[at], at + 1
    if kind < 0x80 or kind >= 0xE0:
        return (kind if kind < 0x80 else kind - 0x100), at
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], at
    if kind in _NUMBERS:
        form = _NUMBERS[kind]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if kind in _LENGTHS:
        form = _LENGTHS[kind]
        count, at = struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    else:
        count = kind & (0x1F if kind >= 0xA0 else 0x0F)
    if 0xA0 <= kind < 0xC0 or 0xD9 <= kind <= 0xDB:
        return data[at : at + count].decode(), at + count
    is_map = kind < 0x90 or kind in (0xDE, 0xDF)
    parts = []
    for _ in range(count * 2 if is_map else count):
        part, at = _unpack(data, at)
        parts.append(part)
    return (dict(zip(parts[::2], parts[1::2], strict=True)) if is_map else parts), at


class Queue:
    """One queue of a Redis. bundle: what `python -m shared_schemas.stream.bundle` prints."""

    def __init__(self, client: redis.Redis, bundle: dict[str, Any], name: str) -> None:
        self.redis, self.bundle, self.name, self.tag = client, bundle, name, f"{{hr:{name}}}:"

    def call(self, script: str, arguments: dict[str, Any], rare: dict[str, Any] | None = None) -> Any:
        known, given = self.bundle["scripts"][script], (1, self.tag, pack(arguments), pack(rare or {}))
        try:
            return self.redis.evalsha(known["sha1"], *given)
        except redis.exceptions.NoScriptError:
            return self.redis.eval(known["source"], *given)

    def stored_job(self, packed: bytes) -> dict[str, Any]:
        """The parts of a stored job, by name. Parts at its end may be missing."""
        return dict(zip(self.bundle["record"], unpack(packed), strict=False))

    def transition(self, reason: str, **fields: Any) -> dict[str, Any]:
        """The transition for this reason, with more fields in its event. An error is also stored
        beside the event."""
        row, error = self.bundle["transitions"][reason], fields.get("error")
        more = {"error": json.dumps(error), "dead": error["code"]} if error and reason == "failed" else {}
        return row | more | {"body": body(row["event"], state=row["state"], reason=reason, **fields)}

    def requested(self) -> dict[str, Any]:
        """Transitions for a job that is released after somebody asked to cancel or to pause it."""
        return {"cancelled": self.transition("cancelled"), "paused": self.transition("paused")}

    def declare(self) -> None:
        """Call this repeatedly: gateways accept jobs only for declared queues."""
        self.redis.zadd("{hr}:declared", {self.name: self.redis.time()[0] * 1000})

    def open(self) -> None:
        self.declare()
        for lane in self.bundle["lanes"]:
            with contextlib.suppress(redis.exceptions.ResponseError):  # the group exists
                self.redis.xgroup_create(f"{self.tag}ready:{lane}", self.bundle["group"], id="0", mkstream=True)

    def wait(self, worker: str, timeout_ms: int) -> list[list[str]]:
        """-> the entries for `claim`"""
        streams = {f"{self.tag}ready:{lane}": ">" for lane in self.bundle["lanes"]}
        handed = self.redis.xreadgroup(self.bundle["group"], worker, streams, count=1, block=timeout_ms)
        return [
            [name.decode().rpartition(":")[2], entry.decode(), fields[b"job"].decode()]
            for name, rows in handed or ()
            for entry, fields in rows
        ]

    def reclaim(self, seen: dict[Any, float], lease_ms: int) -> dict[Any, float]:
        """Reclaim the jobs of dead workers: their lease has run out, and their beat has not moved
        for half a lease. seen: what the last call returned. -> for each running job, its fence and
        beat, since when they are the same, by the clock of this process"""
        now_ms, found = self.redis.time()[0] * 1000, {}
        for job_id, end_ms in self.redis.zrange(self.tag + "leases", 0, 200, withscores=True):
            packed = self.redis.hget(f"{self.tag}job:{job_id.decode()}", "job")
            stored = self.stored_job(packed) if packed else {}
            # If the job does not exist or has no beat, `reclaim` removes the lease.
            job = (job_id.decode(), stored.get("fence") or "", stored.get("beat") or 0)
            found[job] = seen.get(job, time.monotonic())
            if end_ms <= now_ms and time.monotonic() - found[job] > lease_ms / 2000:
                items = [dict(zip(("id", "fence", "beat"), job, strict=True))]
                ends = {"lost": self.transition("worker_lost"), "poison": self.transition("failed", error=POISON)}
                crash_limit = {"crash_limit": self.bundle["crash_limit"]}
                self.call("reclaim", {"items": items, **crash_limit, **ends}, self.requested())
        return found


def body(event: str, **fields: Any) -> str:
    """An event without its opening brace: the script puts number, time and attempt in front."""
    return json.dumps({"event": event, **fields})[1:]
