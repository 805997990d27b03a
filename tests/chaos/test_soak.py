"""A short soak: everything breaks at random for a while, and no promise is broken."""

import pytest

from tests.chaos.conductor import WEIGHTS, plan
from tests.chaos.soak import Options, soak

SEED = "short"


def test_a_seed_always_gives_the_same_faults() -> None:
    assert plan(SEED, 60.0) == plan(SEED, 60.0)
    assert plan(SEED, 60.0) != plan("another", 60.0)
    assert {fault.kind for fault in plan(SEED, 600.0)} == set(WEIGHTS)


@pytest.mark.timeout(600)
@pytest.mark.fault(
    "everything",
    "workers, gateways, Redis and its connections, streams and groups fail at random under load",
    sees="nothing: no accepted job is lost, none ends twice, every reader gets every event",
)
async def test_no_promise_is_broken_while_everything_breaks() -> None:
    summary = await soak(Options(seconds=20.0, seed=SEED, rate=30.0))
    print(summary)
    assert summary.violations == []
    assert summary.counts["jobs"]["accepted"] > 100
    assert len(summary.counts["faults"]) > 4
