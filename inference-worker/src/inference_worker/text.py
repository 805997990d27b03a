"""Text to token ids and back, with the tokenizer that the model was published with. It knows neither tensors nor jobs.

Decoding is incremental. A character may span several tokens, so bytes are held back until the character is complete.
Byte-level BPE writes each byte as one printable character, by the table of GPT-2
(https://github.com/openai/gpt-2/blob/master/src/encoder.py, bytes_to_unicode).
"""

import codecs
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from anyio import to_thread
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed, InvalidInput
from shared_schemas.models import ModelManifest
from tokenizers import Encoding, Tokenizer, decoders

T = TypeVar("T")
# Encoding more characters than this takes milliseconds, which would block the event loop.
_LONG_TEXT = 10_000


class Spans(NamedTuple):
    """A text in tokens, and where each token is.

    ids: with the special tokens. first: the place in `ids` of the first token of the text; the others follow it.
    offsets: of each token of the text, (start, end) in it, in Unicode code points. begins_word: for each of them.
    n_cut: how many tokens at the end of the text were left out.
    """

    ids: list[int]
    first: int
    offsets: list[tuple[int, int]]
    begins_word: list[bool]
    n_cut: int


class TextCodec:
    def __init__(self, path: Path) -> None:
        """path: a tokenizer.json. AttemptFailed model_corrupt if it is not one."""
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise AttemptFailed("model_corrupt", "the tokenizer file is not valid") from error
        padding = self._tokenizer.padding
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # If a user writes "<eos>", it is text, not the end token.
        self._tokenizer.encode_special_tokens = True
        self.n_tokens = self._tokenizer.get_vocab_size()
        self.n_special = self._tokenizer.num_special_tokens_to_add(False)
        """How many special tokens the tokenizer adds to a text."""
        self.pad_id = self._pad_id() if padding is None else padding["pad_id"]
        self.bos_id = self._tokenizer.token_to_id("<bos>")
        self.eos_id = self._tokenizer.token_to_id("<eos>")
        added = self._tokenizer.get_added_tokens_decoder()
        self._added = {token_id: b"" if token.special else token.content.encode() for token_id, token in added.items()}
        self.special_ids = [i for i, token in added.items() if token.special]
        self.forbidden_ids = [i for i in self.special_ids if i != self.eos_id]
        """Special tokens that must not be generated: all but the end token."""

    @property
    def is_byte_level(self) -> bool:
        """Whether each token stands for bytes, as `bytes_of` needs."""
        return isinstance(self._tokenizer.decoder, decoders.ByteLevel)

    async def encode(self, text: str, *, longest: int | None = None) -> list[int]:
        """All ids, or the first `longest`, with the special tokens that the tokenizer adds. InvalidInput if there are
        none."""
        ids = (await self._ids(text, add_special_tokens=True))[:longest]
        if not ids:
            raise InvalidInput("the text is empty")
        return ids

    async def encode_within(self, text: str, longest: int, *, may_be_empty: bool = False) -> tuple[list[int], int]:
        """-> (at most `longest` ids, how many ids of the text were left out). The text is cut at its end, so the
        special tokens after it stay. longest: more than n_special. InvalidInput if the text itself has no tokens;
        with may_be_empty, only if there are no special tokens either."""

        def encode() -> tuple[list[int], int]:
            encoding = self._tokenizer.encode(text)
            cut = _cut(encoding, longest, self.n_special)
            if cut is None and not (may_be_empty and self.n_special):
                raise InvalidInput("the text is empty")
            return cut or (encoding.ids, 0)

        return await _in_time(len(text), encode)

    async def encode_all_within(self, texts: Sequence[str], longest: int) -> list[tuple[list[int], int] | None]:
        """As encode_within for each text, or None for a text without tokens."""

        def encode() -> list[tuple[list[int], int] | None]:
            return [_cut(each, longest, self.n_special) for each in self._tokenizer.encode_batch_fast(texts)]

        return await _in_time(sum(map(len, texts)), encode)

    async def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without special tokens."""
        return await _in_time(
            sum(map(len, texts)),
            lambda: [each.ids for each in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)],
        )

    async def encode_spans(self, text: str, longest: int) -> Spans:
        """As encode_within, with the place of each token in the text."""

        def encode() -> Spans:
            encoding = self._tokenizer.encode(text)
            is_special = encoding.special_tokens_mask
            if 0 not in is_special:
                raise InvalidInput("the text is empty")
            first, n_given = is_special.index(0), is_special.count(0)
            n_kept = min(n_given, longest - self.n_special)
            # post_process would trim the places of byte-level tokens a second time, so the ids are cut here.
            kept = slice(first, first + n_kept)
            return Spans(
                ids=[*encoding.ids[: kept.stop], *encoding.ids[first + n_given :]],
                first=first,
                offsets=encoding.offsets[kept],
                begins_word=self._begins_word(text, encoding.offsets[kept], encoding.word_ids[kept]),
                n_cut=n_given - n_kept,
            )

        return await _in_time(len(text), encode)

    def check_room(self, longest: int) -> None:
        """AttemptFailed model_unsupported if a context of so many tokens has room for special tokens only."""
        if longest <= self.n_special:
            raise AttemptFailed("model_unsupported", "the model's context has no room for a text")

    def example_pair(self) -> Encoding:
        """Two texts with the special tokens that the tokenizer puts around and between them. Each text has a token if
        any text has one."""
        return self._tokenizer.encode("a", "a")

    async def encode_prompt(self, text: str) -> list[int]:
        """<bos>, if the tokenizer has it, and the ids of the text. InvalidInput if there are none."""
        ids = await self._ids(text, add_special_tokens=False)
        if self.bos_id is not None:
            ids = [self.bos_id, *ids]
        if not ids:
            raise InvalidInput("the prompt is empty")
        return ids

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes of a token; none for a special token or an unknown id."""
        if token_id in self._added:
            return self._added[token_id]
        token = self._tokenizer.id_to_token(token_id)
        return bytes(_BYTE_OF[character] for character in token or "" if character in _BYTE_OF)

    async def _ids(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return await _in_time(
            len(text), lambda: self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        )

    def _begins_word(self, text: str, offsets: list[tuple[int, int]], word_ids: list[int | None]) -> list[bool]:
        """For each token of a text. A tokenizer that marks the tokens inside a word, such as WordPiece, knows the
        words. Of another, words are what white space separates."""
        if getattr(self._tokenizer.model, "continuing_subword_prefix", None):
            return [place == 0 or word_ids[place] != word_ids[place - 1] for place in range(len(word_ids))]
        return [start == 0 or any(each.isspace() for each in text[start - 1 : start + 1]) for start, _ in offsets]

    def _pad_id(self) -> int:
        """Of a tokenizer that does not say how it pads."""
        known = [self._tokenizer.token_to_id(token) for token in ("<pad>", "[PAD]")]
        return next((token_id for token_id in known if token_id is not None), 0)


def _cut(encoding: Encoding, longest: int, n_special: int) -> tuple[list[int], int] | None:
    """-> (at most `longest` ids, how many were left out), or None if there are only special tokens. What is left out is
    the end of the text, before the special tokens that follow it."""
    ids = encoding.ids
    n_cut = max(0, len(ids) - longest)
    if len(ids) <= n_special:
        return None
    if n_cut:
        end = len(ids) - encoding.special_tokens_mask[::-1].index(0)
        ids = [*ids[: end - n_cut], *ids[end:]]
    return ids, n_cut


async def _in_time(n_characters: int, encode: Callable[[], T]) -> T:
    """Encode short texts at once, and long ones in a thread."""
    return encode() if n_characters <= _LONG_TEXT else await to_thread.run_sync(encode)


class TextStream:
    """Turns tokens into chunks of text, each as early as it is certain. It holds back an incomplete
    character, and what may be the beginning of a stop string. The chunks joined are the text."""

    def __init__(self, codec: TextCodec, stop: tuple[str, ...] = ()) -> None:
        self._codec = codec
        self._stop = stop
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held_back = ""
        self.is_stopped = False

    def push(self, token_id: int) -> str:
        """The text that is certain after this token."""
        return self._release(self._decoder.decode(self._codec.bytes_of(token_id)), is_last=False)

    def finish(self) -> str:
        """The text that was held back; an incomplete character becomes U+FFFD."""
        return self._release(self._decoder.decode(b"", final=True), is_last=True)

    def _release(self, text: str, *, is_last: bool) -> str:
        if self.is_stopped:
            return ""
        text = self._held_back + text
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.is_stopped, self._held_back = True, ""
            return text[: min(found)]
        n_held_back = 0 if is_last else self._possible_stop(text)
        self._held_back = text[len(text) - n_held_back :]
        return text[: len(text) - n_held_back]

    def _possible_stop(self, text: str) -> int:
        """How many characters at the end of the text may be the beginning of a stop string."""
        longest = max((len(stop) for stop in self._stop), default=0) - 1
        for n in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-n:]) for stop in self._stop):
                return n
        return 0


def open_codec(manifest: ModelManifest, load: Callable[[ArtifactRef], Path]) -> tuple[TextCodec, int]:
    """-> (codec, context length in tokens). load: gives the verified file of an artifact.
    AttemptFailed:
    model_unsupported if the manifest lacks one of them; model_corrupt; model_unavailable."""
    if manifest.tokenizer is None or manifest.context_length is None:
        raise AttemptFailed("model_unsupported", "the model was published without a tokenizer or context length")
    return TextCodec(load(manifest.tokenizer)), manifest.context_length


def _byte_table() -> dict[str, int]:
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in table.values()]
    return table | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_table()
