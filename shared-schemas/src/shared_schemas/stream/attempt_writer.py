"""What an attempt writes: its events, and its end. Every write carries the fence of the attempt.

The fence, checked inside every script, is the only thing that allows a write. The pending list of the consumer group
is for delivery alone: XACK takes no consumer, so a stale worker can acknowledge another worker's entry.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared_schemas.codec import EncodedEvent, encode_json
from shared_schemas.events import Reason
from shared_schemas.ids import QueueName
from shared_schemas.outcome import Cancellation, Failure, Outcome, Release, Retry, Success
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.claims import Claim
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.transitions import event_of, packed_request_transitions, row_of


class Batch(msgspec.Struct, frozen=True):
    """Events of one attempt, in order and already encoded. first: how many events of the attempt
    were sent before these. With it, the script skips events that an earlier call has appended."""

    claim: Claim
    first: int
    events: Sequence[EncodedEvent]


class Settlement(msgspec.Struct, frozen=True):
    """The end of one attempt, with its events that are not recorded yet."""

    batch: Batch
    outcome: Outcome


class AttemptWriter:
    """Writes for all attempts of one queue in this process."""

    def __init__(self, nodes: Nodes, queue: QueueName) -> None:
        self._client, self._tag = nodes.of_queue(queue), keys.tag(queue)

    async def record(self, batches: Sequence[Batch]) -> list[bool]:
        """Append events. False for an attempt that no longer owns its job."""
        lost = await scripts.call(
            self._client, "record", self._tag, {"items": [_batch_item(batch) for batch in batches]}
        )
        return _all_except(lost, len(batches))

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End attempts. False for an attempt that no longer owned its job: nothing of it was written."""
        items = [_settle_item(settlement) for settlement in settlements]
        lost = await scripts.call(
            self._client,
            "settle",
            self._tag,
            {
                "items": items,
                "rows": {item[5]: row_of(item[5]) for item in items},
            },
            rare_arguments=packed_request_transitions(),
        )
        return _all_except(lost, len(items))


def _all_except(lost: list[int], n: int) -> list[bool]:
    """lost: places, counted from 1, that get False."""
    return [place not in lost for place in range(1, n + 1)]


def _batch_item(batch: Batch) -> dict[str, Any]:
    return {"id": batch.claim.job_id, "fence": batch.claim.fence, "first": batch.first, "events": batch.events}


def _settle_item(settlement: Settlement) -> tuple[Any, ...]:
    """An item of settle.lua: a list, because names would cost the script as much as values, for each item."""
    batch = settlement.batch
    return (batch.claim.job_id, batch.claim.fence, batch.first, batch.events, *_ending(settlement.outcome))


def _ending(outcome: Outcome) -> tuple[Any, ...]:
    """-> how, reason, body, delay_ms, result, digest, error, dead, facts"""
    match outcome:
        case Success(result, digest, facts):
            body = event_of(Reason.SUCCEEDED, result=result, digest=digest, facts=facts)
            kept = bytes(result)
            # A field that has no value has null.
            ending = "finish", Reason.SUCCEEDED, body, None, None if kept == b"null" else kept.decode(), digest
            return (*ending, None, None, encode_json(facts).decode()) if facts else ending
        case Failure(error):
            body = event_of(Reason.FAILED, error=error)
            return "finish", Reason.FAILED, body, None, None, None, encode_json(error).decode(), error.code
        case Cancellation():
            return "finish", Reason.CANCELLED, event_of(Reason.CANCELLED)
        case Retry(error, delay_s):
            body = event_of(Reason.RETRY, error=error)
            return "schedule", Reason.RETRY, body, round(delay_s * 1000), None, None, encode_json(error).decode()
        case Release():
            return "enqueue", Reason.RELEASED, event_of(Reason.RELEASED)
