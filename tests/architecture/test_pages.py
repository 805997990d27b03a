"""What the pages about the code say of it is so: the drawing of the states, and the modules that they name."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import concepts_page
from tests.support.gateways import ROOT

PAGES = [ROOT / "docs" / "concepts.md"]
_PACKAGES = "shared_schemas|worker_runtime|gateway|inference_worker|training_worker|headrace|headrace_local"
# In code marks: a module, and perhaps a name in it.
_MODULE = re.compile(rf"`((?:{_PACKAGES})(?:\.[a-z][a-z_]*)+)(?:\.(_?[A-Z]\w*|_\w+))?`")
_SCRIPT = re.compile(r"`([a-z_]+\.lua)`")
_LUA = ROOT / "shared-schemas" / "src" / "shared_schemas" / "stream" / "lua"


def test_the_drawing_of_the_states_is_made_from_the_table_of_transitions() -> None:
    text = concepts_page.PAGE.read_text()

    assert text == concepts_page.made(text), concepts_page.COMMAND


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    named = _MODULE.findall(page.read_text())

    assert [module for module, name in named if not _exists(module, name)] == []


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


def _exists(module: str, name: str) -> bool:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return False
    return spec is not None and (not name or name in Path(str(spec.origin)).read_text())
