"""Every error code of the API, in one table: docs/errors.md is made of it, and a test compares it with the code.

Whoever raises a new code adds its row to `answers`, `data`, `jobs` or `client`, by where it is seen first. This package
raises nothing and knows no transport.
"""

from shared_schemas.error_codes.answers import ANSWERS
from shared_schemas.error_codes.client import CLIENT
from shared_schemas.error_codes.data import DATA
from shared_schemas.error_codes.entry import ErrorCode
from shared_schemas.error_codes.jobs import JOBS

__all__ = ["ERROR_CODES", "ErrorCode", "status_of"]

ERROR_CODES: dict[str, ErrorCode] = {entry.code: entry for entry in (*ANSWERS, *DATA, *JOBS, *CLIENT)}


def status_of(code: str) -> int:
    """The HTTP status of an answer with this code; 500 where the code is not one of an answer."""
    entry = ERROR_CODES.get(code)
    return 500 if entry is None or entry.status is None else entry.status
