"""Every way a job can fail for good, with a real gateway and real workers: what a person finds
afterwards."""

from pathlib import Path
from typing import Any

import pytest
from headrace import AsyncClient
from shared_schemas.attempts import AttemptEnd
from shared_schemas.job import JobState

from tests.support.gateways import MODEL, driver, running_gateway
from tests.support.restarted_worker import restarted_worker

ENDS = AttemptEnd

# What the job does, its options -> the code of its error, and how each attempt ended, with which code.
FAILURES: dict[str, tuple[str, dict[str, Any], str, list[tuple[AttemptEnd, str | None]]]] = {
    "a transient failure that ran out of retries": (
        "stumble",
        {"retry": {"max_attempts": 2, "backoff_s": 0}},
        "disk_full",
        [(ENDS.RETRIED, "disk_full"), (ENDS.FAILED, "disk_full")],
    ),
    "a permanent failure": ("refuse", {}, "data_empty", [(ENDS.FAILED, "data_empty")]),
    "a timeout": ("hang", {"timeout_s": 0.3}, "timeout", [(ENDS.FAILED, "timeout")]),
    "a job that kills its workers": ("crash", {}, "poison", [(ENDS.WORKER_LOST, None), (ENDS.WORKER_LOST, None)]),
    "a start deadline missed": ("answer", {"start_deadline_s": 0.01}, "start_deadline_exceeded", []),
}


@pytest.mark.timeout(300)
async def test_every_failure_is_found_with_its_code_and_attempts_and_can_be_retried(
    redis_url: str, tmp_path: Path
) -> None:
    with running_gateway(redis_url, tmp_path) as gateway:
        async with driver(redis_url) as drive, AsyncClient(gateway.url) as client:
            await drive.publish()

            async def submitted(behaviour: str, **options: Any) -> str:
                return (await client.submit_inference(model_id=MODEL, input_data=behaviour, **options)).job_id

            made = {name: await submitted(behaviour, **options) for name, (behaviour, options, *_) in FAILURES.items()}
            cancelled = await submitted("hang")
            await client.cancel(cancelled)
            # The deadline must pass before a worker starts.
            await client.wait(made["a start deadline missed"], timeout_s=30)
            async with restarted_worker(redis_url, slots=1):
                fine = await client.wait(await submitted("answer"), timeout_s=120)
                for job_id in made.values():
                    await client.wait(job_id, timeout_s=120)
                rows = {row.id: row async for row in client.dead_letters()}
                [again] = await client.retry_dead_letters(code="data_empty")
                assert again.retried_as is not None
                retried = await client.wait(again.retried_as, timeout_s=60)
                left = {row.id async for row in client.dead_letters()}

    assert fine.state is JobState.SUCCEEDED
    assert set(rows) == set(made.values())
    for name, (_, _, code, attempts) in FAILURES.items():
        row = rows[made[name]]
        assert row.error is not None, name
        assert row.error.code == code, name
        assert [(a.ended, a.error and a.error.code) for a in row.attempts] == attempts, name
        assert all(a.worker and a.duration_s is not None for a in row.attempts), name
    assert again.job_id == made["a permanent failure"]
    assert (retried.state, retried.retry_of) == (JobState.FAILED, again.job_id)
    assert left == set(made.values()) - {again.job_id} | {retried.id}
