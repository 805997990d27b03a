"""docs/errors.md, made of the table of error codes.

python -m tests.support.errors_page            write it
python -m tests.support.errors_page --check    exit with 1 if it is not what would be written
"""

import sys
from collections.abc import Callable, Iterator

from shared_schemas.error_codes import ERROR_CODES, ErrorCode

from tests.support.gateways import ROOT

PAGE = ROOT / "docs" / "errors.md"
COMMAND = "uv run python -m tests.support.errors_page"

_HEAD = f"""\
# Error codes

Made from `shared_schemas.error_codes` by `{COMMAND}`; do not edit.

A code is part of the API: it keeps its meaning, and new ones may come. A program should decide by the code, and treat
one that it does not know by the status of the answer or the `retryable` beside it. The text beside a code is for people
and may change.
"""
_ANSWERS = """
## Answers of the gateway

The `code` of an `application/problem+json` (RFC 9457). Again: the same request may succeed later.
"""
_PARTS = """
## Parts of a request

The `code` of each item of an answer's `errors`, beside the place (`pointer`) that it is about.
"""
_JOBS = """
## Jobs

The `code` of a job's `error`, of an attempt's, and of the error of one input of many. Again: it is tried again by
itself as long as the job's `retry` allows. A job that failed for good is a dead letter.
"""
_CLIENT = """
## The Python client

The `code` of an exception that the client raises on its own. One that stands for an answer (`ApiError`) carries the
answer's code.
"""
_INSIDE = """
## In logs only
"""
_Section = tuple[str, Callable[[ErrorCode], bool], dict[str, Callable[[ErrorCode], str]]]


def _again(retryable: bool | None) -> str:
    return "yes" if retryable else ""


_SECTIONS: tuple[_Section, ...] = (
    (
        _ANSWERS,
        lambda entry: entry.status is not None,
        {"status": lambda entry: str(entry.status), "again": lambda entry: _again(entry.retryable)},
    ),
    (_PARTS, lambda entry: entry.part, {}),
    (_JOBS, lambda entry: entry.job is not None, {"again": lambda entry: _again(entry.job)}),
    (_CLIENT, lambda entry: entry.client is not None, {"again": lambda entry: _again(entry.client)}),
    (_INSIDE, lambda entry: entry.inside, {}),
)


def page() -> str:
    return _HEAD + "".join(line for section in _SECTIONS for line in _section(*section))


def _section(
    head: str, belongs: Callable[[ErrorCode], bool], columns: dict[str, Callable[[ErrorCode], str]]
) -> Iterator[str]:
    names = ["code", *columns, "what has happened", "what to do"]
    yield head + f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}\n"
    for entry in sorted(ERROR_CODES.values(), key=lambda entry: entry.code):
        if belongs(entry):
            cells = [f"`{entry.code}`", *(shown(entry) for shown in columns.values()), entry.meaning, entry.action]
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        raise SystemExit(f"docs/errors.md is out of date: {COMMAND}")


if __name__ == "__main__":
    main()
