"""Every error code that is raised stands in shared_schemas.error_codes, and every code of that table is raised."""

import pytest
from shared_schemas.error_codes import ERROR_CODES, ErrorCode, status_of

from tests.support.errors_page import COMMAND, PAGE, page
from tests.support.raised_codes import Raised, raised_codes

RAISED = raised_codes()
KNOWN = [one for one in RAISED if one.code in ERROR_CODES]
# Where a code is seen when something takes it.
SEEN = {
    "AttemptFailed": lambda entry: entry.job is not None,
    "DataRejected": lambda entry: entry.job is not None,
    "ProblemItem": lambda entry: entry.part,
    "ProblemError": lambda entry: entry.status is not None,
}


def test_every_code_that_is_raised_stands_in_the_table() -> None:
    unknown = {one.code: one.place for one in RAISED if one.code not in ERROR_CODES}

    assert not unknown, "add a row to shared_schemas/error_codes, then: " + COMMAND


def test_every_code_of_the_table_is_raised() -> None:
    assert sorted(ERROR_CODES.keys() - {one.code for one in RAISED}) == []
    assert len(ERROR_CODES) > 80


def test_the_reader_of_the_source_finds_every_way_to_give_a_code() -> None:
    takers = {one.taker for one in RAISED}

    assert takers >= {*SEEN, "ErrorInfo", "class", "holder", "variable"}


@pytest.mark.parametrize("one", [one for one in KNOWN if one.status is not None], ids=lambda one: one.place)
def test_an_answer_has_the_status_that_the_table_says(one: Raised) -> None:
    assert status_of(one.code) == one.status


@pytest.mark.parametrize("one", [one for one in KNOWN if one.taker in SEEN], ids=lambda one: one.place)
def test_a_code_is_seen_where_the_table_says(one: Raised) -> None:
    assert SEEN[one.taker](ERROR_CODES[one.code])


@pytest.mark.parametrize("one", [one for one in KNOWN if one.retryable is not None], ids=lambda one: one.place)
def test_an_attempt_is_tried_again_where_the_table_says(one: Raised) -> None:
    assert ERROR_CODES[one.code].job is one.retryable


@pytest.mark.parametrize("entry", ERROR_CODES.values(), ids=list(ERROR_CODES))
def test_a_row_says_where_its_code_is_seen_what_happened_and_what_to_do(entry: ErrorCode) -> None:
    assert entry.status or entry.part or entry.inside or (entry.job, entry.client) != (None, None)
    assert entry.meaning.endswith(".")
    assert entry.action.endswith(".")


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == page(), COMMAND
