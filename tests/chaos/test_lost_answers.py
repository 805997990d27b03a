"""A reply to a user's call that is lost with its connection, for each script.

Redis has executed the command, and the caller cannot know. The caller asks again. The effect must
happen once, and the answer must be the same.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from shared_schemas.attempts import attempts_of
from shared_schemas.batches import BatchState
from shared_schemas.codec import decode_event
from shared_schemas.errors import JobNotFound, QueueFull
from shared_schemas.events import Reason
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.models import ModelRef
from shared_schemas.outcome import Success
from shared_schemas.specs import TrainingSpec
from shared_schemas.stream import keys
from shared_schemas.stream.batches import Batches
from shared_schemas.stream.connection import connect
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.dead_letters import DeadLetters
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.queue_limits import QueueLimits
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.removal import Removal
from shared_schemas.stream.result_cache import ResultCache
from shared_schemas.stream.submission import Submission, Submitter

from tests.chaos.test_lost_replies import OF_ENDS, OF_HOUSEKEEPING, OF_WORKERS
from tests.support.fault_proxy import fault_proxy
from tests.support.gateways import TRAINING, TRAINING_BODY, a_manifest, driver, running_gateway
from tests.support.queue_bench import OUTCOMES, QueueBench, queue_bench
from tests.support.resp import script_names
from tests.support.workers import INFERENCE, Bench, a_submission, bench, success

OF_REGISTRY = ("stage", "publish", "begin_switch", "wanted", "set_alias", "look_up")
OF_DEAD_LETTERS = ("attempts", "purge")
OF_LEDGER = ("submit", "request_cancel", "request_pause", "resume", "list", "claim_keys", "release_keys")
OF_QUEUES = ("queues", "status", "workers", "position")
OF_BATCHES = ("batch_store", "batch_status")
OF_REMOVAL = ("delete", "delete_version")
OF_CACHE = ("cache_get", "cache_put")


def test_no_script_is_left_out() -> None:
    named = {name for name, _ in (*OF_WORKERS, *OF_ENDS)} - {"XREADGROUP"}

    known = named.union(OF_HOUSEKEEPING, OF_REGISTRY, OF_DEAD_LETTERS, OF_LEDGER, OF_QUEUES, OF_BATCHES, OF_REMOVAL)
    known = known.union(OF_CACHE)
    assert known == set(script_names().values())


async def paused_job(side: QueueBench) -> JobId:
    job_id = await side.submit()
    await side.control.pause(job_id)
    return job_id


async def running_job(side: QueueBench) -> JobId:
    job_id = await side.submit()
    await side.claim()
    return job_id


async def job_asked_to_pause(side: QueueBench) -> JobId:
    job_id = await running_job(side)
    await side.control.pause(job_id)
    return job_id


Verb = Callable[[JobControl, JobId], Awaitable[JobState]]


@pytest.mark.quick
@pytest.mark.fault(
    "replies", "the connection breaks before the reply to a user's request", sees="the reply to the repeated call"
)
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("command", "prepare", "ask", "answer", "reason"),
    [
        ("request_cancel", Bench.submit, JobControl.cancel, JobState.CANCELLED, None),
        ("request_cancel", paused_job, JobControl.cancel, JobState.CANCELLED, None),
        ("request_cancel", running_job, JobControl.cancel, JobState.RUNNING, Reason.CANCEL_REQUESTED),
        ("request_pause", Bench.submit, JobControl.pause, JobState.PAUSED, Reason.PAUSED),
        ("request_pause", running_job, JobControl.pause, JobState.RUNNING, Reason.PAUSE_REQUESTED),
        ("resume", paused_job, JobControl.resume, JobState.QUEUED, Reason.RESUMED),
        ("resume", job_asked_to_pause, JobControl.resume, JobState.RUNNING, Reason.PAUSE_WITHDRAWN),
    ],
)
async def test_a_request_whose_reply_was_lost_is_granted_once(
    redis_url: str,
    command: str,
    prepare: Callable[[QueueBench], Awaitable[JobId]],
    ask: Verb,
    answer: JobState,
    reason: Reason | None,
    times: int,
) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await prepare(side)
        before = await side.events(job_id)
        with fault_proxy(redis_url) as proxy:
            dropped = proxy.drop_reply(command, times=times)
            async with bench(proxy.url) as far:
                assert await ask(far.control, job_id) is answer

        job, events = await side.folded(job_id), await side.events(job_id)

    assert dropped.count == times
    assert job.state is answer
    assert len(events) == len(before) + 1
    assert reason is None or sum(getattr(event, "reason", None) is reason for event in events) == 1


@pytest.mark.quick
@pytest.mark.fault(
    "replies",
    "the connection breaks before the reply to a submission or a listing",
    sees="one job; one page of the list",
)
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_submission_whose_reply_was_lost_is_one_job(redis_url: str, key: str | None) -> None:
    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            submits, lists = proxy.drop_reply("submit", times=3), proxy.drop_reply("list", times=3)
            async with bench(proxy.url) as far:
                made = a_submission()
                submission = Submission(job_id=made.job_id, spec=made.spec, idempotency_key=key, fingerprint="f")
                submitted = await far.submitter.submit(submission)
                page = await far.jobs.list_jobs(INFERENCE)

        assert (submits.count, lists.count) == (3, 3)
        assert submitted.job_id == made.job_id
        assert [job.id for job in page.jobs] == [made.job_id]
        assert len(await side.events(made.job_id)) == 1
        assert await side.client.xlen(keys.ready(INFERENCE, Lane.NORMAL)) == 1


@pytest.mark.quick
@pytest.mark.fault(
    "replies", "the gateway loses the replies to a submission and a cancel", sees="202 and 200 as usual, and one job"
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
@pytest.mark.fault(
    "replies",
    "the connection breaks before the reply to a call about dead letters",
    sees="the job is no longer listed and stays failed",
)
async def test_a_dead_letter_is_purged_once_and_its_attempts_are_listed(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        purged, kept = await side.submit(), await side.submit()
        for claim in await side.claim():
            await side.settle(claim, OUTCOMES["failure"])
        ended = await side.fields(purged)
        with fault_proxy(redis_url) as proxy:
            dropped = [proxy.drop_reply(command, times=3) for command in OF_DEAD_LETTERS]
            async with bench(proxy.url) as far:
                attempts = attempts_of(decode_event(data) for data in await far.timeline.read_attempts(purged))
                await DeadLetters(far.nodes).purge(INFERENCE, [purged])

        page = await DeadLetters(side.nodes).page(INFERENCE)
        assert [job.id for job in page.jobs] == [kept]
        assert await side.fields(purged) == ended
        assert (await side.folded(purged)).state is JobState.FAILED

    assert [sighting.count for sighting in dropped] == [3, 3]
    assert len(attempts) == 1


@pytest.mark.quick
@pytest.mark.fault(
    "replies",
    "the connection breaks before the reply to a call of the model registry",
    sees="the model has one new version",
)
async def test_a_model_whose_replies_were_lost_is_published_once(redis_url: str) -> None:
    async with driver(redis_url) as drive:
        with fault_proxy(redis_url) as proxy:
            client = connect(RedisSettings(redis_url=proxy.url))
            registry = ModelRegistry(Nodes(client))
            dropped = [proxy.drop_reply(command, times=3) for command in OF_REGISTRY]
            async with bench(redis_url) as side:
                job_id = await side.submit(TrainingSpec(model_type="mlp", data_path="a.csv", seed=1), queue=TRAINING)
            claim = await drive.begin(job_id)
            staged = await registry.stage(name="wine", job_id=job_id, fence=claim.fence, manifest=a_manifest())
            await drive.settle(claim, success("wine"))
            resolved = await registry.resolve("wine")
            await registry.begin_switch(resolved.ref, "best", token="t", keep_s=60.0)
            wanted = await registry.wanted()
            aliased = await registry.set_alias("wine", "best", 1, token="t")
            versions = (await registry.versions("wine")).models
            pinned = await registry.pin(["wine@best"])
            await client.aclose()

    assert [sighting.count for sighting in dropped] == [3] * len(OF_REGISTRY)
    assert wanted == [("t", "wine@1")]
    assert str(staged) == "wine@1"
    assert (resolved.version, resolved.job_id) == (1, job_id)
    assert [model.version for model in versions] == [1]
    assert set(aliased.aliases) == {"best", "latest"}
    assert pinned == [ModelRef("wine", 1)]


@pytest.mark.quick
@pytest.mark.fault("replies", "the connection breaks before the reply to a claim of an Idempotency-Key", sees="one job")
async def test_a_key_that_is_claimed_for_another_queue_is_one_job(redis_url: str) -> None:
    made = a_submission(queue=TRAINING, spec=TrainingSpec(model_type="mlp", data_path="a.csv", seed=1))
    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            dropped = proxy.drop_reply("claim_keys", times=3)
            async with bench(proxy.url) as far:
                submission = Submission(job_id=made.job_id, spec=made.spec, idempotency_key="k", fingerprint="f")
                first = await far.submitter.submit(submission)
                second = await far.submitter.submit(msgspec.structs.replace(submission, job_id=a_submission().job_id))

        assert dropped.count == 3
        assert first.job_id == second.job_id == made.job_id
        assert len(await side.events(made.job_id)) == 1


@pytest.mark.quick
@pytest.mark.fault("replies", "the connection breaks before the reply to a query about queues", sees="the result, once")
async def test_a_question_about_queues_whose_reply_was_lost_is_answered(redis_url: str) -> None:
    async with bench(redis_url):
        with fault_proxy(redis_url) as proxy:
            dropped = [proxy.drop_reply(command, times=3) for command in OF_QUEUES]
            async with bench(proxy.url) as far:
                job_id = await far.submit()
                queues = Queues(far.nodes)
                queries = QueueQueries(far.nodes, queues)
                named, status = await queues.review(), await queries.status(INFERENCE)
                workers, waiting = await queries.workers(), await far.jobs.waiting(job_id)

        assert [sighting.count for sighting in dropped] == [3, 3, 3, 3]
        assert INFERENCE in named
        assert status.jobs[JobState.QUEUED] == 1, job_id
        assert workers == []
        assert waiting is not None
        assert (waiting.position, waiting.workers) == (0, 0)


@pytest.mark.quick
@pytest.mark.fault(
    "replies", "the connection breaks before the reply to a call about a batch", sees="the batch, noted once"
)
async def test_what_is_noted_of_a_batch_is_noted_once(redis_url: str) -> None:
    base = a_submission().job_id
    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            dropped = [proxy.drop_reply(command, times=3) for command in OF_BATCHES]
            async with bench(proxy.url) as far:
                batches = Batches(far.nodes)
                noted = await batches.note(base, lines=2, digest="d", models=b"{}", errors=[(2, b"{}")], is_whole=True)
                status = await batches.status(base)

        assert [sighting.count for sighting in dropped] == [3, 3]
        assert (noted.lines, noted.digest, noted.is_whole) == (2, "d", True)
        assert (status.n_lines, status.n_invalid, status.status) == (2, 1, BatchState.COMPLETED)
        assert await Batches(side.nodes).newest(INFERENCE) == [base]


@pytest.mark.quick
@pytest.mark.fault(
    "replies", "the connection breaks before the reply to a deletion", sees="204: the job is deleted once"
)
async def test_a_deletion_whose_reply_was_lost_is_done(redis_url: str) -> None:
    async with driver(redis_url) as drive, queue_bench(redis_url) as side:
        trained = await side.submit(TrainingSpec(model_type="mlp", data_path="a.csv", seed=1), queue=TRAINING)
        claim = await drive.begin(trained)
        registry = ModelRegistry(side.nodes)
        await registry.stage(name="wine", job_id=trained, fence=claim.fence, manifest=a_manifest())
        await drive.settle(claim, success("wine"))
        with fault_proxy(redis_url) as proxy:
            dropped = [proxy.drop_reply(command, times=3) for command in OF_REMOVAL]
            async with bench(proxy.url) as far:
                removal = Removal(far.nodes)
                await removal.delete_job(trained, queues=[INFERENCE, TRAINING])
                await removal.delete_version(ModelRef("wine", 1), queues=[INFERENCE, TRAINING])

        assert [sighting.count for sighting in dropped] == [3, 3]
        with pytest.raises(JobNotFound):
            await side.jobs.find(trained)
        assert (await registry.list_models()).models == []


@pytest.mark.quick
@pytest.mark.fault(
    "replies", "the connection breaks before the reply to a call about the cache", sees="the job that has the result"
)
async def test_what_the_cache_found_is_asked_again_after_a_lost_reply(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim()
        with fault_proxy(redis_url) as proxy:
            dropped = [proxy.drop_reply(command, times=3) for command in OF_CACHE]
            async with bench(proxy.url) as far:
                results = ResultCache(far.nodes, most=10, age_s=60.0)
                await results.put("0" * 64, job_id)
                await side.settle(claim, Success(msgspec.Raw(b'"kept"'), "digest"))
                found = await results.get(INFERENCE, "0" * 64)

        assert [sighting.count for sighting in dropped] == [3, 3]
        assert found is not None
        assert (found.job_id, found.result) == (job_id, b'"kept"')


@pytest.mark.quick
@pytest.mark.fault(
    "replies", "the connection breaks before the reply to a refused submission", sees="its key may get another body"
)
async def test_a_key_whose_release_was_not_answered_is_free(redis_url: str) -> None:
    spec, key = TrainingSpec(model_type="mlp", data_path="a.csv", seed=1), "f" * 64
    async with queue_bench(redis_url) as side:
        await side.submit(spec, queue=TRAINING)
        with fault_proxy(redis_url) as proxy:
            dropped = [proxy.drop_reply(command, times=3) for command in ("claim_keys", "release_keys")]
            async with bench(proxy.url) as far:
                first, second = (a_submission(spec, queue=TRAINING) for _ in range(2))
                keyed = msgspec.structs.replace(first, idempotency_key=key, fingerprint="one")
                with pytest.raises(QueueFull):
                    await Submitter(far.nodes, limits=QueueLimits({TRAINING: 1})).submit(keyed)
                other = msgspec.structs.replace(second, idempotency_key=key, fingerprint="other")
                stored = await far.submitter.submit(other)

        assert [sighting.count for sighting in dropped] == [3, 3]
        assert (stored.created, stored.job_id) == (True, first.job_id)
