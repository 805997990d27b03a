"""POST /jobs/<kind> for each kind of job: one job, or a list of them.

Reads what the headers ask for, calls `submit_and_follow` once, and answers with JSON or with an
event stream.
"""

import re
from collections.abc import Sequence

from fastapi import Request, Response
from shared_schemas.replies import SubmittedJobs
from shared_schemas.specs import JobOptions, JobSpec

from gateway.edge.problems import ProblemError
from gateway.feed.stream_response import SSE
from gateway.intake import preferences
from gateway.intake.submit_and_follow import Accepted, Ended, Followed
from gateway.routes.route import Call
from gateway.services import Services
from gateway.surfaces.native import responses
from gateway.surfaces.native.streams import stream_of_job, stream_of_jobs

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


async def submit_jobs(call: Call[None, JobSpec | Sequence[JobSpec]]) -> Response:
    wait_s = preferences.wait_s(call.request.headers.getlist("prefer")) if b"prefer" in call.headers else 0
    outcome = await call.services.submit_and_follow(
        call.body,
        idempotency_key=idempotency_key(call.request) if b"idempotency-key" in call.headers else None,
        is_followed=SSE.encode() in call.headers.get(b"accept", b"").lower(),
        wait_s=wait_s,
    )
    return await _response_to(call.services, outcome, wait_s, is_list=not isinstance(call.body, JobOptions))


async def _response_to(
    services: Services, outcome: Accepted | Ended | Followed, wait_s: int, *, is_list: bool
) -> Response:
    """wait_s: how long the client let the answer be held, s. is_list: a list of bodies was sent,
    and is answered with a list."""
    headers = {} if is_list else {"Location": f"/jobs/{_first_id(outcome)}"}
    if not outcome.created:
        headers["Idempotency-Replayed"] = "true"
    if isinstance(outcome, Followed):
        if is_list:
            places = dict.fromkeys(outcome.job_ids, 0)
            return stream_of_jobs(services, places, heard=outcome.heard, media_type=SSE, headers=headers)
        [job_id] = outcome.job_ids
        return stream_of_job(services, job_id, after=0, heard=outcome.heard, media_type=SSE, headers=headers)
    if wait_s and not is_list:
        headers["Preference-Applied"] = f"wait={wait_s}"
    if isinstance(outcome, Ended):
        return responses.json_response(await responses.details(services, outcome.job), 200, headers)
    jobs = tuple(map(responses.submitted, outcome.job_ids, outcome.states))
    return responses.json_response(SubmittedJobs(jobs=jobs) if is_list else jobs[0], 202, headers)


def _first_id(outcome: Accepted | Ended | Followed) -> str:
    return outcome.job.id if isinstance(outcome, Ended) else outcome.job_ids[0]


def idempotency_key(request: Request) -> str:
    """ProblemError 400."""
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1 or _KEY.fullmatch(keys[0]) is None:
        raise ProblemError(
            400, "idempotency_key_invalid", "Idempotency-Key must be given once, as 1 to 255 visible ASCII characters"
        )
    return keys[0]
