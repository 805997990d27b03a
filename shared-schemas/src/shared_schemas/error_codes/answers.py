"""Codes that the gateway answers a well-formed request with, as a problem or as one of its parts.

Sorted by code.
"""

from shared_schemas.error_codes.entry import ErrorCode

ANSWERS = (
    ErrorCode(
        code="backend_unavailable",
        status=503,
        meaning="Redis is unreachable, full, read-only or still loading its data.",
        action=("Send the same request again after Retry-After. Send a submission again with its Idempotency-Key."),
    ),
    ErrorCode(
        code="batch_not_found",
        status=404,
        meaning="No batch has this id.",
        action="Check the id. A batch is forgotten 30 days after its lines were sent.",
    ),
    ErrorCode(
        code="digest_mismatch",
        status=422,
        meaning="The contents that were uploaded do not have the sha256 in the path.",
        action="Compute the sha256 again, and upload the file again from its beginning.",
    ),
    ErrorCode(
        code="file_not_found",
        status=404,
        part=True,
        meaning="The artifact store has no such file, or one of another size.",
        action="Upload the file again with PUT /files/{sha256}, and name it by the answer.",
    ),
    ErrorCode(
        code="file_too_large",
        status=413,
        meaning="The file is larger than HEADRACE_MAX_FILE_BYTES.",
        action="Raise the setting. ONNX itself allows 2 GiB in one file.",
    ),
    ErrorCode(
        code="filter_required",
        part=True,
        meaning="The body does not say which dead letters it means.",
        action='Name a queue, kind or code, or send {"all": true}.',
    ),
    ErrorCode(
        code="idempotency_key_reused",
        status=422,
        meaning="The key was used with another body within the last day.",
        action="Use a new key for a new job, and the old key only to repeat the same request.",
    ),
    ErrorCode(
        code="in_use",
        status=409,
        meaning="A job that has not ended, or an alias, still needs what should be deleted.",
        action="Let the job that the detail names end, cancel it, or move the alias.",
    ),
    ErrorCode(
        code="switch_refused",
        status=409,
        meaning="A worker that holds another version of the model cannot load the one that the alias should name.",
        action='The detail has the code of the error. With "warm": false the alias moves all the same.',
    ),
    ErrorCode(
        code="switch_superseded",
        status=409,
        meaning="While this request waited for workers, a later one moved the same alias, or is about to.",
        action="Look which version the alias names now.",
    ),
    ErrorCode(
        code="infer_cancelled",
        status=409,
        meaning="The job of an inference request was cancelled while the request waited.",
        action="Find out who cancelled the job that the error names, or send the request again.",
    ),
    ErrorCode(
        code="infer_outputs_missing",
        status=500,
        meaning="The result of the job of an inference request has other outputs than the model.",
        action="Update the workers. Look at the result of the job that the error names.",
    ),
    ErrorCode(
        code="infer_timeout",
        status=504,
        meaning="The job of an inference request has not ended within HEADRACE_INFER_WAIT_S, or its own timeout.",
        action="Ask for the result of the job that the error names. Sending the request again makes another job.",
    ),
    ErrorCode(
        code="internal",
        status=500,
        job=True,
        meaning="An unexpected error occurred.",
        action="Look up the request_id or the job's id in the log, and report it.",
    ),
    ErrorCode(
        code="invalid_spec",
        status=422,
        part=True,
        job=False,
        client=False,
        meaning=(
            "The job cannot run as described. Its parts contradict each other, or name "
            "something that does not exist. A worker also uses this code if it cannot read "
            "the spec."
        ),
        action="Correct what the detail says.",
    ),
    ErrorCode(
        code="job_expired",
        status=410,
        meaning="The job existed. Its result_ttl_s has passed, and it was removed.",
        action="Submit it again, with a longer result_ttl_s if you need its result for longer.",
    ),
    ErrorCode(
        code="job_not_found",
        status=404,
        meaning="No job has this id.",
        action="Check the id. A job that expired more than a day ago also gets this code.",
    ),
    ErrorCode(
        code="job_unreadable",
        status=501,
        job=False,
        meaning=("The job was stored by another version of Headrace, or its data in Redis is damaged."),
        action="Read it with the version that wrote it.",
    ),
    ErrorCode(
        code="model_not_found",
        status=404,
        meaning="No published model has this name, version or alias.",
        action=("GET /models lists the published models. A model appears there once its training job has succeeded."),
    ),
    ErrorCode(
        code="model_unreadable",
        status=501,
        job=False,
        meaning="The registry entry of this version is damaged.",
        action="Publish the model again. The gateway's log names the entries that it cannot read.",
    ),
    ErrorCode(
        code="not_a_dead_letter",
        status=404,
        meaning="The job did not fail, or it was retried or purged since.",
        action="GET /jobs/{id} shows its state.",
    ),
    ErrorCode(
        code="not_finished",
        status=409,
        meaning="The job has not ended, and this request is only for finished jobs.",
        action="Wait for its `done`.",
    ),
    ErrorCode(
        code="not_found",
        status=404,
        meaning="What the path names does not exist.",
        action="Check the path.",
    ),
    ErrorCode(
        code="not_offered",
        status=501,
        meaning="The Open Inference Protocol has this request, and Headrace does not serve it.",
        action="Do what the error says instead.",
    ),
    ErrorCode(
        code="not_ready",
        status=503,
        meaning="The gateway cannot serve, or no worker for inference is running.",
        action="Look at GET /readyz and GET /workers.",
    ),
    ErrorCode(
        code="path_not_allowed",
        status=422,
        job=False,
        meaning="The path leads out of the data root, or does not name a regular file.",
        action="Put the file under the data root, and give its path relative to that root.",
    ),
    ErrorCode(
        code="queue_full",
        status=429,
        meaning="As many jobs wait in the queue as HEADRACE_QUEUE_LIMITS allows. Nothing was stored.",
        action="Send the same request again after Retry-After, start more workers, or raise the setting.",
    ),
    ErrorCode(
        code="queue_not_found",
        status=404,
        meaning="There is no such queue.",
        action="GET /queues lists the queues.",
    ),
    ErrorCode(
        code="queue_unknown",
        status=422,
        job=False,
        meaning=("No worker serves a queue of this name, and the gateway's settings do not declare it."),
        action=("Check its spelling. Start its worker first, or name it in the gateway's HEADRACE_QUEUES."),
    ),
    ErrorCode(
        code="state_conflict",
        status=409,
        meaning="The state of the job does not allow this.",
        action="GET /jobs/{id} shows its state. A finished job never changes.",
    ),
    ErrorCode(
        code="unknown_model_type",
        status=422,
        part=True,
        job=False,
        meaning="No worker of the queue has a recipe for this model_type.",
        action="Use one that the message names, or start a worker that has the recipe.",
    ),
    ErrorCode(
        code="upload_in_progress",
        status=409,
        meaning="Another request is writing the same file.",
        action="Ask GET /files/{sha256} until it is complete, or send the rest a moment later.",
    ),
    ErrorCode(
        code="upload_offset_wrong",
        status=409,
        meaning="The part that was sent does not begin where the stored part of the file ends.",
        action="Ask GET /files/{sha256} how many bytes are there, and send the rest.",
    ),
)
