"""All that is measured in a run, as lines of a file, and of that what goes into the timeline.

A timeline is kept in Redis and read from its start, so it must not grow with the steps of a run: past so many events of
a split, of each stretch of a run only the first, the last and the two extremes are told. The whole series goes to the
artifact store, in parts while the run lasts, which its checkpoints name, and as one file at its end.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.codec import encode_json
from shared_schemas.events import Measured
from shared_schemas.store.files import ArtifactStore

MEDIA_TYPE = "application/x-ndjson"
# What is kept of a stretch: the first, the last, and the two extremes.
_OF_A_STRETCH = 4
_PART_BYTES = 1 << 20


class SeriesState(msgspec.Struct, kw_only=True):
    """What a run that goes on must know. counts: events so far, by split. held: of the stretch that is not over, what
    will be told of it. parts: files of the series so far."""

    counts: dict[str, int] = {}
    held: dict[str, list[Measured]] = {}
    parts: list[ArtifactRef] = []


class Series:
    """report: takes what goes into the timeline. most: events of a split that are all told; as many again stand for
    the rest of the run. total: how many there will be."""

    def __init__(
        self,
        store: ArtifactStore,
        report: Callable[[Measured], None],
        *,
        most: int,
        total: int,
        state: SeriesState | None = None,
        rest: bytes = b"",
    ) -> None:
        self._store, self._report, self._most = store, report, most
        self._state, self._rest = state or SeriesState(), bytearray(rest)
        self._stretch = max(1, math.ceil((total - most) * _OF_A_STRETCH / most))

    def add(self, event: Measured) -> None:
        self._rest += encode_json(event)
        self._rest += b"\n"
        if len(self._rest) >= _PART_BYTES:
            self._state.parts.append(self._store.put_bytes(bytes(self._rest), media_type=MEDIA_TYPE))
            self._rest.clear()
        for told in self._told(event):
            self._report(told)

    def saved(self) -> tuple[SeriesState, bytes]:
        """What a checkpoint keeps: the state, and the lines that are in no part yet."""
        return self._state, bytes(self._rest)

    def end(self) -> ArtifactRef | None:
        """Tell what is still held. -> the whole series as one file; None where the timeline has all of it."""
        for split in list(self._state.held):
            for told in self._over(split):
                self._report(told)
        if all(count <= self._most for count in self._state.counts.values()):
            return None
        with tempfile.NamedTemporaryFile(prefix="headrace-series-") as whole:
            for part in self._state.parts:
                whole.write(self._store.path(part).read_bytes())
            whole.write(self._rest)
            whole.flush()
            return self._store.put_file(Path(whole.name), media_type=MEDIA_TYPE)

    def _told(self, event: Measured) -> Iterator[Measured]:
        split, counts = event.split, self._state.counts
        n = counts[split] = counts.get(split, 0) + 1
        place = (n - self._most - 1) % self._stretch
        if n <= self._most or place == 0:
            yield event
        else:
            held = self._state.held.get(split, [])
            self._state.held[split] = _lasting([*held, event])
        if n > self._most and place == self._stretch - 1:
            yield from self._over(split)

    def _over(self, split: str) -> list[Measured]:
        return self._state.held.pop(split, [])


def _lasting(events: list[Measured]) -> list[Measured]:
    """The least, the greatest and the last of them, in their order."""
    kept = (min(events, key=_least), max(events, key=_greatest), events[-1])
    return [event for event in events if any(event is one for one in kept)]


def _value(event: Measured) -> float | None:
    """What the extremes are of: the loss, or what comes first."""
    return event.values.get("loss", next(iter(event.values.values()), None))


def _least(event: Measured) -> float:
    value = _value(event)
    return math.inf if value is None else value


def _greatest(event: Measured) -> float:
    value = _value(event)
    return -math.inf if value is None else value
