"""docs/protocol.md and docs/scripts.md agree with the code: the parts of a stored job, the transitions, the scripts."""

import re

from shared_schemas.lifecycle import TRANSITIONS
from shared_schemas.stream.bundle import bundle
from shared_schemas.stream.linking import names
from shared_schemas.stream.packed_job import JOB_PARTS

from tests.support.gateways import ROOT
from tests.support.scripts_page import COMMAND, LABELS, PAGE, page, parts_of

TEXT = (ROOT / "docs" / "protocol.md").read_text()


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_a_stored_job_has_the_parts_that_the_page_says_in_their_places() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", section("Keys"), re.MULTILINE)

    assert [(int(place), name) for place, name in rows] == list(enumerate(JOB_PARTS, 1))


def test_the_page_has_every_transition_with_its_states() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \| ([^|]+) \|", section("States"), re.MULTILINE)
    said = {
        name: (set(re.findall(r"\w+", sources)), target.strip())
        for names_, sources, target in rows
        for name in re.findall(r"`(\w+)`", names_)
    }

    assert said == {
        reason: ({state.value for state in row.sources}, row.target.value) for reason, row in TRANSITIONS.items()
    }


def test_the_page_says_who_calls_each_script_of_a_queue() -> None:
    table = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section("Scripts"), re.MULTILINE)
    said = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    of_a_queue = {
        name for name in names() if "its tag is `{hr" not in page().partition(f"## {name}\n")[2][:400].lower()
    }

    assert of_a_queue <= said


def test_every_script_says_what_it_is_given_and_answers() -> None:
    for name in names():
        assert {"", *LABELS} - {"RARE"} <= parts_of(name).keys(), name


def test_the_page_of_scripts_is_what_their_heads_say() -> None:
    assert PAGE.read_text() == page(), COMMAND


def test_the_bundle_has_what_the_page_says_of_it() -> None:
    made = bundle()

    assert made["record"] == list(JOB_PARTS)
    assert made["transitions"].keys() == TRANSITIONS.keys()
    assert all(row["body"].startswith(f'"event":"{row["event"]}"') for row in made["transitions"].values())
