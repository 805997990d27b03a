"""Any number of dead letters, made without a worker."""

import os
import time
from collections.abc import Sequence

from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId, QueueName, new_job_id
from shared_schemas.outcome import Failure
from shared_schemas.specs import TrainingSpec
from shared_schemas.stream.attempt_writer import AttemptWriter, Batch, Settlement
from shared_schemas.stream.claims import Claims
from shared_schemas.stream.submission import Submission

from tests.support.gateways import Driver

SPEC = TrainingSpec(model_type="mlp", data_path="a.csv", seed=1)


async def made_dead(drive: Driver, queue: QueueName, codes: Sequence[str]) -> list[JobId]:
    """Make a failed training job for each code. -> their ids, in the order of submission"""
    now_ms = time.time_ns() // 1_000_000 - len(codes)
    # The ids are a millisecond apart, so that they sort in this order.
    ids = [new_job_id(queue, now_ms=now_ms + i, entropy=os.urandom(10)) for i in range(len(codes))]
    await drive.catalog.declare(queue)
    await drive.submitter.submit_all(queue, [Submission(job_id=job_id, spec=SPEC) for job_id in ids])
    claims = Claims(drive.nodes, drive.client, queue, worker="failing", lease_s=60.0)
    await claims.open()
    claimed = {claim.job_id: claim for claim in await claims.claim(len(codes), token=os.urandom(8).hex())}
    assert set(claimed) == set(ids), "the queue was not empty"
    failures = [Failure(ErrorInfo(code=code, message=f"it failed: {code}")) for code in codes]
    endings = [
        Settlement(Batch(claimed[job_id], 0, ()), failure) for job_id, failure in zip(ids, failures, strict=True)
    ]
    assert all(await AttemptWriter(drive.nodes, queue).settle(endings))
    return ids
