"""Codes that the client raises on its own; beside them it raises those of the gateway's answers, as ApiError."""

from shared_schemas.error_codes.entry import ErrorCode

CLIENT = (
    ErrorCode(
        code="client_closed",
        client=False,
        meaning="The client was closed before.",
        action="Make a new one, or close it later.",
    ),
    ErrorCode(
        code="client_error",
        inside=True,
        client=False,
        meaning="The base of the client's errors.",
        action="Look at the class that was raised.",
    ),
    ErrorCode(
        code="invalid_settings",
        client=False,
        meaning="The URL, profile or proxy to use cannot be used.",
        action="The message names the variable or file in which it stands.",
    ),
    ErrorCode(
        code="job_cancelled",
        client=False,
        meaning="The job that was waited for was cancelled.",
        action="Submit it again if that was not meant.",
    ),
    ErrorCode(
        code="job_failed",
        client=False,
        meaning="The job that was waited for failed.",
        action="The exception's `error` says why, with a code of jobs.",
    ),
    ErrorCode(
        code="protocol_error",
        client=False,
        meaning="The answer is none of a Headrace gateway.",
        action="Check the address.",
    ),
    ErrorCode(
        code="unreachable",
        client=True,
        meaning="There is no contact with the gateway.",
        action="Check that it runs, and the address.",
    ),
    ErrorCode(
        code="wait_timed_out",
        client=True,
        meaning="The job had not ended within the time given to wait.",
        action="It goes on: wait again.",
    ),
)
