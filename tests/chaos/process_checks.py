"""Those invariants of checker.py that are about processes: sizes at rest, children, logs, busy
loops."""

from collections import defaultdict
from collections.abc import Callable, Iterator

from tests.chaos.evidence import Evidence
from tests.chaos.history import Ended, Orphaned, Sampled, Wrote

# A pool of 64 connections fills under load and stays. A process that grows beyond that leaks.
MORE_FDS, MORE_THREADS, MORE_MIB = 80, 24, 96.0
IDLE_CPU = 0.5
WINDOW_S, LINES_PER_FAULT, AFTERMATH_S = 10.0, 10, 15.0

Found = Iterator[tuple[str, str, str, float | None]]
"""(invariant, process, what is wrong, when)"""


def _processes_return_to_their_size(evidence: Evidence) -> Found:
    samples: list[Sampled] = evidence.of(Sampled)
    for role in sorted({sample.role for sample in samples}):
        base = [sample for sample in samples if sample.role == role and sample.base]
        if not base:
            continue
        fds, threads = max(s.fds for s in base), max(s.threads for s in base)
        mib = max(s.rss_mib for s in base)
        for sample in samples:
            if sample.role != role:
                continue
            if sample.fds > fds + MORE_FDS:
                yield "I9", sample.process, f"{sample.process} has {sample.fds} fds at rest; it began with {fds}", None
            if sample.threads > threads + MORE_THREADS:
                what = f"{sample.process} has {sample.threads} threads at rest; it began with {threads}"
                yield "I9", sample.process, what, None
            if sample.rss_mib > mib + MORE_MIB:
                what = f"{sample.process} has {sample.rss_mib:.0f} MiB at rest; it began with {mib:.0f}"
                yield "I9", sample.process, what, None


def _no_child_is_left(evidence: Evidence) -> Found:
    for orphan in evidence.of(Orphaned):
        yield "I11", orphan.command, f"{orphan.command} (pid {orphan.pid}) outlived those that had started it", None


def _logs_stay_quiet(evidence: Evidence) -> Found:
    """In any ten seconds, a process may write the same line ten times, and ten times more for each
    recent fault."""
    written = defaultdict(list)
    for entry in evidence.of(Wrote):
        written[entry.process, entry.line].append(entry)
    for (process, line), entries in written.items():
        entries.sort(key=lambda entry: entry.wall)
        for i, first in enumerate(entries):
            end = first.wall + WINDOW_S
            count = sum(entry.count for entry in entries[i:] if entry.wall < end)
            faults = sum(first.wall - AFTERMATH_S <= fault.wall < end for fault in evidence.faults)
            if count > LINES_PER_FAULT * (1 + faults):
                yield "I12", process, f"{process} wrote `{line}` {count} times in 10 s, after {faults} faults", end
                break


def _nobody_is_busy_at_rest(evidence: Evidence) -> Found:
    for sample in evidence.of(Sampled):
        if sample.cpu > IDLE_CPU:
            yield "I12", sample.process, f"{sample.process} uses {sample.cpu:.0%} of a core at rest", None


def _nobody_ends_unasked(evidence: Evidence) -> Found:
    for end in evidence.of(Ended):
        yield "I12", end.process, f"{end.process} ended unexpectedly with {end.status}", None


PROCESS_CHECKS: tuple[Callable[[Evidence], Found], ...] = (
    _processes_return_to_their_size,
    _no_child_is_left,
    _logs_stay_quiet,
    _nobody_is_busy_at_rest,
    _nobody_ends_unasked,
)
