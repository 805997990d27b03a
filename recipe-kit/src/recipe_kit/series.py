"""Keeps all metrics of a run in a file, and chooses those that go to the timeline.

Knows no model and no Redis.

A timeline is in the memory of Redis and is read from its start, so it must not grow with the steps
of a run. The first events of each split go to the timeline one by one. After these, the rest of the
run is divided into stretches, and only the first, the last, the least and the greatest event of
each stretch go there. The file with all of them is in the artifact store: in parts while the run
lasts, and as one file at its end. Checkpoints name the parts.
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
# How many events of a stretch go to the timeline: the first, the last, the least and the greatest.
_EVENTS_PER_STRETCH = 4
_PART_BYTES = 1 << 20


class SeriesState(msgspec.Struct, kw_only=True):
    """What a checkpoint keeps, so that a resumed run makes the same series. counts: events so far,
    by split. waiting: the events of the unfinished stretch that will go to the timeline at its end,
    by split. parts: files of the series so far."""

    counts: dict[str, int] = {}
    waiting: dict[str, list[Measured]] = msgspec.field(name="held", default_factory=dict)
    parts: list[ArtifactRef] = []


class Series:
    """The metrics of one run. report: called with each event for the timeline. most: how many
    events of a split go to the timeline one by one; about as many again stand for the rest of the
    run. total: optimiser steps of the whole run. state, rest: what `saved` returned for the
    checkpoint that the run resumes from."""

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
        self._stretch = max(1, math.ceil((total - most) * _EVENTS_PER_STRETCH / most))

    def add(self, event: Measured) -> None:
        self._rest += encode_json(event)
        self._rest += b"\n"
        if len(self._rest) >= _PART_BYTES:
            self._state.parts.append(self._store.put_bytes(bytes(self._rest), media_type=MEDIA_TYPE))
            self._rest.clear()
        for due in self._due_after(event):
            self._report(due)

    def saved(self) -> tuple[SeriesState, bytes]:
        """What a checkpoint keeps: the state, and the lines that no file has yet."""
        return self._state, bytes(self._rest)

    def end(self) -> ArtifactRef | None:
        """Report the events that are still waiting. -> the whole series as one file; None if the
        timeline has all of it."""
        for split in list(self._state.waiting):
            for due in self._end_stretch(split):
                self._report(due)
        if all(count <= self._most for count in self._state.counts.values()):
            return None
        with tempfile.NamedTemporaryFile(prefix="headrace-series-") as whole:
            for part in self._state.parts:
                whole.write(self._store.path(part).read_bytes())
            whole.write(self._rest)
            whole.flush()
            return self._store.put_file(Path(whole.name), media_type=MEDIA_TYPE)

    def _due_after(self, event: Measured) -> Iterator[Measured]:
        """The events that go to the timeline now. The others wait for the end of their stretch."""
        split, counts = event.split, self._state.counts
        n = counts[split] = counts.get(split, 0) + 1
        place = (n - self._most - 1) % self._stretch
        if n <= self._most or place == 0:
            yield event
        else:
            waiting = self._state.waiting.get(split, [])
            self._state.waiting[split] = _extremes_and_last([*waiting, event])
        if n > self._most and place == self._stretch - 1:
            yield from self._end_stretch(split)

    def _end_stretch(self, split: str) -> list[Measured]:
        return self._state.waiting.pop(split, [])


def _extremes_and_last(events: list[Measured]) -> list[Measured]:
    """The least, the greatest and the last of the events, in their order."""
    kept = (min(events, key=_least), max(events, key=_greatest), events[-1])
    return [event for event in events if any(event is one for one in kept)]


def _value(event: Measured) -> float | None:
    """The value by which events are compared: the loss, else the first value."""
    return event.values.get("loss", next(iter(event.values.values()), None))


def _least(event: Measured) -> float:
    value = _value(event)
    return math.inf if value is None else value


def _greatest(event: Measured) -> float:
    value = _value(event)
    return -math.inf if value is None else value
