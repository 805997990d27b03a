"""All routes, one row each: how a request is decoded, its handler, its answers and problems.

`gateway.routes.dispatch` serves requests by this table, and `gateway.routes.openapi` describes it.
To add a route, add a row and its handler. Holds no logic.
"""

from shared_schemas.job import QueueStatus
from shared_schemas.kinds import JobKind
from shared_schemas.models import Model
from shared_schemas.replies import (
    AliasRequest,
    DeadLetterDetails,
    DeadLetterPage,
    DeadLetterSelection,
    DeadLettersPurged,
    DeadLettersRetried,
    EventPage,
    Health,
    JobAttempts,
    JobDetails,
    JobPage,
    JobResult,
    JobStatus,
    ModelPage,
    ModelVersions,
    Queues,
    RecipeList,
    StoredFile,
    Submitted,
    SubmittedJobs,
    Workers,
)
from shared_schemas.specs import SPECS, PublishingSpec

from gateway.intake.submission import LONGEST_LIST
from gateway.routes import dead_letters, docs, events, files, health, jobs, models, queues, recipes, submit
from gateway.routes.batch_table import BATCH_ROUTES
from gateway.routes.oip_table import OIP_ROUTES
from gateway.routes.route import Answer, Header, Route

_JOBS, _DEAD_LETTERS, _EVENTS, _MODELS, _FILES, _RECIPES, _QUEUES, _HEALTH = (
    "jobs", "dead letters", "events", "models", "files", "recipes", "queues", "health"
)  # fmt: skip

_DELETED = Answer("Deleted.")
_ASKED_FOR = Answer("The request is accepted and not carried out yet.", JobStatus)
_ACCEPTED = Answer("Accepted. A list is answered with a list.", Submitted, for_list=SubmittedJobs)
_ENDED = Answer("It ended within the time that Prefer gave.", JobDetails)
_FOLLOWED = {
    200: Answer("Events in order, each with its number.", EventPage, is_stream=True),
    204: Answer("The reader has all events, and there will be no more."),
}
# Of a route that reads a job: its id may be unknown, it may have expired, or another version may
# have stored it.
_OF_A_JOB = (404, 410, 501, 503)
_OF_A_BODY = (400, 408, 413, 415, 422)
_OF_A_SUBMISSION = (*_OF_A_BODY, 404, 406, 429, 501, 503, 507)
_OF_EVENTS = (404, 406, 410, 422, 501, 503)
_SUBMISSION_HEADERS = (
    Header(
        "Idempotency-Key",
        "The same key with the same body gives the same job, or list of jobs, for a day.",
        pattern=r"^[\x21-\x7E]{1,255}\Z",
    ),
    Header("Prefer", "`wait=N`: hold the answer for up to N seconds (1 to 60) until the one job has ended."),
)
_CURSOR_HEADER = Header(
    "Last-Event-ID", "The last event the reader has; wins over `after`. EventSource sends it by itself."
)


def _done(kind: type, description: str = "Done.") -> dict[int, Answer]:
    return {200: Answer(description, kind)}


def _page(kind: type) -> dict[int, Answer]:
    return _done(kind, "One page.")


