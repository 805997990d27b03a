"""Codes that the gateway answers with, as a problem or as one of its parts. Sorted by code."""

from shared_schemas.error_codes.entry import ErrorCode

ANSWERS = (
    ErrorCode(
        code="backend_unavailable",
        status=503,
        meaning="Redis is unreachable, full, read-only or still loading its data.",
        action=("Send the same request again after Retry-After. Send a submission again with its Idempotency-Key."),
    ),
    ErrorCode(
        code="body_timeout",
        status=408,
        meaning="The body took longer to arrive than HEADRACE_BODY_TIMEOUT_S.",
        action="Send it again, or raise the setting for slow connections.",
    ),
    ErrorCode(
        code="body_too_large",
        status=413,
        meaning="The body is larger than HEADRACE_MAX_BODY_BYTES.",
        action=("Send less at once, put the data into a file under the data root, or raise the setting."),
    ),
    ErrorCode(
        code="cors_refused",
        status=400,
        meaning="A page of another origin asked for permission to call the gateway, and has none.",
        action="Add the page's origin to HEADRACE_CORS_ORIGINS.",
    ),
    ErrorCode(
        code="encoding_unsupported",
        status=415,
        meaning="The request has a Content-Encoding that the route does not take.",
        action="Send the body uncompressed. POST /v2/models/{name}/infer also takes gzip and deflate.",
    ),
    ErrorCode(
        code="filter_required",
        part=True,
        meaning="The body does not say which dead letters it means.",
        action='Name a queue, kind or code, or send {"all": true}.',
    ),
    ErrorCode(
        code="head_timeout",
        status=408,
        meaning="The request head took longer to arrive than HEADRACE_HEAD_TIMEOUT_S.",
        action="Send the request in one go, or raise the setting for slow connections.",
    ),
    ErrorCode(
        code="head_too_large",
        status=431,
        meaning=("The request line and headers, or the trailers, exceed HEADRACE_MAX_HEAD_BYTES or 1,000 lines."),
        action=("Send fewer and shorter headers, such as cookies of other sites on this name, or raise the setting."),
    ),
    ErrorCode(
        code="host_not_allowed",
        status=421,
        meaning="Host names neither this machine nor one of HEADRACE_HOSTS.",
        action="Add the name that clients use to HEADRACE_HOSTS.",
    ),
    ErrorCode(
        code="http_error",
        status=400,
        client=False,
        meaning="HTTP itself was refused, or a response gave no reason. A proxy may have sent it.",
        action="Look at the status, and at what is between the client and the gateway.",
    ),
    ErrorCode(
        code="http_version_unsupported",
        status=505,
        meaning="The request uses another version of HTTP.",
        action="Send it as HTTP/1.1.",
    ),
    ErrorCode(
        code="idempotency_key_invalid",
        status=400,
        meaning="Idempotency-Key was given twice, or is not 1 to 255 visible ASCII characters.",
        action="Send one key of such characters, for example a UUID.",
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
        code="invalid_body",
        status=422,
        meaning="The body is JSON and does not fit the schema.",
        action="Correct the parts that `errors` names.",
    ),
    ErrorCode(
        code="invalid_format",
        part=True,
        meaning="A text does not have the form that this field requires.",
        action="Write it as the detail says.",
    ),
    ErrorCode(
        code="invalid_parameter",
        status=422,
        meaning="A parameter of the path or the query is unknown or not valid.",
        action="Correct the parameters that `errors` names.",
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
        code="invalid_value",
        part=True,
        meaning="The value is not one of the allowed values.",
        action="Use one that the detail lists.",
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
        code="malformed_body",
        status=400,
        meaning="The body is empty.",
        action="Send a JSON object, or a list of them.",
    ),
    ErrorCode(
        code="malformed_id",
        status=404,
        part=True,
        meaning="This is not a valid job id, queue name or model reference.",
        action=(
            "Compare it with `<queue>-<26 characters>`, `training` or `inference` with a suffix, or `name@version`."
        ),
    ),
    ErrorCode(
        code="malformed_json",
        status=400,
        meaning="The body is not valid JSON in UTF-8, or it is nested too deeply.",
        action="Write the body with a JSON library.",
    ),
    ErrorCode(
        code="malformed_request",
        status=400,
        meaning="The request is not valid HTTP/1.1, or does not name its host exactly once.",
        action="Look at what sent it. It is not an ordinary HTTP client, or a proxy changed it.",
    ),
    ErrorCode(
        code="media_type_unsupported",
        status=415,
        meaning="The body is not declared as JSON.",
        action="Send Content-Type: application/json.",
    ),
    ErrorCode(
        code="method_not_allowed",
        status=405,
        meaning="The route does not have this method.",
        action="Use one that the Allow header names.",
    ),
    ErrorCode(
        code="missing_field",
        part=True,
        meaning="A required field is missing.",
        action="Add it.",
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
        code="not_acceptable",
        status=406,
        meaning="The response is not available in the form that Accept asks for.",
        action="Accept a form that the detail names.",
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
        code="out_of_range",
        part=True,
        meaning="The value is too small, too large, too short or too long.",
        action="Stay within the bounds that the detail names.",
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
        action=(
            "Send the same request again after Retry-After, start more workers, or raise the setting. "
            "Retry-After follows from how fast the queue has drained."
        ),
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
        code="route_not_found",
        status=404,
        meaning="The API has no such path.",
        action="/docs lists the paths.",
    ),
    ErrorCode(
        code="state_conflict",
        status=409,
        meaning="The state of the job does not allow this.",
        action="GET /jobs/{id} shows its state. A finished job never changes.",
    ),
    ErrorCode(
        code="target_too_long",
        status=414,
        meaning="The path and query alone fill HEADRACE_MAX_HEAD_BYTES.",
        action="Ask for less at once, or raise the setting.",
    ),
    ErrorCode(
        code="too_many_connections",
        status=503,
        meaning="HEADRACE_MAX_CONNECTIONS connections are open.",
        action=("Try again after Retry-After, use one connection for many requests, or raise the setting."),
    ),
    ErrorCode(
        code="too_many_streams",
        status=503,
        meaning="HEADRACE_MAX_STREAMS event streams are open.",
        action=(
            "Try again after Retry-After, follow many jobs over one connection with GET /events, or raise the setting."
        ),
    ),
    ErrorCode(
        code="unknown_field",
        part=True,
        meaning="The schema has no field of this name.",
        action="Check its spelling. Unknown fields are refused, not ignored.",
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
        code="unknown_parameter",
        part=True,
        meaning="The route has no query parameter of this name.",
        action="Check its spelling.",
    ),
    ErrorCode(
        code="wrong_type",
        part=True,
        meaning="The value has another type than the field.",
        action="Use the type that the detail names.",
    ),
)
