"""The gateway's log says of a few requests in each second what they were, and counts the others."""

from collections import Counter
from pathlib import Path

import anyio

from tests.support.gateways import DEADLINE_S, Gateway, running_gateway

N_REQUESTS, LINES_PER_S = 60, 5


async def test_requests_that_succeed_become_a_few_lines_and_a_sum_and_errors_a_line_each(
    redis_url: str, tmp_path: Path
) -> None:
    with running_gateway(redis_url, tmp_path, log_lines_per_s=LINES_PER_S) as gateway:
        before = await _served_at_first(gateway)
        async with gateway.client() as http:
            for _ in range(N_REQUESTS):
                assert (await http.get("/healthz")).status_code == 200
                assert (await http.get("/nothing")).status_code == 404
        with anyio.fail_after(DEADLINE_S):
            while _served(gateway)[200] - before < N_REQUESTS:  # noqa: ASYNC110 - a file tells nobody
                await anyio.sleep(0.02)
        lines = gateway.log()

    assert _served(gateway)[200] - before == N_REQUESTS
    assert _served(gateway)[404] == N_REQUESTS
    sums = [line for line in lines if line["event"] == "requests_served"]
    each = [line for line in lines if line["event"] == "request_served" and line["status"] == 200]
    # A second that is summed up has no more lines than it may; the last one may have any number.
    assert 0 < len(each) <= LINES_PER_S * (len(sums) + 1) + 1
    assert all(0 < line["median_ms"] < 1000 * DEADLINE_S for line in sums)


async def test_what_was_not_summed_up_is_when_the_process_ends(redis_url: str, tmp_path: Path) -> None:
    with running_gateway(redis_url, tmp_path, log_lines_per_s=0) as gateway:
        before = _served(gateway)[200]
        async with gateway.client() as http:
            for _ in range(N_REQUESTS):
                assert (await http.get("/healthz")).status_code == 200

    assert _served(gateway)[200] - before >= N_REQUESTS
    assert all(line["event"] != "request_served" for line in gateway.log())


async def _served_at_first(gateway: Gateway) -> int:
    """How many requests were answered 200 before the test: the one that found the gateway started."""
    with anyio.fail_after(DEADLINE_S):
        while not (served := _served(gateway)[200]):  # noqa: ASYNC110 - a file tells nobody
            await anyio.sleep(0.02)
    return served


def _served(gateway: Gateway) -> Counter[int]:
    """How many requests the log tells of, by status. Those that are summed up were answered 200 here."""
    served = Counter[int]()
    for line in gateway.log():
        if line["event"] == "request_served":
            served[line["status"]] += 1
        elif line["event"] == "requests_served":
            served[200] += line["count"]
    return served
