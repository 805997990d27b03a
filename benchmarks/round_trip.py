"""Round trip: one job at a time on an idle system, from its submission until the submitter knows its result."""

from benchmarks.contestants import HEADRACE, RAW, Contestant, peers
from benchmarks.measuring import Figures, alternate, median, percentile, show, spread
from benchmarks.server import bench_redis

N = 1000
WARM_UP = 100


def run(*, repeats: int, scale: float) -> dict[str, object]:
    contestants = [HEADRACE, RAW, *peers()]
    found = alternate(contestants, lambda contestant: _measure(contestant, scale), repeats=repeats)
    ours, rows = found[0], []
    for place, contestant in enumerate(contestants):
        theirs = found[place]
        rows.append(
            [
                contestant.name,
                f"{median(theirs, 'p50_ms'):.3f} ± {spread(theirs, 'p50_ms'):.0%}",
                f"{median(theirs, 'p99_ms'):.3f}",
                f"{median(ours, 'p50_ms') / median(theirs, 'p50_ms'):.2f}",
            ]
        )
    show("Round trip of one job, idle", ["", "p50 ms", "p99 ms", "ratio"], rows)
    return {contestant.name: found[place] for place, contestant in enumerate(contestants)}


def _measure(contestant: Contestant, scale: float) -> Figures:
    n = max(50, round(N * scale * min(1.0, contestant.n_jobs / 8_000)))
    with bench_redis() as bench, contestant.working(bench.url, n + 2 * WARM_UP, bench.folder / "tally"):
        took = contestant.call("round_trips", bench.url, n + WARM_UP)["ms"][WARM_UP:]
    return {"p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99)}
