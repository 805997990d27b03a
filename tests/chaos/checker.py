"""Checks whether a run under faults kept what Headrace promises.

    python -m tests.chaos.checker HISTORY DUMP

It reads the history of the run and a dump of Redis at rest. For each broken invariant it prints
what is wrong, and the part of the history that shows it. It knows nothing but these two files.
"""

import hashlib
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from shared_schemas.codec import decode_event, decode_spec
from shared_schemas.errors import StateConflict
from shared_schemas.ids import JobId
from shared_schemas.lifecycle import fold, submitted
from shared_schemas.stream.recovery import CRASH_LIMIT
from shared_schemas.stream.stored_jobs import job_of

from tests.chaos.evidence import Evidence
from tests.chaos.history import TERMINAL, Dump, Entry, nonces_in, read
from tests.chaos.process_checks import PROCESS_CHECKS

INVARIANTS = {
    "I1": "every accepted job is kept and comes to an end",
    "I2": "a job ends once and never changes afterwards",
    "I3": "only the newest attempt writes",
    "I4": "at rest nothing is ready, pending, leased or due, and each job is in one listing, that of its state",
    "I5": "events come as 1, 2, 3 … without a gap or a repetition, done last",
    "I6": "failed attempts and lost workers stay within their limits",
    "I7": "an Idempotency-Key makes one job, and a job is retried once",
    "I8": "no answer, event or attempt carries what belongs to another job",
    "I9": "processes at rest are as large as they were",
    "I10": "a referenced artifact exists and is what its name says",
    "I11": "no child outlives its worker",
    "I12": "a fault costs a few lines of log, no busy loop and no other process",
}
_PART = re.compile(r"attempt=(\d+)")
_SHA256 = re.compile(r'"sha256":"([0-9a-f]{64})"')
_OPEN_SETS = ("leases", "due", "waiting", "deadlines")


class Violation(msgspec.Struct, frozen=True):
    """invariant: a key of INVARIANTS. job: empty if the violation is not about a single job. story:
    the lines of Evidence.story."""

    invariant: str
    what: str
    job: str
    story: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.invariant} broken: {INVARIANTS[self.invariant]}", f"  {self.job or '-'}: {self.what}"]
        return "\n".join(lines + [f"    {line}" for line in self.story])


Found = Iterator[tuple[str, str, str]]
"""(invariant, job, what is wrong)"""


def check(entries: Iterable[Entry], dump: Dump) -> list[Violation]:
    evidence = Evidence(entries, dump)
    violations = []
    for look in _CHECKS:
        # A damaged job breaks the same rule in many places, and one of them is enough to report.
        seen = set[tuple[str, str]]()
        for invariant, job, what in look(evidence):
            if (invariant, job) not in seen or not job:
                violations.append(Violation(invariant, what, job, tuple(evidence.story(job)) if job else ()))
            seen.add((invariant, job))
    for invariant, process, what, until in (found for look in PROCESS_CHECKS for found in look(evidence)):
        violations.append(Violation(invariant, what, "", tuple(evidence.story_of_process(process, until=until))))
    return violations


def sha_of(data: str) -> str:
    """A digest of an event, to compare stored events with received ones."""
    return hashlib.sha256(data.encode()).hexdigest()[:16]


def _accepted_jobs_are_kept(evidence: Evidence) -> Found:
    for job, exchange in evidence.accepted():
        if job not in evidence.dump.jobs:
            yield "I1", job, f"{exchange.asked.verb} (op {exchange.asked.op}) was accepted, and the job is lost"
    for job, found in evidence.dump.jobs.items():
        if found.fields["state"] not in TERMINAL:
            yield "I1", job, f"it is still {found.fields['state']} at rest"


def _jobs_end_once(evidence: Evidence) -> Found:
    for job, found in evidence.dump.jobs.items():
        events, state = evidence.events[job], found.fields["state"]
        ends = [event for event in events if event["event"] == "done"]
        if len(ends) > 1:
            yield "I2", job, f"its timeline has {len(ends)} ends"
        if ends and events[-1]["event"] != "done":
            yield "I2", job, "something was written after its end"
        if state in TERMINAL and (not ends or ends[-1]["state"] != state):
            yield "I2", job, f"its hash says {state}, its timeline does not"
        for what in _seen_otherwise(evidence, job, state):
            yield "I2", job, what


def _seen_otherwise(evidence: Evidence, job: str, state: str) -> Iterator[str]:
    ended, ended_at = "", math.inf
    for asked, answer in evidence.exchanges_of.get(job, ()):
        if answer is None or not answer.state:
            continue
        if answer.state in TERMINAL and answer.state != state:
            yield f"a client received the state {answer.state} (op {answer.op}), and it is {state} at rest"
        if answer.state in TERMINAL and answer.at < ended_at:
            ended, ended_at = answer.state, answer.at
        # Answers may overtake each other, so the time of the request decides.
        if answer.state not in TERMINAL and asked.at > ended_at:
            yield f"a client received the state {ended}, and later {answer.state} (op {answer.op})"
    stored = {event["n"]: event for event in evidence.events[job]}
    for entry in evidence.received.get(job, ()):
        if entry.event == "done" and stored.get(entry.n, {}).get("event") != "done":
            yield f"{entry.follower} received its end as event {entry.n}, which is something else now"


