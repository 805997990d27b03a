"""The pages about the code agree with the code: the drawing of the states, the modules they name,
the list of decisions."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import concepts_page
from tests.support.gateways import ROOT

DECISIONS = ROOT / "docs" / "decisions"
NUMBERED = sorted(DECISIONS.glob("[0-9]*.md"))
PAGES = [
    *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/concepts.md")),
    *sorted(DECISIONS.glob("*.md")),
]
_HEADINGS = ["Context", "Decision", "Consequence", "Revisit when"]
_PACKAGES = "shared_schemas|worker_runtime|gateway|inference_worker|recipe_kit|training_worker|headrace|headrace_local"
# A module in code marks, perhaps with a name in it.
_MODULE = re.compile(rf"`((?:{_PACKAGES})(?:\.\w+)+)`")
_SCRIPT = re.compile(r"`([a-z_]+\.lua)`")
_LUA = ROOT / "shared-schemas" / "src" / "shared_schemas" / "stream" / "lua"


def test_the_drawing_of_the_states_is_made_from_the_table_of_transitions() -> None:
    text = concepts_page.PAGE.read_text()

    assert text == concepts_page.made(text), concepts_page.COMMAND
    assert concepts_page.PICTURE.read_text() == concepts_page.picture(), concepts_page.COMMAND


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    named = _MODULE.findall(page.read_text())

    assert [name for name in named if not _exists(name)] == []


def test_every_script_that_the_life_of_a_job_names_exists() -> None:
    named = set(_SCRIPT.findall(concepts_page.PAGE.read_text()))

    assert named
    assert named <= {path.name for path in _LUA.iterdir()}


def test_every_step_of_the_life_of_a_job_names_its_module() -> None:
    _, _, life = concepts_page.PAGE.read_text().partition("## The life of a job")
    steps = re.split(r"^(?:\d+\.|-) ", life, flags=re.MULTILINE)[1:]

    assert len(steps) > 10
    assert [step for step in steps if not (_MODULE.search(step) or _SCRIPT.search(step))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_of_a_page_is_longer_than_100_characters(page: Path) -> None:
    assert [line for line in page.read_text().splitlines() if len(line) > 100] == []


def test_architecture_stays_about_a_page_and_a_half() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 90


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [page.name[:5] for page in NUMBERED] == [f"{n:04d}-" for n in range(1, len(NUMBERED) + 1)]


@pytest.mark.parametrize("page", NUMBERED, ids=lambda page: page.name)
def test_a_decision_has_its_number_its_date_and_the_four_sections(page: Path) -> None:
    text = page.read_text()

    assert re.match(rf"# {page.name[:4]}\. \S.*\n\nDate: 20\d\d-\d\d-\d\d\n", text)
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == _HEADINGS


def test_the_index_lists_each_decision_with_its_date_and_title() -> None:
    listed = [
        f"- [{page.name[:4]}]({page.name}), {date}:\n  {title}.\n"
        for page in NUMBERED
        for title, date in re.findall(r"# \d+\. (.*)\n\nDate: (.*)\n", page.read_text())
    ]

    assert len(listed) == len(NUMBERED) > 30
    assert (DECISIONS / "index.md").read_text().endswith("\n\n" + "".join(listed))


def test_an_entry_of_the_log_has_its_date_and_the_four_parts() -> None:
    entries = re.split(r"^## ", (DECISIONS / "log.md").read_text(), flags=re.MULTILINE)[1:]

    assert entries
    assert [entry for entry in entries if not re.match(r"20\d\d-\d\d-\d\d: \S", entry)] == []
    assert [entry for entry in entries if re.findall(r"^\*\*(.*)\.\*\*", entry, re.MULTILINE) != _HEADINGS] == []


def _exists(dotted: str) -> bool:
    """Whether it is a module, or a name in a module."""
    if _source(dotted) is not None:
        return True
    module, _, name = dotted.rpartition(".")
    source = _source(module)
    return source is not None and re.search(rf"^(?:class |def |async def )?{name}\b", source, re.MULTILINE) is not None


def _source(module: str) -> str | None:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return None if spec is None else Path(str(spec.origin)).read_text()