ROUTES = (
    *(
        Route(
            method="POST",
            path=f"/jobs/{kind}",
            handler=submit.submit_jobs,
            name=f"submit_{kind}",
            description=f"{kind.summary} A list of such bodies: all of them are accepted, or none.",
            tag=_JOBS,
            body=SPECS[kind],
            max_list=LONGEST_LIST,
            example=SPECS[kind].example,
            headers=_SUBMISSION_HEADERS,
            answers={202: _ACCEPTED, 200: _ENDED},
            problems=_OF_A_SUBMISSION,
        )
        for kind in JobKind
    ),
    *BATCH_ROUTES,
    Route(
        method="GET",
        path="/jobs",
        handler=jobs.list_jobs,
        tag=_JOBS,
        query=jobs.JobsQuery,
        answers=_page(JobPage),
        problems=(422, 503),
    ),
    Route(
        method="GET",
        path="/jobs/{job_id}",
        handler=jobs.get_job,
        tag=_JOBS,
        answers=_done(JobDetails),
        problems=_OF_A_JOB,
    ),
    Route(
        method="GET",
        path="/jobs/{job_id}/status",
        handler=jobs.get_status,
        tag=_JOBS,
        answers=_done(JobStatus),
        problems=_OF_A_JOB,
    ),
    Route(
        method="GET",
        path="/jobs/{job_id}/attempts",
        handler=jobs.get_attempts,
        tag=_JOBS,
        answers=_done(JobAttempts),
        problems=_OF_A_JOB,
    ),
    Route(
        method="GET",
        path="/jobs/{job_id}/result",
        handler=jobs.get_result,
        tag=_JOBS,
        answers=_done(JobResult),
        problems=(*_OF_A_JOB, 409),
    ),
    Route(
        method="POST",
        path="/jobs/{job_id}/cancel",
        handler=jobs.cancel_job,
        tag=_JOBS,
        answers={**_done(JobStatus), 202: _ASKED_FOR},
        problems=(*_OF_A_JOB, 409),
    ),
    Route(
        method="DELETE",
        path="/jobs/{job_id}",
        handler=jobs.delete_job,
        tag=_JOBS,
        answers={204: _DELETED},
        problems=(*_OF_A_JOB, 409),
    ),
    Route(
        method="POST",
        path="/jobs/{job_id}/pause",
        handler=jobs.pause_job,
        tag=_JOBS,
        answers={**_done(JobStatus), 202: _ASKED_FOR},
        problems=(*_OF_A_JOB, 409),
    ),
    Route(
        method="POST",
        path="/jobs/{job_id}/resume",
        handler=jobs.resume_job,
        tag=_JOBS,
        answers=_done(JobStatus),
        problems=(*_OF_A_JOB, 409),
    ),
    Route(
        method="POST",
        path="/jobs/{job_id}/retry",
        handler=jobs.retry_job,
        tag=_JOBS,
        answers={202: Answer("Done.", Submitted)},
        problems=(*_OF_A_JOB, 409, 429),
    ),
    Route(
        method="POST",
        path="/jobs/{job_id}/replay",
        handler=jobs.replay_job,
        tag=_JOBS,
        answers={202: Answer("Done.", Submitted)},
        problems=(*_OF_A_JOB, 409, 429),
    ),
    Route(
        method="GET",
        path="/dead-letters",
        handler=dead_letters.list_dead_letters,
        tag=_DEAD_LETTERS,
        query=dead_letters.DeadLettersQuery,
        answers=_page(DeadLetterPage),
        problems=(422, 503),
    ),
    Route(
        method="GET",
        path="/dead-letters/{job_id}",
        handler=dead_letters.get_dead_letter,
        tag=_DEAD_LETTERS,
        answers=_done(DeadLetterDetails),
        problems=_OF_A_JOB,
    ),
    Route(
        method="POST",
        path="/dead-letters/retry",
        handler=dead_letters.retry_dead_letters,
        tag=_DEAD_LETTERS,
        body=DeadLetterSelection,
        example=dead_letters.EXAMPLE,
        answers=_done(DeadLettersRetried),
        problems=(*_OF_A_BODY, 503),
    ),
    Route(
        method="POST",
        path="/dead-letters/purge",
        handler=dead_letters.purge_dead_letters,
        tag=_DEAD_LETTERS,
        body=DeadLetterSelection,
        example=dead_letters.EXAMPLE,
        answers=_done(DeadLettersPurged),
        problems=(*_OF_A_BODY, 503),
    ),
    Route(
        method="GET",
        path="/jobs/{job_id}/events",
        handler=events.job_events,
        tag=_EVENTS,
        query=events.EventsQuery,
        cursor_header=_CURSOR_HEADER,
        answers=_FOLLOWED,
        problems=_OF_EVENTS,
    ),
    Route(
        method="GET",
        path="/events",
        handler=events.all_events,
        tag=_EVENTS,
        query=events.AllEventsQuery,
        cursor_header=_CURSOR_HEADER,
        answers=_FOLLOWED,
        problems=_OF_EVENTS,
    ),
    Route(
        method="GET",
        path="/models",
        handler=models.list_models,
        tag=_MODELS,
        query=models.ModelsQuery,
        answers=_page(ModelPage),
        problems=(422, 503),
    ),
    Route(
        method="POST",
        path="/models",
        handler=submit.submit_jobs,
        name="publish_model",
        description="Check an ONNX file that was uploaded, and publish it. It is a job of the kind publishing.",
        tag=_MODELS,
        body=PublishingSpec,
        example=PublishingSpec.example,
        headers=_SUBMISSION_HEADERS,
        answers={202: Answer("Accepted.", Submitted), 200: _ENDED},
        problems=_OF_A_SUBMISSION,
    ),
    Route(
        method="GET",
        path="/models/{name}",
        handler=models.get_model,
        tag=_MODELS,
        answers=_done(ModelVersions),
        problems=(404, 501, 503),
    ),
    Route(
        method="GET",
        path="/models/{name}/versions/{version}",
        handler=models.get_version,
        tag=_MODELS,
        answers=_done(Model),
        problems=(404, 501, 503),
    ),
    Route(
        method="GET",
        path="/models/{name}/versions/{version}/file",
        handler=models.get_model_file,
        tag=_MODELS,
        answers={
            200: Answer("The ONNX file.", is_file=True),
            206: Answer("The part that Range asks for.", is_file=True),
            304: Answer("The reader has this file."),
        },
        problems=(404, 416, 501, 503, 507),
    ),
    Route(
        method="DELETE",
        path="/models/{name}/versions/{version}",
        handler=models.delete_version,
        tag=_MODELS,
        answers={204: _DELETED},
        problems=(404, 409, 422, 503),
    ),
    Route(
        method="PUT",
        path="/models/{name}/aliases/{alias}",
        handler=models.set_alias,
        tag=_MODELS,
        body=AliasRequest,
        example={"version": 1},
        answers=_done(Model),
        problems=(*_OF_A_BODY, 404, 409, 503),
    ),
    Route(
        method="DELETE",
        path="/models/{name}/aliases/{alias}",
        handler=models.delete_alias,
        tag=_MODELS,
        answers={204: _DELETED},
        problems=(404, 422, 503),
    ),
    Route(
        method="PUT",
        path="/files/{sha256}",
        handler=files.put_file,
        tag=_FILES,
        takes_file=True,
        headers=(
            Header(
                "Content-Range",
                "`bytes FIRST-LAST/TOTAL`: the body is a part of the file.",
                pattern=r"^bytes [0-9]+-[0-9]+/[0-9]+\Z",
            ),
        ),
        answers={201: Answer("The file is complete.", StoredFile), 202: Answer("Parts are missing.", StoredFile)},
        problems=(*_OF_A_BODY, 409, 503, 507),
    ),
    Route(
        method="GET",
        path="/files/{sha256}",
        handler=files.get_file,
        tag=_FILES,
        answers=_done(StoredFile),
        problems=(404, 422, 503, 507),
    ),
    Route(
        method="GET",
        path="/recipes",
        handler=recipes.list_recipes,
        tag=_RECIPES,
        answers=_done(RecipeList),
        problems=(503,),
    ),
    Route(
        method="GET",
        path="/queues",
        handler=queues.list_queues,
        tag=_QUEUES,
        answers=_done(Queues),
        problems=(503,),
    ),
    Route(
        method="GET",
        path="/queues/{name}",
        handler=queues.get_queue,
        tag=_QUEUES,
        answers=_done(QueueStatus),
        problems=(404, 503),
    ),
    Route(
        method="GET",
        path="/workers",
        handler=queues.list_workers,
        tag=_QUEUES,
        answers=_done(Workers),
        problems=(503,),
    ),
    Route(
        method="GET",
        path="/healthz",
        handler=health.healthz,
        tag=_HEALTH,
        answers=_done(Health),
        problems=(503,),
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=health.readyz,
        tag=_HEALTH,
        answers={**_done(Health), 503: Answer("It cannot serve now.", Health)},
    ),
    *OIP_ROUTES,
    Route(method="GET", path="/metrics", handler=health.read_metrics, tag=None),
    Route(method="GET", path="/openapi.json", handler=docs.read_document, tag=None),
    Route(method="GET", path="/docs", handler=docs.read_docs, tag=None),
    Route(method="GET", path=docs.STATIC + "/{name}", handler=docs.read_static, tag=None),
)
