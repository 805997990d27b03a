"""Codes of a request that any route refuses for its form, or for the connection that it came over.

Sorted by code.
"""

from shared_schemas.error_codes.entry import ErrorCode

REQUESTS = (
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
        code="invalid_value",
        part=True,
        meaning="The value is not one of the allowed values.",
        action="Use one that the detail lists.",
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
        code="not_acceptable",
        status=406,
        meaning="The response is not available in the form that Accept asks for.",
        action="Accept a form that the detail names.",
    ),
    ErrorCode(
        code="out_of_range",
        part=True,
        meaning="The value is too small, too large, too short or too long.",
        action="Stay within the bounds that the detail names.",
    ),
    ErrorCode(
        code="range_not_satisfiable",
        status=416,
        meaning="The file ends before the range that the request asks for.",
        action="Ask for a range within the size that Content-Range names.",
    ),
    ErrorCode(
        code="route_not_found",
        status=404,
        meaning="The API has no such path.",
        action="/docs lists the paths.",
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
