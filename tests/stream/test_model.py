"""In any sequence of calls and faults, the scripts answer as the model does, and leave the same in Redis."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis.core
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test
from shared_schemas.errors import JobNotFound
from shared_schemas.ids import JobId
from shared_schemas.stream import linking

from tests.stream.model_machine import ScriptMachine
from tests.support.queue_bench import queue_bench
from tests.support.redis_server import RedisServer, running_redis
from tests.support.shims import Shim, can_compile

# Hypothesis looks for the shortest story that fails for up to five minutes.
SHRINKING_S = 400
# Each run uses the same stories, so that a failure is caused by the change. The long run makes new ones.
KNOWN_STORIES = 950967279


@pytest.fixture
def clocked() -> Iterator[tuple[RedisServer, Shim | None]]:
    """A server whose clock can be stepped, where there is a compiler for that."""
    with tempfile.TemporaryDirectory(prefix="hr-") as folder:
        shim = Shim(Path(folder)) if can_compile() else None
        environment = shim.environment if shim else {}
        with running_redis(Path(folder), options=("--appendonly", "no"), environment=environment) as server:
            yield server, shim


def tell_stories(
    server: RedisServer, shim: Shim | None, *, examples: int, steps: int, known: int | None = None
) -> None:
    """Hypothesis prints the shortest story that fails. The same --hypothesis-seed gives the same stories."""
    number = hypothesis.core.global_force_seed
    number = (random.randrange(2**32) if known is None else known) if number is None else number
    print(f"repeat with --hypothesis-seed={number}")
    machine = seeded(number)(type("Stories", (ScriptMachine,), {"server": server, "shim": shim}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def never_called(server: RedisServer) -> set[str]:
    """Scripts that this Redis has not been given since it started."""
    scripts = linking.names()
    digests = [linking.load(name).sha for name in scripts]
    client = redis.Redis.from_url(server.url, protocol=2)
    known = client.script_exists(*digests)
    client.close()
    return {name for name, is_known in zip(scripts, known, strict=True) if not is_known}


@pytest.mark.timeout(SHRINKING_S)
@pytest.mark.quick
@pytest.mark.fault("workers", "two workers reclaim the same jobs at once", sees="each job is reclaimed once")
@pytest.mark.fault(
    "requests",
    "cancel, pause and resume, in any state, between any two steps",
    sees="only allowed states; a final state never changes",
)
@pytest.mark.fault(
    "requests",
    "a start deadline, a run_at or a result_ttl passes in any state",
    sees="no attempt starts after the deadline",
)
def test_every_script_answers_and_leaves_what_the_model_says(clocked: tuple[RedisServer, Shim | None]) -> None:
    tell_stories(*clocked, examples=35, steps=40, known=KNOWN_STORIES)


@pytest.mark.timeout(1200)
@pytest.mark.fault(
    "everything",
    "long sequences of retries, stale claims, lost streams and clock steps",
    sees="every reply is the one of the model; every job can end",
)
def test_long_stories_go_as_the_model_says(clocked: tuple[RedisServer, Shim | None]) -> None:
    tell_stories(*clocked, examples=200, steps=100)

    assert never_called(clocked[0]) == set()


async def test_an_unknown_job_is_not_found(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        for verb in (side.jobs.find, side.control.cancel, side.control.pause, side.control.resume):
            with pytest.raises(JobNotFound):
                await verb(JobId("inference-00000000000000000000000000"))
