"""Reads our Markdown pages: their links, their anchors as a Git host makes them, and their code
blocks.

Does not know what a block does.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.support.gateways import ROOT

_FENCED = re.compile(r"^(?P<fence>```+)[^\n]*\n.*?^(?P=fence)$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


class Block(msgspec.Struct, frozen=True):
    """mark: the text of the comment on the line before the block, or nothing."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that a person reads, in the repository or on the site."""
    folders = ("docs", ".github", "findings", "tests", "deploy")
    return sorted([*ROOT.glob("*.md"), *(page for name in folders for page in (ROOT / name).rglob("*.md"))])


def guides() -> list[Path]:
    """The README, and the pages to follow step by step: those under these names in the site's menu."""
    menu = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    entries = {name: where for entry in menu for name, where in entry.items()}
    reference = {name: file for entry in entries["Reference"] for name, file in entry.items()}
    files = [entries["Quick start"], *(file for entry in entries["Guides"] for file in entry.values())]
    return [ROOT / "README.md", *(ROOT / "docs" / file for file in [*files, reference["Command line"]])]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, line, found["language"], found["text"], found["mark"] or "")


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Each line that is not code, with its number."""
    blanked = _FENCED.sub(lambda found: "\n" * found[0].count("\n"), page.read_text())
    yield from enumerate(blanked.splitlines(), 1)


def links(page: Path) -> list[str]:
    """The targets of the page's links, as written, those to other sites included."""
    return [found["target"] for found in _LINK.finditer(_prose(page))]


def anchors(page: Path) -> set[str]:
    made: set[str] = set()
    for title in _HEADING.findall(_FENCED.sub("", page.read_text())):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        copies = sum(1 for each in made if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each))
        made.add(f"{slug}-{copies}" if copies else slug)
    return made


def _prose(page: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", _FENCED.sub("", page.read_text()))
