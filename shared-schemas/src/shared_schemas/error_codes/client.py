"""Codes of exceptions that the client raises itself. The codes of the gateway's answers come as ApiError."""

from shared_schemas.error_codes.entry import ErrorCode

CLIENT = (
    ErrorCode(
        code="client_closed",
        client=False,
        meaning="The client was closed before this call.",
        action="Make a new client, or close it later.",
    ),
    ErrorCode(
        code="client_error",
        inside=True,
        client=False,
        meaning="The base class of the client's errors.",
        action="Look at the class that was raised.",
    ),
    ErrorCode(
        code="export_failed",
        client=False,
        meaning="No ONNX file could be made of an object, or its answers differ from those of the object.",
        action="The message says which. Export the object yourself, and publish the file.",
    ),
    ErrorCode(
        code="invalid_settings",
        client=False,
        meaning="The URL, profile or proxy is not valid.",
        action="The message names the variable or file that contains it.",
    ),
    ErrorCode(
        code="job_cancelled",
        client=False,
        meaning="The job that the call waited for was cancelled.",
        action="Submit it again if that was not intended.",
    ),
    ErrorCode(
        code="job_failed",
        client=False,
        meaning="The job that the call waited for failed.",
        action="The exception's `error` says why, with a code from Jobs.",
    ),
    ErrorCode(
        code="protocol_error",
        client=False,
        meaning="The response did not come from a Headrace gateway.",
        action="Check the address.",
    ),
    ErrorCode(
        code="unreachable",
        client=True,
        meaning="The client cannot reach the gateway.",
        action="Check the address, and that the gateway runs.",
    ),
    ErrorCode(
        code="wait_timed_out",
        client=True,
        meaning="The job had not ended when the waiting time was over.",
        action="The job continues. Wait again.",
    ),
)
