"""Old and new versions side by side, as in a rolling deployment: what older parts do with newer
data."""

from pathlib import Path

import anyio
import msgspec
import pytest
from shared_schemas.codec import WIRE_VERSION, decode_event, decode_spec, encode_json
from shared_schemas.events import Logged
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec, TrainingSpec
from shared_schemas.stream import keys

from tests.support.gateways import running_gateway
from tests.support.outage import JobFollower, healthy
from tests.support.queue_bench import queue_bench, success
from tests.support.stored import fields, patch
from tests.support.worker_process import worker_process
from tests.support.workers import INFERENCE, Bench, bench

LEASE_S = 1.0


async def entry_of(side: Bench, job_id: JobId) -> bytes:
    return (await fields(side.client, job_id))["entry"]


@pytest.mark.quick
@pytest.mark.fault(
    "versions",
    "a job of a newer version reaches an older worker",
    sees="it stays queued for a newer worker, however often it is delivered; the jobs behind it run",
)
async def test_a_job_of_a_newer_version_is_left_for_a_newer_worker_and_holds_up_no_other(
    redis_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    async with bench(redis_url) as side:
        newer = await side.submit()
        await patch(side.client, newer, version=WIRE_VERSION + 1)
        with worker_process(redis_url, "answer", lease_s=LEASE_S, log=log, log_format="json"):
            behind = [await side.done(await side.submit()) for _ in range(5)]
            entry = await entry_of(side, newer)
            with anyio.fail_after(20):
                while await entry_of(side, newer) == entry:  # noqa: ASYNC110 - nothing tells of a delivery
                    await anyio.sleep(0.05)
            left = await side.folded(newer)
            behind.append(await side.done(await side.submit()))
        # Now there is a worker that knows this version.
        await patch(side.client, newer, version=WIRE_VERSION)
        with worker_process(redis_url, "answer", lease_s=LEASE_S):
            job = await side.done(newer)

    assert (left.state, left.attempt, left.crashes, left.failures) == (JobState.QUEUED, 0, 0, 0)
    assert {each.state for each in behind} == {JobState.SUCCEEDED}
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
    healthy(log)


@pytest.mark.quick
@pytest.mark.fault(
    "versions",
    "a newer version writes fields and events that older ones do not know",
    sees="nothing: they are left out",
)
async def test_what_newer_producers_add_breaks_no_older_worker_gateway_or_reader(
    redis_url: str, tmp_path: Path
) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        spec = msgspec.json.decode(await side.client.hget(keys.job(job_id), "spec"))
        novel = {**spec, "novel": {"a": 1}, "parameters": {"novel": True}, "retry": {"max_attempts": 2, "novel": "x"}}
        await side.client.hset(keys.job(job_id), mapping={"spec": encode_json(novel), "novel": "y"})
        with running_gateway(redis_url, tmp_path) as gateway, worker_process(redis_url, "answer"):
            job = await side.done(job_id)
            async with gateway.client() as http:
                status = (await http.get(f"/jobs/{job_id}")).raise_for_status().json()

    assert (job.state, job.attempt, job.spec.retry.max_attempts) == (JobState.SUCCEEDED, 1, 2)
    assert status["status"] == "succeeded"


@pytest.mark.quick
@pytest.mark.fault(
    "versions", "an event has a type that only newer versions know", sees="it is sent over SSE as it was written"
)
async def test_an_event_of_a_newer_kind_passes_through_an_older_gateway(redis_url: str, tmp_path: Path) -> None:
    data = b'{"n":3,"at":1,"attempt":1,"event":"novel","x":[1]}'
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim()
        await side.client.hset(keys.job(job_id), "3", b"novel " + data)
        await patch(side.client, job_id, n=3)
        await side.settle(claim, success(1))
        with running_gateway(redis_url, tmp_path) as gateway:
            async with gateway.client() as http:
                follower = JobFollower(job_id)
                await follower.follow(http)

    assert [(frame.id, frame.event) for frame in follower.seen[2:]] == [("3", "novel"), ("4", "done")]
    assert follower.seen[2].data.encode() == data


@pytest.mark.quick
@pytest.mark.fault(
    "versions",
    "a stored job has a form that an older gateway cannot read, or is damaged",
    sees="501 `job_unreadable`; it is listed, and other jobs work as usual",
)
@pytest.mark.parametrize(
    "field",
    [
        {"spec": b'{"kind":"novel"}'},
        {"spec": b"\xff"},
        {"job": b"\x94\xa5novel\xa6normal\xa6normal\x01"},
        {"job": b"{"},
    ],
    ids=str,
)
async def test_a_job_that_cannot_be_read_is_said_to_be_so_and_holds_up_no_other(
    redis_url: str, tmp_path: Path, field: dict[str, bytes]
) -> None:
    async with bench(redis_url) as side:
        odd, other = await side.submit(), await side.submit()
        await side.client.hset(keys.job(odd), mapping=field)
        with running_gateway(redis_url, tmp_path) as gateway:
            async with gateway.client() as http:
                paths = [f"/jobs/{odd}", f"/jobs/{odd}/status", f"/jobs/{odd}/events", f"/dead-letters/{odd}"]
                answers = [await http.get(path) for path in paths]
                listed = await http.get("/jobs", params={"queue": INFERENCE})
                found = await http.get(f"/jobs/{other}")

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(501, "job_unreadable")] * len(paths)
    assert (listed.status_code, found.status_code) == (200, 200)
    rows = {job["id"]: job for job in listed.json()["jobs"]}
    assert rows.keys() == {odd, other}
    # If only the spec cannot be read, the job can still be listed.
    assert rows[odd].get("error", {}).get("code") == ("job_unreadable" if "job" in field else None)
    assert rows[odd]["state"] == "queued"


def test_an_event_with_a_field_of_a_newer_version_is_read_without_it() -> None:
    stored = b'{"n":1,"at":2,"attempt":3,"novel":{},"event":"log","line":"x"}'

    assert decode_event(stored) == Logged(n=1, at=2, attempt=3, line="x")


def test_a_stored_spec_is_read_without_fields_of_a_newer_version_and_not_without_its_bounds() -> None:
    training = TrainingSpec(model_type="mlp", data_path="x", metadata={"novel": "kept"})
    inference = InferenceSpec(model_id="m", input_data={"novel": "kept"})
    for spec in (training, inference):
        stored = {**msgspec.to_builtins(spec), "novel": 1}
        assert decode_spec(encode_json(stored)) == spec

    for bad in ({"kind": "novel"}, {"kind": "inference", "model_id": "", "input_data": 1}, [1], 1):
        with pytest.raises(msgspec.ValidationError):
            decode_spec(encode_json(bad))
