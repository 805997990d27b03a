"""What a program in another language needs from this package, as one JSON document. docs/protocol.md explains it.

    python -m shared_schemas.stream.bundle > bundle.json

    {"version": wire version of specs and stored jobs,
     "group": name of the consumer groups,
     "lanes": in the order in which they are served,
     "record": names of the parts of a stored job, by place,
     "crash_limit": after so many crashes a job is poison,
     "transitions": {reason: {"sources", "state", "event", "body"}}, as the scripts take them,
     "scripts": {name: {"tag": its key, "sha1", "source"}}}

Sends nothing to Redis.
"""

import json
import sys
from typing import Any

from shared_schemas.codec import WIRE_VERSION
from shared_schemas.events import Reason
from shared_schemas.ids import QueueName
from shared_schemas.stream import keys
from shared_schemas.stream.keys import ALL, GROUP, LANES, MODELS
from shared_schemas.stream.linking import OF_ALL_QUEUES, OF_REGISTRY, load, names
from shared_schemas.stream.packed_job import JOB_PARTS
from shared_schemas.stream.recovery import CRASH_LIMIT
from shared_schemas.stream.transitions import transition


def bundle() -> dict[str, Any]:
    return {
        "version": WIRE_VERSION,
        "group": GROUP,
        "lanes": [lane.value for lane in LANES],
        "record": list(JOB_PARTS),
        "crash_limit": CRASH_LIMIT,
        "transitions": {reason.value: transition(reason) for reason in Reason},
        "scripts": {name: _script(name) for name in names()},
    }


def _script(name: str) -> dict[str, str]:
    tag = MODELS if name in OF_REGISTRY else ALL if name in OF_ALL_QUEUES else keys.tag(QueueName("<queue>"))
    script = load(name)
    return {"tag": tag, "sha1": script.sha, "source": script.source.decode()}


if __name__ == "__main__":
    json.dump(bundle(), sys.stdout, indent=1, sort_keys=True)
