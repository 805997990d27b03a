"""Runs the scenarios of this folder: what each script answers, writes and tells, of any program that calls them.

    python -m shared_schemas.stream.bundle > bundle.json
    python tests/conformance/run.py bundle.json redis://127.0.0.1:6379/0 tests/conformance/*.json

It needs redis-py alone, and deletes the keys of the queue that a scenario names. README.md beside it says what a
scenario is, so that the same can be done in another language.
"""

import json
import sys
from pathlib import Path
from typing import Any

import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "examples"))
from protocol import Queue, unpack


class Differs(AssertionError):
    """What was found is not what the scenario says."""


def run(scenario: dict[str, Any], bundle: dict[str, Any], client: Any) -> None:
    queue = Queue(client, bundle, scenario["queue"])
    for name in client.scan_iter(match=f"{queue.tag}*", count=1000):
        client.delete(name)
    for number, step in enumerate(scenario["steps"], 1):
        try:
            _take(step, queue)
        except Differs as error:
            raise Differs(f"{scenario['name']}, step {number}: {error}") from None


def _take(step: dict[str, Any], queue: Queue) -> None:
    if "call" in step:
        arguments, rare = (_filled(step.get(part, {}), queue.bundle) for part in ("args", "rare"))
        _compare(step["answer"], queue.call(step["call"], arguments, rare), queue, step["call"])
    for job_id, wanted in step.get("jobs", {}).items():
        _compare_job(wanted, job_id, queue)
    for name, members in step.get("zsets", {}).items():
        _compare(members, queue.redis.zrange(queue.tag + name, 0, -1), queue, name)
    for lane, wanted in step.get("ready", {}).items():
        _compare(wanted, _ready(queue, lane), queue, f"ready:{lane}")


def _compare_job(wanted: dict[str, Any], job_id: str, queue: Queue) -> None:
    stored = {name.decode(): value for name, value in queue.redis.hgetall(f"{queue.tag}job:{job_id}").items()}
    if "parts" in wanted:
        _compare({"$parts": wanted["parts"]}, stored["job"], queue, job_id)
    for name, value in wanted.get("fields", {}).items():
        kept = stored.get(name)
        _compare(value, None if kept is None else json.loads(kept), queue, f"{name} of {job_id}")
    if "events" in wanted:
        _compare(wanted["events"], _timeline(stored, job_id, queue), queue, f"the events of {job_id}")


def _timeline(stored: dict[str, bytes], job_id: str, queue: Queue) -> list[Any]:
    """Each event without its time: the short timeline of the hash, or the stream that it has moved into."""
    found = [stored[str(n)].partition(b" ")[2] for n in range(1, 9) if str(n) in stored]
    found = found or [fields[b"data"] for _, fields in queue.redis.xrange(f"{queue.tag}events:{job_id}")]
    return [{name: value for name, value in json.loads(data).items() if name != "at"} for data in found]


def _ready(queue: Queue, lane: str) -> dict[str, int]:
    """How many entries a lane has, and how many of them were delivered and not acknowledged."""
    stream = f"{queue.tag}ready:{lane}"
    groups = queue.redis.xinfo_groups(stream) if queue.redis.exists(stream) else []
    pending = sum(group["pending"] for group in groups if group["name"].decode() == queue.bundle["group"])
    return {"entries": queue.redis.xlen(stream), "pending": pending}


def _filled(part: Any, bundle: dict[str, Any]) -> Any:
    """{"$transition": reason, more} stands for the row of the table with more."""
    if isinstance(part, dict):
        filled = {name: _filled(value, bundle) for name, value in part.items()}
        reason = filled.pop("$transition", None)
        return filled if reason is None else bundle["transitions"][reason] | filled
    return [_filled(value, bundle) for value in part] if isinstance(part, list) else part


def _compare(wanted: Any, found: Any, queue: Queue, where: str) -> None:
    if isinstance(found, bytes) and not (isinstance(wanted, dict) and "$parts" in wanted):
        found = found.decode()
    if wanted == "$int":
        matches = isinstance(found, int)
    elif isinstance(wanted, dict) and "$parts" in wanted:
        # A part that is not there, as the array has ended, is as good as false.
        parts = dict.fromkeys(queue.bundle["record"], False)
        parts |= dict(zip(queue.bundle["record"], unpack(found), strict=False))
        for name, value in wanted["$parts"].items():
            _compare(value, parts[name], queue, f"{name} in {where}")
        return
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for place, (one, other) in enumerate(zip(wanted, found, strict=True)):
            _compare(one, other, queue, f"{where}[{place}]")
        return
    else:
        matches = wanted == found and type(wanted) is type(found)
    if not matches:
        raise Differs(f"{where} is {found!r} and not {wanted!r}")


def main() -> None:
    bundle, client = json.loads(Path(sys.argv[1]).read_text()), redis.Redis.from_url(sys.argv[2], protocol=2)
    for file in sys.argv[3:]:
        for scenario in json.loads(Path(file).read_text()):
            run(scenario, bundle, client)
            print("ok", scenario["name"])


if __name__ == "__main__":
    main()
