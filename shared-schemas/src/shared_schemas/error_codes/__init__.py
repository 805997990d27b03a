"""Every error code of the API, in one table. docs/errors.md is made from it, and a test compares it
with the code.

A new code needs a row in `requests`, `answers`, `data`, `jobs` or `client`, depending on where
users see it first. This package raises nothing and knows no transport.
"""

from shared_schemas.error_codes.answers import ANSWERS
from shared_schemas.error_codes.client import CLIENT
from shared_schemas.error_codes.data import DATA
from shared_schemas.error_codes.entry import ErrorCode
from shared_schemas.error_codes.jobs import JOBS
from shared_schemas.error_codes.requests import REQUESTS

__all__ = ["ERROR_CODES", "ErrorCode", "status_of"]

ERROR_CODES: dict[str, ErrorCode] = {entry.code: entry for entry in (*REQUESTS, *ANSWERS, *DATA, *JOBS, *CLIENT)}


def status_of(code: str) -> int:
    """The HTTP status of an answer with this code; 500 for a code that no answer has."""
    entry = ERROR_CODES.get(code)
    return 500 if entry is None or entry.status is None else entry.status
