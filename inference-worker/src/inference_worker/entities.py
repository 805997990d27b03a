"""Joins labelled tokens into entities, with the strategies of the pipelines of Hugging Face. Pure.

Labels may say with a prefix where an entity begins: B- (begin) and I- (inside), and where all labels have a prefix,
E- or L- (end) and S- or U- (single) too. The prefix is not part of the label of an entity.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from shared_schemas.models import Aggregation

_PREFIXED = re.compile(r"([BIELSU])-(.+)", re.DOTALL)
_BEGINS = frozenset("BSU")


class Span(NamedTuple):
    """A label for the part of a text from `start` to `end`."""

    label: str
    score: float
    start: int
    end: int


class _Piece(NamedTuple):
    """A token, or the tokens of a word. label: its index."""

    label: int
    score: float
    start: int
    end: int


class Labels:
    """The labels of one model, by output index. ignored: which of them are not shown."""

    def __init__(self, labels: Sequence[str], ignored: Sequence[str]) -> None:
        self._labels, self._ignored = labels, frozenset(ignored)
        shown = [label for label in labels if label not in self._ignored]
        letters = "BIELSU" if all(map(_PREFIXED.fullmatch, shown)) else "BI"
        self._parts = [_parts(label, letters) for label in labels]

    def spans(
        self,
        scores: NDArray[np.float64],
        offsets: Sequence[tuple[int, int]],
        begins_word: Sequence[bool],
        aggregation: Aggregation,
    ) -> list[Span]:
        """scores: [tokens, labels], each row sums to 1. offsets, begins_word: of each token."""
        by_word = aggregation not in ("none", "simple")
        starts = [place for place, begins in enumerate(begins_word) if begins or not by_word or place == 0]
        pieces = [
            _Piece(*_chosen(scores[start:end], aggregation), offsets[start][0], offsets[end - 1][1])
            for start, end in pairwise([*starts, len(offsets)])
        ]
        if aggregation == "none":
            spans = [Span(self._labels[each.label], each.score, each.start, each.end) for each in pieces]
        else:
            spans = list(self._joined(pieces))
        return [span for span in spans if span.label not in self._ignored]

    def _joined(self, pieces: Sequence[_Piece]) -> Iterator[Span]:
        """Neighbours of one label together, unless the label says that an entity begins with it."""
        groups: list[list[_Piece]] = []
        for piece in pieces:
            begins, name = self._parts[piece.label]
            if groups and not begins and name == self._parts[groups[-1][-1].label][1]:
                groups[-1].append(piece)
            else:
                groups.append([piece])
        for group in groups:
            _, name = self._parts[group[0].label]
            yield Span(name, sum(piece.score for piece in group) / len(group), group[0].start, group[-1].end)


def _chosen(scores: NDArray[np.float64], aggregation: Aggregation) -> tuple[int, float]:
    """scores: [tokens of a word, labels]. -> (index of the label, its score)"""
    match aggregation:
        case "average":
            row = scores.mean(axis=0)
        case "max":
            row = scores[scores.max(axis=1).argmax()]
        case _:
            row = scores[0]
    best = int(row.argmax())
    return best, float(row[best])


def _parts(label: str, letters: str) -> tuple[bool, str]:
    """-> (whether it begins an entity even after one of the same label, the label without its prefix)"""
    match = _PREFIXED.fullmatch(label)
    if match is None or match[1] not in letters:
        return False, label
    return match[1] in _BEGINS, match[2]
