"""Serving: answers of one model, over HTTP and in process.

All contestants serve the same ONNX file with one model worker, on the CPU. Each is started, asked
in all ways, and stopped, before the next one starts. The model has 64 numbers as its input and one
as its output. ONNX Runtime in process has its rows at hand, and its best batch counts, of those
that are no larger than what a way of asking has in flight. The raw Redis loop runs whatever waits,
at most 32 rows, and promises nothing.

An answer is one row. p50 and p99 are those of a request, without the first one of each connection.
All connections are opened at once, and *first ms* is the p99 of their first requests, which wait
until the server has accepted the connection. *CPU ms* is that of an answer, of all processes of the
contestant: for Headrace the gateway, the worker, `headrace up`, which shows their logs, and Redis.
*vs best peer* and *vs ORT* compare the answers per second with those of the fastest peer and of
ONNX Runtime in process. Where requests come at random times, all servers get the same rate, a share
of what the best peer answers over 64 connections.

Ray Serve is left out. BentoML refuses a request with more than 32 rows, and has no figure where it
answered 503. The peers have neither lists of jobs nor events.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path

import msgspec

from benchmarks.measuring import Column, Figures, Found, Table, alternate, table
from benchmarks.serving.contestants import HEADRACE, IN_PROCESS, PEER_SERVERS, RAW
from benchmarks.serving.models import LARGE, TINY, BenchModel
from benchmarks.serving.running import Contestant, figure
from benchmarks.serving.ways import ALL, AT_RATE, JOBS, LOAD, ROWS, STREAM, WAITS, Way

SECONDS, SHORTEST_S = 4.0, 0.2


class Setup(msgspec.Struct, frozen=True):
    """threads: of one run of the model. is_paced: whether there is also AT_RATE."""

    model: BenchModel
    threads: int
    ways: tuple[Way, ...]
    is_paced: bool = False

    @property
    def title(self) -> str:
        return f"{self.model.title}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def case(self, contestant: Contestant) -> str:
        return f"{self.title}: {contestant.name}"


SETUPS = (
    Setup(LARGE, 1, ALL, is_paced=True),
    Setup(LARGE, 2, (*WAITS[2:], ROWS)),
    Setup(TINY, 1, (WAITS[0], WAITS[2])),
)
# One way of each form.
SHORT = (Setup(TINY, 1, (WAITS[2], STREAM, JOBS, ROWS)),)
CONTESTANTS: tuple[Contestant, ...] = (HEADRACE, *PEER_SERVERS, RAW, IN_PROCESS)
# Says that a case is that of a contestant at a rate.
PACED = ", at a rate"


def run(*, repeats: int, scale: float) -> Found:
    is_short = scale < 1.0
    contestants = tuple(each for each in CONTESTANTS if not (is_short and each.is_peer))
    with tempfile.TemporaryDirectory(prefix="hr-bench-") as name:
        cases: dict[str, Callable[[], Figures]] = {}
        for setup in SHORT if is_short else SETUPS:
            cases |= _cases(setup, contestants, Path(name), max(SHORTEST_S, SECONDS * scale))
        found = alternate(cases, lambda measure: measure(), repeats=repeats)
    return {
        case: [closed | paced for closed, paced in zip_longest(rows, found.get(case + PACED, ()), fillvalue={})]
        for case, rows in found.items()
        if not case.endswith(PACED)
    }


def _cases(
    setup: Setup, contestants: Sequence[Contestant], folder: Path, seconds: float
) -> dict[str, Callable[[], Figures]]:
    model = setup.model.write(folder)
    saturated_per_s: dict[str, float] = {}

    def measure(contestant: Contestant) -> Figures:
        print(f"{setup.case(contestant)} …", file=sys.stderr)
        figures = contestant.measure(model, setup.threads, setup.ways, seconds)
        saturated_per_s[contestant.name] = figures.get(figure(WAITS[2], "per_s"), 0.0)
        return figures

    def measure_at_rate(contestant: Contestant) -> Figures:
        print(f"{setup.case(contestant)}{PACED} …", file=sys.stderr)
        per_s = LOAD * max(saturated_per_s[peer.name] for peer in PEER_SERVERS)
        way = msgspec.structs.replace(AT_RATE, per_s=per_s)
        return contestant.measure(model, setup.threads, [way], seconds)

    cases: dict[str, Callable[[], Figures]] = {
        setup.case(contestant): partial(measure, contestant) for contestant in contestants
    }
    if setup.is_paced:
        # After all others, whose figures of the same round say what the rate is.
        servers = (HEADRACE, *PEER_SERVERS)
        cases |= {setup.case(each) + PACED: partial(measure_at_rate, each) for each in servers}
    return cases


def tables(found: Found) -> list[Table]:
    # A short run asks for the same model in more ways, under the same title.
    titles = dict.fromkeys(setup.title for setup in (*SETUPS, *SHORT))
    made = []
    for title in titles:
        of_title = {
            name.removeprefix(f"{title}: "): rows for name, rows in found.items() if name.startswith(f"{title}: ")
        }
        for way in (*ALL, AT_RATE):
            of_way = {name: rows for name, rows in of_title.items() if _belongs(rows, way)}
            if any(figure(way, "per_s") in row for rows in of_way.values() for row in rows):
                made.append(table(f"{title}; {way.title}", of_way, _columns(way, of_way)))
    return made


def _belongs(rows: Sequence[Figures], way: Way) -> bool:
    """Whether a contestant has a row in the table of a way: one that could not be measured at all
    has a row without figures."""
    return any(figure(way, "per_s") in row for row in rows) or not any(rows)


def _columns(way: Way, found: Found) -> list[Column]:
    per_s = figure(way, "per_s")

    def middle(name: str) -> float:
        return statistics.median(row[per_s] for row in found[name] if per_s in row)

    of_peers = [peer.name for peer in PEER_SERVERS if any(found.get(peer.name, ()))]
    versus = list[Column]()
    if of_peers and not way.per_s:
        versus.append(Column("vs best peer", per_s, kind="ratio", base=max(of_peers, key=middle)))
    if IN_PROCESS.name in found:
        versus.append(Column("vs ORT", per_s, kind="ratio", base=IN_PROCESS.name))
    return [
        Column("answers/s", per_s, kind="spread"),
        *versus,
        Column("p50 ms", figure(way, "p50_ms"), ".2f"),
        Column("p99 ms", figure(way, "p99_ms"), ".2f"),
        Column("first ms", figure(way, "first_ms"), ".0f"),
        Column("CPU ms", figure(way, "cpu_ms"), ".3f"),
        Column("rows a run", figure(way, "rows_a_run"), ".1f"),
    ]
