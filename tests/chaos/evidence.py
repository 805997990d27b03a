"""A history and a dump, laid out by job, and the shortest story of one job. Judges nothing."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

from tests.chaos.history import (
    Answered,
    Attempted,
    Dump,
    Ended,
    Entry,
    Faulted,
    Followed,
    Invoked,
    JobDump,
    Received,
    Sampled,
    Wrote,
    nonces_in,
)

SUBMITTING = frozenset({"submit", "train", "retry", "replay"})
# How long before a job's first entry a fault may still have to do with it, and after its last one.
AROUND_S = 1.0


class Exchange(NamedTuple):
    """What a client sent and what came back; answer: None if the history ends before."""

    asked: Invoked
    answer: Answered | None

    @property
    def job(self) -> str:
        """The job it is about: the one that it made, if it made one."""
        return (self.answer.job if self.answer else "") or self.asked.job


class Evidence:
    def __init__(self, entries: Iterable[Entry], dump: Dump) -> None:
        self.dump = dump
        self.entries = sorted(entries, key=lambda entry: entry.at)
        answers = {entry.op: entry for entry in self.of(Answered)}
        self.exchanges = [Exchange(entry, answers.get(entry.op)) for entry in self.of(Invoked)]
        self.events = {job: [json.loads(data) for _, data in found.events] for job, found in dump.jobs.items()}
        self.nonces = {job: nonces_in(found.fields.get("spec", "")) for job, found in dump.jobs.items()}

    def of(self, kind: type) -> list[Any]:
        return [entry for entry in self.entries if isinstance(entry, kind)]

    @cached_property
    def exchanges_of(self) -> dict[str, list[Exchange]]:
        return _by(self.exchanges, lambda exchange: exchange.job)

    @cached_property
    def attempted(self) -> dict[str, list[Attempted]]:
        return _by(self.of(Attempted), lambda entry: entry.job)

    @cached_property
    def received(self) -> dict[str, list[Received]]:
        return _by(self.of(Received), lambda entry: entry.job)

    @cached_property
    def followed(self) -> dict[str, list[Followed]]:
        return _by(self.of(Followed), lambda entry: entry.job)

    @cached_property
    def faults(self) -> list[Faulted]:
        return self.of(Faulted)

    def accepted(self) -> Iterator[tuple[str, Exchange]]:
        """Each submission that was answered with a job."""
        for exchange in self.exchanges:
            answer = exchange.answer
            if exchange.asked.verb in SUBMITTING and answer and answer.outcome == "ok":
                yield answer.job, exchange

    def story(self, job: str) -> list[str]:
        """All that is known of the job, in order, and the faults around it. Entries that only repeat are folded."""
        told: list[tuple[float, str, str]] = []
        exchanges = [e for e in self.exchanges if job in (e.job, e.asked.job)]
        for asked, answer in exchanges:
            told.append((asked.wall, f"client asks {asked.verb}", f" (op {asked.op})"))
            if answer:
                told.append((answer.wall, f"client hears {answer.outcome} {answer.state}", f" (op {answer.op})"))
        for entry in self.attempted.get(job, ()):
            told.append((entry.wall, f"{entry.worker} {entry.what}s attempt {entry.attempt}", f" ({entry.fence})"))
        for line in self.received.get(job, ()):
            told.append((line.wall, f"{line.follower} receives", f" {line.n} {line.event}"))
        for end in self.followed.get(job, ()):
            told.append((end.wall, f"{end.follower} has been told that this is all", ""))
        if job in self.dump.jobs:
            told += _timeline(self.dump.jobs[job])
        return _tell(told, self._faults_around(told))

    def story_of_process(self, process: str, *, until: float | None = None) -> list[str]:
        """What was seen of a process, and the faults before it."""
        told: list[tuple[float, str, str]] = []
        for entry in self.entries:
            match entry:
                case Wrote(process=name) if name == process:
                    told.append((entry.wall, f"{process} writes {entry.line}", f" x{entry.count}"))
                case Sampled(process=name) if name == process:
                    numbers = f" {entry.fds} fds, {entry.threads} threads, {entry.rss_mib:.0f} MiB, cpu {entry.cpu:.2f}"
                    told.append((entry.wall, f"{process} is measured", numbers))
                case Ended(process=name) if name == process:
                    told.append((entry.wall, f"{process} ends by itself", f" with {entry.status}"))
        if until is not None:
            told = [item for item in told if until - 15 <= item[0] <= until]
        return _tell(told, self._faults_around(told, before_s=15.0))

    def _faults_around(
        self, told: list[tuple[float, str, str]], before_s: float = AROUND_S
    ) -> list[tuple[float, str, str]]:
        if not told:
            return []
        first, last = min(told)[0] - before_s, max(told)[0] + AROUND_S
        return [(f.wall, f"FAULT {f.kind}", f" {f.target}") for f in self.faults if first <= f.wall <= last]


def _by(entries: Iterable[Any], key: Any) -> dict[str, list[Any]]:
    found = defaultdict(list)
    for entry in entries:
        found[key(entry)].append(entry)
    return dict(found)


def _timeline(found: JobDump) -> Iterator[tuple[float, str, str]]:
    for _, data in found.events:
        event = json.loads(data)
        what = event.get("reason") or ""
        yield event["at"] / 1000, f"timeline: {event['event']} {what}".rstrip(), f" ({event['n']})"


def _tell(told: list[tuple[float, str, str]], faults: list[tuple[float, str, str]]) -> list[str]:
    told = sorted(told + faults, key=lambda item: item[0])
    lines = []
    for what, group in groupby(told, key=lambda item: item[1]):
        same = list(group)
        details = same[0][2] if len(same) == 1 else f"{same[0][2]} …{same[-1][2]}, {len(same)} times"
        lines.append(f"{same[0][0] - told[0][0]:+9.3f} s  {what}{details}")
    return lines