def _hash_and_timeline_agree(evidence: Evidence) -> Found:
    for job_id, found in evidence.dump.jobs.items():
        events = [decode_event(data) for _, data in found.events]
        if [event.n for event in events] != list(range(1, len(events) + 1)):
            continue  # I5 reports that
        fields = {name: value.encode() for name, value in found.fields.items()}
        origin = {name: JobId(found.fields[name]) for name in ("replay_of", "retry_of") if name in found.fields}
        try:
            folded = fold(submitted(JobId(job_id), decode_spec(fields["spec"]), **origin), events)
        except StateConflict as error:
            yield "I2", job_id, f"its timeline has a move that the table of states forbids: {error}"
            continue
        try:
            kept = job_of(JobId(job_id), fields)
        except (ValueError, KeyError) as error:
            yield "I2", job_id, f"its hash cannot be read: {error}"
            continue
        if folded != kept:
            names = [name for name in folded.__struct_fields__ if getattr(folded, name) != getattr(kept, name)]
            yield "I2", job_id, f"its hash and its timeline differ in {', '.join(names)}"


def _only_the_newest_attempt_writes(evidence: Evidence) -> Found:
    for job, found in evidence.dump.jobs.items():
        attempt = 0
        for event in evidence.events[job]:
            expected = attempt + (event.get("reason") == "claimed")
            if event["attempt"] != expected:
                yield "I3", job, f"event {event['n']} is stamped attempt {event['attempt']} and not {expected}"
            attempt = max(attempt, event["attempt"])
            part = _PART.search(event.get("chunk", ""))
            if part and int(part[1]) != event["attempt"]:
                yield "I3", job, f"attempt {part[1]} wrote event {event['n']} when attempt {event['attempt']} was on"
        result = json.loads(found.fields.get("result", "null"))
        if isinstance(result, dict) and "fence" in result and result["fence"] != found.fields.get("settled"):
            yield "I3", job, f"its result is of {result['fence']}, but {found.fields.get('settled')} settled it"
        if isinstance(result, dict) and result.get("attempt", attempt) != attempt:
            yield "I3", job, f"its result is of attempt {result['attempt']}, its newest is {attempt}"
        fences: dict[int, str] = {}
        for entry in evidence.attempted.get(job, ()):
            if fences.setdefault(entry.attempt, entry.fence) != entry.fence:
                yield "I3", job, f"attempt {entry.attempt} was begun twice"
            if entry.attempt > attempt:
                yield "I3", job, f"attempt {entry.attempt} ran, and nothing is known of it"


def _nothing_is_left(evidence: Evidence) -> Found:
    dump = evidence.dump
    for lane, (length, pending) in dump.streams.items():
        if length or pending:
            yield "I4", "", f"the lane {lane} holds {length} entries, {pending} of them pending"
    for name in _OPEN_SETS:
        for job in dump.sets.get(name, ()):
            yield "I4", job, f"it is still among the {name}"
    listed = defaultdict(list)
    for listing, jobs in dump.listings.items():
        for job in jobs:
            listed[job].append(listing)
            if listing.partition(":")[0] not in TERMINAL and job not in dump.jobs:
                yield "I4", job, f"{listing} holds it, and there is no such job"
    for job, found in dump.jobs.items():
        home = f"{found.fields['state']}:{found.fields['lane']}"
        if listed[job] != [home]:
            yield "I4", job, f"it belongs into {home} and is in {' and '.join(listed[job]) or 'no listing'}"


def _events_come_in_order(evidence: Evidence) -> Found:
    for job, found in evidence.dump.jobs.items():
        numbers = [(entry, event["n"]) for (entry, _), event in zip(found.events, evidence.events[job], strict=True)]
        if numbers != [(f"{n}-0", n) for n in range(1, len(numbers) + 1)] or len(numbers) != int(found.fields["n"]):
            yield "I5", job, f"its timeline is numbered {[n for _, n in numbers]} up to {found.fields['n']}"
    for job, entries in evidence.received.items():
        stored = evidence.dump.jobs.get(job)
        shas = {} if stored is None else {n: sha_of(data) for n, (_, data) in enumerate(stored.events, 1)}
        for follower in sorted({entry.follower for entry in entries}):
            for what in _breaks_of_a_stream([entry for entry in entries if entry.follower == follower], shas):
                yield "I5", job, f"{follower} {what}"
    for job, ends in evidence.followed.items():
        for end in ends:
            mine = [entry for entry in evidence.received.get(job, ()) if entry.follower == end.follower]
            if not mine or mine[-1].event != "done":
                yield "I5", job, f"{end.follower} got 204, which means no more events, without an end"


