"""Makes docs/errors.md from the table of error codes.

python -m tests.support.errors_page            write the page
python -m tests.support.errors_page --check    exit with 1 if the page is out of date
"""

import sys
from collections.abc import Callable, Iterator

from shared_schemas.error_codes import ERROR_CODES, ErrorCode

from tests.support.gateways import ROOT
from tests.support.lists import item

PAGE = ROOT / "docs" / "errors.md"
COMMAND = "uv run python -m tests.support.errors_page"

_HEAD = f"""\
# Error codes

This page is made from `shared_schemas.error_codes` by
`{COMMAND}`. Do not edit it.

Codes are part of the API. A code keeps its meaning, and new codes may be added. A program should
decide by the code. If it does not know a code, it should go by the status of the response, or by
the `retryable` of the error. The text of an error is for people and may change.

In the lists below, *retryable* means that the same thing may succeed later without any change.
"""
_ANSWERS = """
## Responses of the gateway

The `code` of an `application/problem+json` response (RFC 9457), with its HTTP status.
"""
_PARTS = """
## Parts of a request

The `code` of one item in the `errors` of a response. Its `pointer` says which part is meant.
"""
_JOBS = """
## Jobs

The `code` of the `error` of a job, of an attempt, or of one input of many. A job with a retryable
error is tried again as long as its `retry` policy allows. A job that failed for good is a dead
letter.
"""
_CLIENT = """
## The Python client

The `code` of an exception that the client itself raises. An `ApiError`, which stands for a
response, has the code of the response.
"""
_INSIDE = """
## Only in logs
"""
_Section = tuple[str, Callable[[ErrorCode], bool], Callable[[ErrorCode], Iterator[str]]]


def _of_answer(entry: ErrorCode) -> Iterator[str]:
    yield str(entry.status)
    yield from _retryable(entry.retryable)


def _retryable(is_retryable: bool | None) -> Iterator[str]:
    if is_retryable:
        yield "retryable"


_SECTIONS: tuple[_Section, ...] = (
    (_ANSWERS, lambda entry: entry.status is not None, _of_answer),
    (_PARTS, lambda entry: entry.part, lambda entry: iter(())),
    (_JOBS, lambda entry: entry.job is not None, lambda entry: _retryable(entry.job)),
    (_CLIENT, lambda entry: entry.client is not None, lambda entry: _retryable(entry.client)),
    (_INSIDE, lambda entry: entry.inside, lambda entry: iter(())),
)


def page() -> str:
    return _HEAD + "".join(part for section in _SECTIONS for part in _section(*section))


def _section(
    head: str, belongs: Callable[[ErrorCode], bool], notes: Callable[[ErrorCode], Iterator[str]]
) -> Iterator[str]:
    yield head + "\n"
    for entry in sorted(ERROR_CODES.values(), key=lambda entry: entry.code):
        if belongs(entry):
            noted = ", ".join(notes(entry))
            name = f"**`{entry.code}`**" + f" ({noted})" * bool(noted)
            yield item(f"{name}: {entry.meaning}", f"*What to do:* {entry.action}")


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        raise SystemExit(f"docs/errors.md is out of date: {COMMAND}")


if __name__ == "__main__":
    main()
