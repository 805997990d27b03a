"""A history and a dump, grouped by job, and the story of one job as lines of text. Judges nothing."""

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
# A fault belongs to the story of a job up to so many seconds before its first entry and after its last.
AROUND_S = 1.0


class Exchange(NamedTuple):
    """A request of a client and its answer. answer: None if the history ends before it."""

    asked: Invoked
    answer: Answered | None

    @property
    def job(self) -> str:
        """The job that the request made, else the one that it is about."""
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
        """Each accepted submission, with the id of its job."""
        for exchange in self.exchanges:
            answer = exchange.answer
            if exchange.asked.verb in SUBMITTING and answer and answer.outcome == "ok":
                yield answer.job, exchange

    def story(self, job: str) -> list[str]:
        """Everything that is known about the job, in order, with the faults around it. Repeated
        entries are one line."""
        moments: list[tuple[float, str, str]] = []
        exchanges = [e for e in self.exchanges if job in (e.job, e.asked.job)]
        for asked, answer in exchanges:
            moments.append((asked.wall, f"client asks {asked.verb}", f" (op {asked.op})"))
            if answer:
                moments.append((answer.wall, f"client receives {answer.outcome} {answer.state}", f" (op {answer.op})"))
        for entry in self.attempted.get(job, ()):
            moments.append((entry.wall, f"{entry.worker} {entry.what}s attempt {entry.attempt}", f" ({entry.fence})"))
        for event in self.received.get(job, ()):
            moments.append((event.wall, f"{event.follower} receives", f" {event.n} {event.event}"))
        for end in self.followed.get(job, ()):
            moments.append((end.wall, f"{end.follower} receives 204, no more events", ""))
        if job in self.dump.jobs:
            moments += _timeline(self.dump.jobs[job])
        return _lines_of(moments, self._faults_around(moments))

    def story_of_process(self, process: str, *, until: float | None = None) -> list[str]:
        """Everything that is known about a process, with the faults before it."""
        moments: list[tuple[float, str, str]] = []
        for entry in self.entries:
            match entry:
                case Wrote(process=name) if name == process:
                    moments.append((entry.wall, f"{process} writes {entry.line}", f" x{entry.count}"))
                case Sampled(process=name) if name == process:
                    numbers = f" {entry.fds} fds, {entry.threads} threads, {entry.rss_mib:.0f} MiB, cpu {entry.cpu:.2f}"
                    moments.append((entry.wall, f"{process} is measured", numbers))
                case Ended(process=name) if name == process:
                    moments.append((entry.wall, f"{process} ends by itself", f" with {entry.status}"))
        if until is not None:
            moments = [item for item in moments if until - 15 <= item[0] <= until]
        return _lines_of(moments, self._faults_around(moments, before_s=15.0))

    def _faults_around(
        self, moments: list[tuple[float, str, str]], before_s: float = AROUND_S
    ) -> list[tuple[float, str, str]]:
        if not moments:
            return []
        first, last = min(moments)[0] - before_s, max(moments)[0] + AROUND_S
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


def _lines_of(moments: list[tuple[float, str, str]], faults: list[tuple[float, str, str]]) -> list[str]:
    moments = sorted(moments + faults, key=lambda item: item[0])
    lines = []
    for what, group in groupby(moments, key=lambda item: item[1]):
        same = list(group)
        details = same[0][2] if len(same) == 1 else f"{same[0][2]} …{same[-1][2]}, {len(same)} times"
        lines.append(f"{same[0][0] - moments[0][0]:+9.3f} s  {what}{details}")
    return lines
