"""A reply that is lost with its line, for each script and for the blocking read: what was done is done once.

Redis has executed the command, and the caller cannot know. It asks again; nothing may happen twice.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shared_schemas.errors import JobExpired
from shared_schemas.events import Emitted, JobEvent, Reason, StateChanged
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.outcome import Success
from shared_schemas.specs import TrainingSpec
from shared_schemas.stream import keys
from shared_schemas.stream.claims import Claims
from shared_schemas.stream.connection import RedisSettings, connect
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.ledger import Ledger, Submission
from shared_schemas.stream.registry import ModelRegistry
from worker_runtime import Attempt

from tests.support.fault_proxy import fault_proxy
from tests.support.gateways import TRAINING, TRAINING_BODY, a_manifest, driver, running_gateway
from tests.support.network import Sighting
from tests.support.resp import script_names
from tests.support.rest import left_over
from tests.support.workers import INFERENCE, Bench, ScriptedHandler, a_submission, bench, running_worker, success

PARTS = [f"{n} " for n in range(10)]
OF_WORKERS = [("XREADGROUP", 1), ("claim", 1), ("claim", 3), ("record", 1), ("record", 6), ("renew", 1), ("renew", 3)]
OF_ENDS = [("settle", 1), ("settle", 6)]
OF_HOUSEKEEPING = ("promote_due", "meet_dependencies", "reclaim", "redeliver", "repair", "sweep")
OF_REGISTRY = ("stage", "publish", "set_alias")
OF_LEDGER = ("submit", "request_cancel", "request_pause", "resume", "list")


def count(events: list[JobEvent], reason: Reason) -> int:
    return sum(isinstance(event, StateChanged) and event.reason is reason for event in events)


def test_no_script_is_left_out() -> None:
    named = {name for name, _ in (*OF_WORKERS, *OF_ENDS)} - {"XREADGROUP"}

    assert named.union(OF_HOUSEKEEPING, OF_REGISTRY, OF_LEDGER) == set(script_names().values())


@pytest.mark.quick
@pytest.mark.fault(6, "the reply to a worker's call is lost with its line", sees="nothing: one attempt, one result")
@pytest.mark.parametrize(("command", "times"), [*OF_WORKERS, *OF_ENDS])
async def test_a_worker_that_never_saw_the_reply_charges_and_writes_nothing_twice(
    redis_url: str, command: str, times: int
) -> None:
    submission = a_submission()
    dropped: Sighting

    async def tell(attempt: Attempt) -> Success:
        for part in PARTS:
            await attempt.record(Emitted(chunk=part))
            await attempt.flush()
        if command == "renew":
            await dropped.happened(times)
        return success(attempt.number)

    handler = ScriptedHandler(tell)
    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            dropped = proxy.drop_reply(command, containing=submission.job_id, times=times)
            waiting = proxy.watch("XREADGROUP", containing="BLOCK")
            async with running_worker(proxy.url, handler, lease_s=3.0):
                await waiting.happened()
                await side.ledger.submit(submission)
                await dropped.happened(times)
                job = await side.done(submission.job_id)

        assert await left_over(side.client, INFERENCE) == {}
        events = await side.events(job.id)

    assert (job.state, bytes(job.result)) == (JobState.SUCCEEDED, b"1")
    assert (job.attempt, job.failures, job.crashes, len(handler.attempts)) == (1, 0, 0, 1)
    assert [event.chunk for event in events if isinstance(event, Emitted)] == PARTS
    assert count(events, Reason.CLAIMED) == 1


async def scheduled(side: Bench) -> JobId:
    return await side.submit(run_at=datetime.now(UTC) + timedelta(seconds=0.3))


async def dependent(side: Bench) -> JobId:
    return await side.submit(depends_on=(await side.submit(),))


async def abandoned(side: Bench) -> JobId:
    """Begun by a worker that is no more."""
    job_id = await side.submit()
    [claim] = await (await ghost(side)).claim(1, token="0" * 16)
    assert claim.job_id == job_id
    return job_id


async def handed_out(side: Bench) -> JobId:
    """Delivered to a worker that is no more, and never begun."""
    job_id = await side.submit()
    [(_, _, delivered)] = await (await ghost(side)).wait(timeout_s=1.0)
    assert delivered == job_id
    return job_id


async def trimmed(side: Bench) -> JobId:
    """Queued, and its entry is gone."""
    job_id = await side.submit()
    await side.client.xtrim(keys.ready(INFERENCE, Lane.NORMAL), maxlen=0)
    return job_id


async def ghost(side: Bench) -> Claims:
    claims = Claims(side.client, side.client, INFERENCE, worker="ghost", lease_s=0.5)
    await claims.open()
    return claims


# What is to be done, the mark of the reply that says that it was done, and the attempts and crashes then.
CHORES: dict[str, tuple[Callable[[Bench], Awaitable[JobId]], str, tuple[int, int]]] = {
    "promote_due": (scheduled, "*4\r\n:1\r\n", (1, 0)),
    "meet_dependencies": (dependent, ":1\r\n", (1, 0)),
    "reclaim": (abandoned, "requeued", (2, 1)),
    "redeliver": (handed_out, ":1\r\n", (1, 0)),
    "repair": (trimmed, "*2\r\n:1\r\n", (1, 0)),
}


@pytest.mark.quick
@pytest.mark.fault(6, "the reply to a call of the housekeeping is lost with its line", sees="nothing: it is done once")
@pytest.mark.parametrize("command", CHORES)
async def test_what_the_housekeeping_did_unseen_it_does_once(redis_url: str, command: str) -> None:
    prepare, mark, charged = CHORES[command]

    async def answer(attempt: Attempt) -> Success:
        return success(attempt.number)

    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            dropped = proxy.drop_reply(command, containing=mark)
            job_id = await prepare(side)
            async with running_worker(proxy.url, ScriptedHandler(answer), lease_s=1.0):
                await dropped.happened()
                job = await side.done(job_id)

        assert await left_over(side.client, INFERENCE) == {}

    assert job.state is JobState.SUCCEEDED
    assert (job.attempt, job.crashes) == charged
    assert job.failures == 0


@pytest.mark.quick
@pytest.mark.fault(6, "the reply to the sweep is lost with its line", sees="nothing: the expired job is a 410")
async def test_an_expired_job_is_dropped_once_when_the_reply_is_lost(redis_url: str) -> None:
    async def answer(attempt: Attempt) -> Success:
        return success(attempt.number)

    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            dropped = proxy.drop_reply("sweep", containing=":1\r\n")
            async with running_worker(proxy.url, ScriptedHandler(answer)):
                expired = await side.submit(result_ttl_s=1.0)
                kept = await side.submit()
                await dropped.happened()
                await side.done(await side.submit())

        with pytest.raises(JobExpired):
            await side.ledger.find(expired)
        assert (await side.folded(kept)).state is JobState.SUCCEEDED
        assert await left_over(side.client, INFERENCE) == {}


async def paused_job(side: Bench) -> JobId:
    job_id = await side.submit()
    await side.ledger.pause(job_id)
    return job_id


async def job_asked_to_pause(side: Bench) -> JobId:
    job_id = await abandoned(side)
    await side.ledger.pause(job_id)
    return job_id


Verb = Callable[[Ledger, JobId], Awaitable[JobState]]


@pytest.mark.quick
@pytest.mark.fault(6, "the reply to a request of a user is lost with its line", sees="the answer to the repeated call")
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("command", "prepare", "ask", "answer", "reason"),
    [
        ("request_cancel", Bench.submit, Ledger.cancel, JobState.CANCELLED, None),
        ("request_cancel", paused_job, Ledger.cancel, JobState.CANCELLED, None),
        ("request_cancel", abandoned, Ledger.cancel, JobState.RUNNING, Reason.CANCEL_REQUESTED),
        ("request_pause", Bench.submit, Ledger.pause, JobState.PAUSED, Reason.PAUSED),
        ("request_pause", abandoned, Ledger.pause, JobState.RUNNING, Reason.PAUSE_REQUESTED),
        ("resume", paused_job, Ledger.resume, JobState.QUEUED, Reason.RESUMED),
        ("resume", job_asked_to_pause, Ledger.resume, JobState.RUNNING, Reason.PAUSE_WITHDRAWN),
    ],
)
async def test_a_request_whose_reply_was_lost_is_granted_once(
    redis_url: str,
    command: str,
    prepare: Callable[[Bench], Awaitable[JobId]],
    ask: Verb,
    answer: JobState,
    reason: Reason | None,
    times: int,
) -> None:
    async with bench(redis_url) as side:
        job_id = await prepare(side)
        before = await side.events(job_id)
        with fault_proxy(redis_url) as proxy:
            dropped = proxy.drop_reply(command, times=times)
            async with bench(proxy.url) as far:
                assert await ask(far.ledger, job_id) is answer

        job, events = await side.folded(job_id), await side.events(job_id)

    assert dropped.count == times
    assert job.state is answer
    assert len(events) == len(before) + 1
    assert reason is None or count(events, reason) == 1


@pytest.mark.quick
@pytest.mark.fault(6, "the reply to submit or list is lost with its line", sees="one job; the page")
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_submission_whose_reply_was_lost_is_one_job(redis_url: str, key: str | None) -> None:
    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            submits, lists = proxy.drop_reply("submit", times=3), proxy.drop_reply("list", times=3)
            async with bench(proxy.url) as far:
                made = a_submission()
                submission = Submission(job_id=made.job_id, spec=made.spec, idempotency_key=key, fingerprint="f")
                submitted = await far.ledger.submit(submission)
                page = await far.ledger.list_jobs(INFERENCE)

        assert (submits.count, lists.count) == (3, 3)
        assert submitted.job_id == made.job_id
        assert [job.id for job in page.jobs] == [made.job_id]
        assert len(await side.events(made.job_id)) == 1
        assert await side.client.xlen(keys.ready(INFERENCE, Lane.NORMAL)) == 1


@pytest.mark.quick
@pytest.mark.fault(
    6, "the gateway loses the replies to a submission and a cancel", sees="202 and 200 as ever, and one job"
)
async def test_a_gateway_answers_as_if_no_reply_had_been_lost(redis_url: str, tmp_path: Path) -> None:
    with fault_proxy(redis_url) as proxy, running_gateway(proxy.url, tmp_path) as gateway:
        dropped = [proxy.drop_reply(command) for command in ("submit", "list", "request_pause", "resume")]
        dropped.append(proxy.drop_reply("request_cancel"))
        async with gateway.client() as http:
            made = await http.post("/jobs/training", json=TRAINING_BODY, headers={"Idempotency-Key": "k"})
            job_id = made.json()["job_id"]
            page = await http.get("/jobs")
            answers = [await http.post(f"/jobs/{job_id}/{verb}") for verb in ("pause", "resume", "cancel")]
            again = await http.post("/jobs/training", json=TRAINING_BODY, headers={"Idempotency-Key": "k"})

    assert [sighting.count for sighting in dropped] == [1] * 5
    assert (made.status_code, made.headers.get("Idempotency-Replayed")) == (202, None)
    assert [row["id"] for row in page.json()["jobs"]] == [job_id]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert (again.json()["job_id"], again.headers["Idempotency-Replayed"]) == (job_id, "true")


@pytest.mark.quick
@pytest.mark.fault(6, "the reply to a call of the registry is lost with its line", sees="one version, visible once")
async def test_a_model_whose_replies_were_lost_is_published_once(redis_url: str) -> None:
    async with driver(redis_url) as drive:
        with fault_proxy(redis_url) as proxy:
            client = connect(RedisSettings(redis_url=proxy.url))
            registry = ModelRegistry(client)
            dropped = [proxy.drop_reply(command, times=3) for command in OF_REGISTRY]
            async with bench(redis_url) as side:
                job_id = await side.submit(TrainingSpec(model_type="mlp", data_path="a.csv", seed=1), queue=TRAINING)
            claim = await drive.begin(job_id)
            staged = await registry.stage(name="wine", job_id=job_id, fence=claim.fence, manifest=a_manifest())
            await drive.settle(claim, success("wine"))
            resolved = await registry.resolve("wine")
            aliased = await registry.set_alias("wine", "best", 1)
            versions = await registry.versions("wine")
            await client.aclose()

    assert [sighting.count for sighting in dropped] == [3, 3, 3]
    assert str(staged) == "wine@1"
    assert (resolved.version, resolved.job_id) == (1, job_id)
    assert [model.version for model in versions] == [1]
    assert set(aliased.aliases) == {"best", "latest"}
