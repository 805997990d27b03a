"""POST /jobs/<kind> for each kind of job: one job, or a list of them."""

from collections.abc import Sequence

from fastapi import Response
from shared_schemas.specs import JobOptions, JobSpec

from gateway.routes.route import Call
from gateway.surfaces.native.submissions import response_to, wanted_by


async def submit_jobs(call: Call[None, JobSpec | Sequence[JobSpec]]) -> Response:
    wanted = wanted_by(call.request)
    outcome = await call.services.submit_and_follow(
        call.body,
        idempotency_key=wanted.idempotency_key,
        is_followed=wanted.is_stream,
        wait_s=wanted.wait_s,
    )
    return await response_to(call.services, outcome, wanted, is_list=not isinstance(call.body, JobOptions))
