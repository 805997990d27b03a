"""A contestant that has been started, and what is measured of it. Knows no single contestant."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import anyio
import msgspec
import psutil

from benchmarks.http_load import Posted, post_at_rate, post_for
from benchmarks.measuring import Figures, PeerFailed, percentile
from benchmarks.server import Bench
from benchmarks.serving.processes import cpu_s
from benchmarks.serving.ways import Way

UVLOOP = {"use_uvloop": True}


class Running(ABC):
    """A contestant that has been started. ask: LookupError for a way that it does not have."""

    @abstractmethod
    def ask(self, way: Way, seconds: float) -> Posted: ...

    @abstractmethod
    def cpu_s(self) -> Mapping[str, float]:
        """So far, of each of its parts."""

    @abstractmethod
    def counts(self) -> tuple[float, float]:
        """-> how many runs of the model so far, and how many rows they had"""

    def measure(self, way: Way, seconds: float) -> Figures:
        """A request with several rows counts as so many answers, and its latency is that of the
        whole request. The first request of each connection has a latency of its own, because all
        connections are opened at once."""
        self.ask(way, seconds / 5)
        cpu_s, calls, (n_runs, n_rows) = self.cpu_s(), self.redis_calls(), self.counts()
        asked = self.ask(way, seconds)
        runs, rows = (now - before for now, before in zip(self.counts(), (n_runs, n_rows), strict=True))
        n = (len(asked.each_s) + len(asked.first_s)) * way.rows
        each_s = asked.each_s or asked.first_s
        parts_ms = {part: (now - cpu_s[part]) * 1000 / n for part, now in self.cpu_s().items() if part in cpu_s}
        return {
            "per_s": n / asked.s,
            "p50_ms": percentile(each_s, 0.5) * 1000,
            "p99_ms": percentile(each_s, 0.99) * 1000,
            **({"first_ms": percentile(asked.first_s, 0.99) * 1000} if asked.first_s else {}),
            "cpu_ms": sum(parts_ms.values()),
            **{f"cpu_{part}_ms": ms for part, ms in parts_ms.items()},
            "rows_a_run": rows / max(1.0, runs),
            "redis_calls": (self.redis_calls() - calls) / n,
        }

    def redis_calls(self) -> int:
        """Commands that Redis has run so far, those in scripts included."""
        return 0


class Served(Running):
    """Over HTTP. redis: the Redis that only this contestant uses, if it has one."""

    def __init__(
        self,
        port: int,
        process: psutil.Process,
        request_for: Callable[[Way], bytes],
        is_right: Callable[[Way, bytes], bool],
        counts: Callable[[], tuple[float, float]],
        redis: Bench | None = None,
    ) -> None:
        self.port, self._process, self._counts, self._redis = port, process, counts, redis
        self._request_for, self._is_right = request_for, is_right

    def ask(self, way: Way, seconds: float) -> Posted:
        request = self._request_for(way)

        def is_right(body: bytes) -> bool:
            return self._is_right(way, body)

        async def load() -> Posted:
            if way.per_s:
                return await post_at_rate(
                    self.port,
                    request,
                    per_s=way.per_s,
                    seconds=seconds,
                    connections=way.connections,
                    is_right=is_right,
                )
            return await post_for(
                self.port,
                request,
                seconds=seconds,
                connections=way.connections,
                is_right=is_right,
            )

        return anyio.run(load, backend_options=UVLOOP)

    def cpu_s(self) -> Mapping[str, float]:
        return cpu_s(self._process) | ({} if self._redis is None else {"redis": self._redis.used_cpu_s()})

    def counts(self) -> tuple[float, float]:
        return self._counts()

    def redis_calls(self) -> int:
        return 0 if self._redis is None else redis_calls(self._redis)


class Contestant(msgspec.Struct, frozen=True):
    """name: as in the tables. is_peer: whether it is the software of others, so that the others are
    measured without it where it fails."""

    name: str
    is_peer: bool = False

    def measure(self, model: Path, threads: int, ways: Sequence[Way], seconds: float) -> Figures:
        """The figures of each way, named by `figure`. threads: of one run of the model."""
        figures: dict[str, float] = {}
        with self.running(model, threads) as running:
            for way in ways:
                try:
                    measured = running.measure(way, seconds)
                except LookupError:
                    continue
                except Exception as error:
                    if not self.is_peer:
                        raise
                    print(f"{self.name}, {way.title}: {error}", file=sys.stderr)
                    continue
                figures |= {figure(way, name): value for name, value in measured.items()}
        return figures

    def running(self, model: Path, threads: int) -> AbstractContextManager[Running]:
        raise NotImplementedError

    def failed(self, why: str) -> Exception:
        return PeerFailed(why) if self.is_peer else RuntimeError(f"{self.name}: {why}")


def figure(way: Way, name: str) -> str:
    return f"{way.key}_{name}"


def redis_calls(bench: Bench) -> int:
    stats: dict[str, dict[str, int]] = bench.client.info("commandstats")
    return sum(of_one["calls"] for of_one in stats.values())
