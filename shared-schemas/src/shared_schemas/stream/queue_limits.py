"""How many jobs may wait in each queue, as a setting says it. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from shared_schemas.errors import MalformedId
from shared_schemas.ids import QueueName, parse_queue
from shared_schemas.service.settings import SettingsRejected

_MOST = 10**9


class QueueLimits(msgspec.Struct, frozen=True):
    """by_queue: the limits of single queues; None for none. others: the limit of every other queue."""

    by_queue: Mapping[QueueName, int | None] = {}
    others: int | None = None

    def of(self, queue: QueueName) -> int | None:
        return self.by_queue.get(queue, self.others)


NO_LIMITS = QueueLimits()


def parse_limits(texts: Iterable[str], *, variable: str) -> QueueLimits:
    """texts: `<queue>=<jobs>` for one queue, `<jobs>` for all others; 0 jobs for no limit. variable: what a message
    calls the setting. SettingsRejected."""
    by_queue: dict[QueueName, int | None] = {}
    others: list[int | None] = []
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not (number.isascii() and number.isdigit() and int(number) <= _MOST):
            raise SettingsRejected(f"{variable}: a limit is a whole number of jobs, at most {_MOST}")
        limit = int(number) or None
        if not equals:
            others.append(limit)
            continue
        try:
            queue = parse_queue(name)
        except MalformedId as error:
            raise SettingsRejected(f"{variable}: {error}") from None
        if queue in by_queue:
            raise SettingsRejected(f"{variable}: a queue has one limit")
        by_queue[queue] = limit
    if len(others) > 1:
        raise SettingsRejected(f"{variable}: only one limit can be that of all other queues")
    return QueueLimits(by_queue, others[0] if others else None)
