"""Celery with its throughput settings: 8 threads, 100 messages prefetched for each, results kept."""

import json
import sys
import time

from celery import Celery
from tally import Tally

PAYLOAD = "x" * 100


def made(url: str, tally: Tally | None = None) -> tuple[Celery, object]:
    where = url.replace("unix://", "redis+socket://") if url.startswith("unix://") else url
    app = Celery("bench", broker=where, backend=where)
    app.conf.update(
        worker_prefetch_multiplier=100,
        task_serializer="json",
        result_expires=3600,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )

    @app.task(name="noop")
    def noop(payload: str) -> None:
        if tally is not None:
            tally.tick()

    return app, noop


def main() -> None:
    command, url, n, *rest = sys.argv[1:]
    match command:
        case "enqueue":
            app, noop = made(url)
            began, cpu = time.perf_counter(), time.process_time()
            with app.producer_pool.acquire(block=True) as producer:
                for _ in range(int(n)):
                    noop.apply_async((PAYLOAD,), producer=producer)
            print(json.dumps({"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}))
        case "work":
            app, _ = made(url, Tally(rest[0], int(n)))
            quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
            app.worker_main(["worker", "-P", "threads", "-c", "8", "-l", "ERROR", *quiet])
        case "round_trips":
            app, noop = made(url)
            took = []
            for _ in range(int(n)):
                began = time.perf_counter()
                noop.delay(PAYLOAD).get(timeout=10)
                took.append((time.perf_counter() - began) * 1000)
            print(json.dumps({"ms": took}))


if __name__ == "__main__":
    main()
