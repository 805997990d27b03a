"""The pages are consistent: every link leads somewhere, and every command is run by a test or says
why not."""

import re
from pathlib import Path

import pytest

from tests.support.gateways import ROOT
from tests.support.pages import anchors, blocks, guides, links, pages, prose

RUNNABLE = {"sh", "python"}
WITHOUT_COMMANDS = {"text", "js", "yaml", "toml", "json"}
MAX_COLUMNS = 99
URL = re.compile(r"https?://\S+")
DOUBLED = re.compile(r"\b([a-z]+)(?: +|\n *)\1\b", re.IGNORECASE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    astray = []
    for link in links(page):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            astray.append(link)

    assert astray == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_no_line_is_too_long_to_read(page: Path) -> None:
    """URLs and code blocks may be longer."""
    wide = [(number, line) for number, line in prose(page) if len(URL.sub("", line)) > MAX_COLUMNS]

    assert wide == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_no_word_is_written_twice_in_a_row(page: Path) -> None:
    """typos checks the spelling, but not this."""
    text = "\n".join(re.sub(r"`[^`]*`", "`", line) for _, line in prose(page))

    assert [found[0] for found in DOUBLED.finditer(text)] == []


@pytest.mark.parametrize("page", guides(), ids=name_of)
def test_every_block_says_its_language_and_every_command_is_run_or_says_why_not(page: Path) -> None:
    """tests/docs/test_blocks.py runs the blocks without a mark."""
    for block in blocks(page):
        assert block.language in RUNNABLE | WITHOUT_COMMANDS, f"{block.place}: which language is this?"
        if block.mark.startswith("run by "):
            assert (ROOT / block.mark.removeprefix("run by ")).is_file(), block.place
        elif block.mark.startswith("not run"):
            assert re.fullmatch(r"not run: \S.*", block.mark), f"{block.place}: why is it not run?"


def test_every_page_of_the_site_is_in_its_menu() -> None:
    menu = (ROOT / "zensical.toml").read_text()

    for page in (ROOT / "docs").glob("*.md"):
        assert f'"{page.name}"' in menu, page.name
