"""Pairs of texts to token ids: a query with each of its documents, as a cross-encoder reads them. It knows neither
tensors nor jobs.

The query is encoded once, and the documents together. What the tokenizer puts around and between the two texts is
learnt from it once.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from shared_schemas.errors import AttemptFailed, InvalidInput
from tokenizers import Encoding

from inference_worker.text import TextCodec

Truncation = Literal["longest_first", "only_second"]


class Pair(NamedTuple):
    """ids, token_types: of both texts with the special tokens. n_cut: how many tokens of the texts were left out."""

    ids: list[int]
    token_types: list[int]
    n_cut: int


class _Specials(NamedTuple):
    """Special tokens that follow each other, and their types."""

    ids: list[int]
    token_types: list[int]


class PairCodec:
    def __init__(self, codec: TextCodec, *, longest: int, truncation: Truncation) -> None:
        """longest: the context of the model in tokens. AttemptFailed model_unsupported if the tokenizer does not
        separate two texts, or if the context has no room for a token of each."""
        self._codec, self._truncation = codec, truncation
        self._around, self._types = _template(codec)
        self._room = longest - sum(len(specials.ids) for specials in self._around)
        if self._room < 2:
            raise AttemptFailed("model_unsupported", "the model's context has no room for a query and a document")

    async def encode(self, query: str, documents: Sequence[str]) -> list[Pair]:
        """The query with each document. InvalidInput if the query has no tokens, or so many that nothing of a document
        could be read."""
        query_ids, *of_documents = await self._codec.encode_all([query, *documents])
        if not query_ids:
            raise InvalidInput("the query is empty", pointer="/query")
        if self._truncation == "only_second" and len(query_ids) >= self._room:
            raise InvalidInput("the query leaves no room for a document", pointer="/query")
        return [self._joined(query_ids, ids) for ids in of_documents]

    def _joined(self, first: list[int], second: list[int]) -> Pair:
        n_first, n_second = self._kept(len(first), len(second))
        before, between, after = self._around
        type_of_first, type_of_second = self._types
        return Pair(
            ids=[*before.ids, *first[:n_first], *between.ids, *second[:n_second], *after.ids],
            token_types=[
                *before.token_types,
                *[type_of_first] * n_first,
                *between.token_types,
                *[type_of_second] * n_second,
                *after.token_types,
            ],
            n_cut=len(first) - n_first + len(second) - n_second,
        )

    def _kept(self, n_first: int, n_second: int) -> tuple[int, int]:
        """How many tokens of each text are kept, as `Tokenizer.enable_truncation` has it."""
        if n_first + n_second <= self._room:
            return n_first, n_second
        if self._truncation == "only_second":
            return n_first, self._room - n_first
        half = self._room // 2
        if n_first > n_second:
            kept_second = min(n_second, half)
            return self._room - kept_second, kept_second
        kept_first = min(n_first, half)
        return kept_first, self._room - kept_first


def _template(codec: TextCodec) -> tuple[tuple[_Specials, _Specials, _Specials], tuple[int, int]]:
    """-> (the special tokens before, between and after two texts, the types of the tokens of the texts)"""
    encoding = codec.example_pair()
    texts = encoding.sequence_ids
    bounds = [place for place, (one, next_one) in enumerate(pairwise([-1, *texts, -1])) if one != next_one]
    runs = [(texts[start], start, end) for start, end in pairwise(bounds)]
    named = [which for which, _, _ in runs if which is not None]
    if named != [0, 1]:
        raise AttemptFailed("model_unsupported", "the tokenizer does not put a query before a document")
    [(_, first_start, first_end), (_, second_start, second_end)] = [run for run in runs if run[0] is not None]
    if first_end == second_start:
        raise AttemptFailed("model_unsupported", "the tokenizer puts nothing between a query and a document")
    around = (
        _specials(encoding, 0, first_start),
        _specials(encoding, first_end, second_start),
        _specials(encoding, second_end, len(texts)),
    )
    return around, (encoding.type_ids[first_start], encoding.type_ids[second_start])


def _specials(encoding: Encoding, start: int, end: int) -> _Specials:
    return _Specials(encoding.ids[start:end], encoding.type_ids[start:end])
