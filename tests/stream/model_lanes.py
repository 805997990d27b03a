"""Ready streams and their consumer group as Redis keeps them, for the model: what was delivered, what is pending.

It knows no job beyond its id, and no Redis: an entry's real id is learned by whoever compares the two.
"""

from itertools import count

from shared_schemas.ids import JobId
from shared_schemas.stream.change_log import parse_stream_id
from shared_schemas.stream.keys import LANES, Lane

SHARED = tuple(lane for lane in LANES if lane is not Lane.ALONE)
_numbers = count(1)


class Entry:
    """n: its place in time. id: what Redis calls it, once that was seen."""

    def __init__(self, lane: Lane, job_id: JobId) -> None:
        self.lane, self.job_id, self.n = lane, job_id, next(_numbers)
        self.id: str | None = None

    @property
    def place(self) -> tuple[int, int]:
        assert self.id is not None
        return parse_stream_id(self.id)


class ReadyLane:
    """last: number of the newest entry that was delivered. pending: who was handed what and has not acknowledged it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.has_group = True
        self.last = 0
        self.pending: dict[Entry, str] = {}

    @property
    def undelivered(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.n > self.last]

    def create_group(self, *, at_end: bool = False) -> None:
        self.has_group, self.pending = True, {}
        self.last = max((entry.n for entry in self.entries), default=0) if at_end else 0

    def destroy_group(self) -> None:
        self.has_group, self.pending, self.last = False, {}, 0

    def read(self, consumer: str, limit: int) -> list[Entry]:
        entries = self.undelivered[:limit]
        for entry in entries:
            self.pending[entry] = consumer
            self.last = entry.n
        return entries

    def behind(self, consumer: str, entry_id: str) -> list[Entry]:
        """What is pending for the consumer with a later id, deleted or not."""
        held = [entry for entry, holder in self.pending.items() if holder == consumer]
        return sorted(
            (entry for entry in held if entry.place > parse_stream_id(entry_id)), key=lambda entry: entry.place
        )

    def alive(self) -> dict[Entry, str]:
        """What is pending and still in the stream: of the rest no answer depends on."""
        return {entry: self.pending[entry] for entry in self.entries if entry in self.pending}


class Lanes:
    def __init__(self) -> None:
        self.by_name = {lane: ReadyLane() for lane in LANES}

    def __getitem__(self, lane: Lane) -> ReadyLane:
        return self.by_name[lane]

    def add(self, lane: Lane, job_id: JobId) -> Entry:
        entry = Entry(lane, job_id)
        self[lane].entries.append(entry)
        return entry

    def retire(self, entry: Entry | None) -> None:
        if entry is not None:
            self[entry.lane].pending.pop(entry, None)
            if entry in self[entry.lane].entries:
                self[entry.lane].entries.remove(entry)

    def find(self, lane: str, entry_id: str) -> Entry | None:
        known = [*self[Lane(lane)].entries, *self[Lane(lane)].pending]
        return next((entry for entry in known if entry.id == entry_id), None)

    def have_groups(self, names: tuple[Lane, ...] = LANES) -> bool:
        return all(self[name].has_group for name in names)

    def any_undelivered(self, names: tuple[Lane, ...]) -> bool:
        return any(self[name].undelivered for name in names)

    def open(self) -> None:
        for lane in self.by_name.values():
            if not lane.has_group:
                lane.create_group()

    def wait(self, consumer: str, names: tuple[Lane, ...]) -> list[Entry]:
        """One entry of each lane, or none and new groups where a group is missing."""
        if not self.have_groups(names):
            self.open()
            return []
        return [entry for name in names for entry in self[name].read(consumer, 1)]

    def recover(self, consumer: str) -> list[Entry]:
        if not self.have_groups():
            return []
        return [entry for lane in self.by_name.values() for entry, holder in lane.alive().items() if holder == consumer]

    def is_live(self, entry: Entry) -> bool:
        """Whether anybody will ever be handed the entry, or was."""
        lane = self[entry.lane]
        if entry not in lane.entries:
            return False
        return not lane.has_group or entry.n > lane.last or entry in lane.pending
