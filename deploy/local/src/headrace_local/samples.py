"""Writes real sample data into a data root. Knows no jobs.

The texts are those of the Python manual, which every Python has as pydoc_data.topics. The wine
measurements are described in sample_data/README.md.
"""

import csv
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from pydoc_data.topics import topics

_SHORTEST = 60

# The topics of each part of the manual.
_PARTS = {
    "statements": (
        "assert assignment augassign async break class compound continue del else for function "
        "global if import nonlocal pass raise return try while with"
    ),
    "expressions": (
        "atom-identifiers atom-literals attribute-references await binary bitwise booleans calls "
        "comparisons conversions dict exprlists in lambda lists operator-summary power shifting "
        "slicings subscriptions unary yield"
    ),
    "data-model": (
        "attribute-access callable-types context-managers customization id-classes naming execmodel "
        "numeric-types objects sequence-types specialattrs specialnames types"
    ),
    "built-in-types": (
        "bltin-code-objects bltin-ellipsis-object bltin-null-object bltin-type-objects truth "
        "typesfunctions typesmapping typesmethods typesmodules typesseq typesseq-mutable"
    ),
    "strings": "formatstrings string-methods strings identifiers numbers integers floating imaginary",
    "debugger": "debugger",
}


def write_samples(data_root: Path) -> list[Path]:
    """Write train.csv (columns text, label), topics.csv (text) and wine.csv. Existing files are
    left alone."""
    data_root.mkdir(parents=True, exist_ok=True)
    makers = {"train.csv": write_labelled_topics, "topics.csv": write_topics, "wine.csv": write_wine}
    for name, write in makers.items():
        if not (data_root / name).exists():
            write(data_root / name)
    return [data_root / name for name in makers]


def write_labelled_topics(path: Path) -> None:
    """Write the manual's paragraphs (column text), each with its part of the
    manual (column label)."""
    parts = {name: part for part, names in _PARTS.items() for name in names.split()}
    _write(path, ("text", "label"), ((text, parts[name]) for name, text in _paragraphs() if name in parts))


def write_topics(path: Path) -> None:
    """Write the manual's paragraphs: column text."""
    _write(path, ("text",), ((text,) for _, text in _paragraphs()))


def write_wine(path: Path) -> None:
    path.write_bytes(files("headrace_local").joinpath("sample_data/wine.csv").read_bytes())


def _paragraphs() -> Iterable[tuple[str, str]]:
    """-> (topic, paragraph), each paragraph once, for the shortest topic that has it. That one is
    the most specific: long topics quote short ones."""
    seen = set()
    for name in sorted(topics, key=lambda name: (len(topics[name]), name)):
        for block in re.split(r"\n\s*\n", topics[name]):
            text = " ".join(block.split())
            if len(text) >= _SHORTEST and text not in seen:
                seen.add(text)
                yield name, text


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    unfinished.replace(path)