def _breaks_of_a_stream(entries: list[Any], shas: dict[int, str]) -> Iterator[str]:
    last, ended = 0, False
    for entry in entries:
        if ended:
            yield f"received {entry.event} after the end"
        if entry.event == "gap":
            if entry.n <= last or 1 in shas:
                yield f"received a gap up to {entry.n}, and nothing was dropped"
            last = entry.n - 1
            continue
        if entry.n > last + 1:
            yield f"received {entry.n} after {last}: a gap"
        elif entry.n <= last:
            yield f"received {entry.n} after {last}: a repetition"
        if shas and entry.sha and shas.get(entry.n) != entry.sha:
            yield f"received another event {entry.n} than the timeline has"
        last, ended = entry.n, entry.event == "done"


def _limits_hold(evidence: Evidence) -> Found:
    for job, found in evidence.dump.jobs.items():
        reasons = Counter(event.get("reason") for event in evidence.events[job])
        limit = decode_spec(found.fields["spec"].encode()).retry.max_attempts
        if reasons["retry"] >= limit:
            yield "I6", job, f"it was tried again after {reasons['retry']} failures; the limit is {limit} attempts"
        # If another job may have caused the crashes, the job gets one more attempt, alone.
        if reasons["worker_lost"] > CRASH_LIMIT + 1:
            yield "I6", job, f"it lost {reasons['worker_lost']} workers; the limit is {CRASH_LIMIT}, and one more alone"
        ended = reasons["retry"] + reasons["worker_lost"] + reasons["released"]
        if reasons["claimed"] > ended + 1:
            yield "I6", job, f"{reasons['claimed']} attempts were begun, and only {ended} ended before the last"


def _one_job_for_one_key(evidence: Evidence) -> Found:
    answers, roots, retries = (defaultdict[str, set[str]](set) for _ in range(3))
    for job, exchange in evidence.accepted():
        if exchange.asked.key:
            answers[exchange.asked.key].add(job)
    for job, found in evidence.dump.jobs.items():
        if "retry_of" in found.fields:
            retries[found.fields["retry_of"]].add(job)
        elif "replay_of" not in found.fields:
            for nonce in evidence.nonces[job]:
                roots[nonce].add(job)
    for key, jobs in answers.items():
        if len(jobs) > 1:
            yield "I7", min(jobs), f"the key {key} was answered with {len(jobs)} jobs: {sorted(jobs)}"
    for nonce, jobs in roots.items():
        if len(jobs) > 1:
            yield "I7", min(jobs), f"one submission, {nonce}, made {len(jobs)} jobs: {sorted(jobs)}"
    for parent, jobs in retries.items():
        if len(jobs) > 1:
            yield "I7", parent, f"it was retried as {len(jobs)} jobs: {sorted(jobs)}"


def _nothing_is_mixed_up(evidence: Evidence) -> Found:
    asked = {exchange.asked.nonce for exchange in evidence.exchanges}
    for exchange in evidence.exchanges:
        answer = exchange.answer
        if answer is None:
            continue
        foreign = set(answer.nonces) - {exchange.asked.nonce}
        if answer.job in evidence.nonces:
            foreign |= set(evidence.nonces[answer.job]) - {exchange.asked.nonce}
        if foreign:
            yield "I8", exchange.job, f"the answer to op {answer.op} carries {sorted(foreign)}"
    for job, found in evidence.dump.jobs.items():
        own = set(evidence.nonces[job])
        if not own <= asked:
            yield "I8", job, "nobody asked for it"
        texts = [found.fields.get("result", ""), found.fields.get("error", ""), *(data for _, data in found.events)]
        entries = [*evidence.received.get(job, ())]
        carried = {nonce for text in texts for nonce in nonces_in(text)} | {n for e in entries for n in e.nonces}
        carried |= {entry.nonce for entry in evidence.attempted.get(job, ()) if entry.nonce}
        if carried - own:
            yield "I8", job, f"it carries {sorted(carried - own)}, which is another's"


def _artifacts_are_whole(evidence: Evidence) -> Found:
    """Only the newest checkpoint of a job must exist, because workers remove older ones."""
    for job, found in evidence.dump.jobs.items():
        events = evidence.events[job]
        checkpoints = [event["artifact"]["sha256"] for event in events if "artifact" in event and "step" in event]
        may_be_gone = set(checkpoints) - set(checkpoints[-1:])
        for sha in {sha for _, data in found.events for sha in _SHA256.findall(data)}:
            kept = evidence.dump.artifacts.get(sha, "")
            if kept != sha and (kept or sha not in may_be_gone):
                yield "I10", job, f"the artifact {sha[:12]}… is {'damaged' if kept else 'missing'}"


_CHECKS: tuple[Callable[[Evidence], Found], ...] = (
    _accepted_jobs_are_kept,
    _jobs_end_once,
    _hash_and_timeline_agree,
    _only_the_newest_attempt_writes,
    _nothing_is_left,
    _events_come_in_order,
    _limits_hold,
    _one_job_for_one_key,
    _nothing_is_mixed_up,
    _artifacts_are_whole,
)


def main() -> int:
    history, dump = (Path(argument) for argument in sys.argv[1:])
    violations = check(read(history), msgspec.json.decode(dump.read_bytes(), type=Dump))
    for violation in violations:
        print(violation, end="\n\n")
    print(f"{len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
