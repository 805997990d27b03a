"""Texts become tokens, and tokens become the same text, chunk by chunk."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from inference_worker.text import TextCodec, TextStream
from shared_schemas.errors import AttemptFailed, InvalidInput
from tokenizers import Tokenizer

from tests.support.onnx_models import byte_tokenizer, word_tokenizer

LINES = ["naïve café, 日本語 and 🙂🙃", "the cat sat on the mat", "the naïve cat sat in the café"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_bytes(byte_tokenizer(LINES, vocabulary_size=300))
    return path


@pytest.fixture(scope="module")
def codec(path: Path) -> TextCodec:
    return TextCodec(path)


def chunks_of(codec: TextCodec, ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    stream = TextStream(codec, stop)
    return [*(stream.push(token_id) for token_id in ids), stream.finish()]


@given(ids=st.lists(st.integers(0, 299), max_size=40))
def test_any_tokens_stream_to_exactly_what_the_tokenizer_decodes(path: Path, codec: TextCodec, ids: list[int]) -> None:
    assert "".join(chunks_of(codec, ids)) == Tokenizer.from_file(str(path)).decode(ids)


@given(text=st.text(max_size=30))
async def test_a_text_survives_encoding_and_streaming(codec: TextCodec, text: str) -> None:
    ids = await codec.encode_prompt(text)

    chunks = chunks_of(codec, ids)

    assert "".join(chunks) == text
    assert all("�" not in chunk for chunk in chunks) or "�" in text


async def test_a_character_of_many_tokens_is_held_back_until_it_is_whole(codec: TextCodec) -> None:
    ids = (await codec.encode_prompt("é⚙"))[1:]

    chunks = chunks_of(codec, ids)

    assert [chunk for chunk in chunks if chunk] == ["é", "⚙"]
    assert len(ids) > 2


def test_an_incomplete_character_at_the_end_becomes_a_replacement_character(codec: TextCodec) -> None:
    half = next(i for i in range(300) if codec.bytes_of(i) == b"\xe6")

    assert chunks_of(codec, [half]) == ["", "�"]


@given(
    text=st.text("ab\n", max_size=20), stop=st.lists(st.text("ab\n", min_size=1, max_size=3), min_size=1, max_size=3)
)
async def test_the_text_ends_before_the_first_stop_string(codec: TextCodec, text: str, stop: list[str]) -> None:
    stream = TextStream(codec, tuple(stop))
    shown = ""
    for token_id in (await codec.encode_prompt(text))[1:]:
        shown += stream.push(token_id)
        assert not any(one in shown for one in stop)
    shown += stream.finish()

    cuts = [text.index(one) for one in stop if one in text]
    assert text.startswith(shown)
    assert stream.is_stopped == bool(cuts)
    if not cuts:
        assert shown == text
    else:
        assert not any(one in shown for one in stop)
        assert any(text[len(shown) :].startswith(one) for one in stop)


async def test_a_prompt_begins_with_bos_and_special_tokens_in_it_are_plain_text(codec: TextCodec) -> None:
    ids = await codec.encode_prompt("<eos> x")

    assert ids[0] == 2
    assert codec.eos_id not in ids
    assert "".join(chunks_of(codec, ids)) == "<eos> x"


async def test_a_text_is_cut_on_the_right_and_must_not_be_empty(codec: TextCodec) -> None:
    whole = await codec.encode("the cat sat", longest=100)

    assert await codec.encode("the cat sat", longest=2) == whole[:2]
    with pytest.raises(InvalidInput):
        await codec.encode("", longest=2)


async def test_a_long_text_is_encoded_the_same(codec: TextCodec) -> None:
    short = await codec.encode_prompt(" cat" * 100)

    assert await codec.encode_prompt(" cat" * 10_000) == short[:1] + short[1:] * 100


def test_a_broken_tokenizer_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": 1}')

    with pytest.raises(AttemptFailed) as refusal:
        TextCodec(path)
    assert refusal.value.info().code == "model_corrupt"


@given(texts=st.lists(st.text("ab <>eos", max_size=30), max_size=5), longest=st.integers(3, 20))
async def test_texts_are_encoded_together_as_alone(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], longest: int
) -> None:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_bytes(word_tokenizer(["a", "b"]))
    words = TextCodec(path)

    together = await words.encode_all_within(texts, longest)

    for text, found in zip(texts, together, strict=True):
        if found is None:
            with pytest.raises(InvalidInput):
                await words.encode_within(text, longest)
            assert await words.encode_within(text, longest, may_be_empty=True) == ([2, 3], 0)
        else:
            assert found == await words.encode_within(text, longest)
            ids, n_cut = found
            assert (ids[0], ids[-1]) == (2, 3)
            assert len(ids) <= longest
            assert not n_cut or len(ids) == longest


async def test_a_cut_text_has_the_tokens_that_the_tokenizer_keeps(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(word_tokenizer(["a", "b"]))
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(8)
    words = TextCodec(path)

    for text in ("a b " * 2, "a b " * 4, "b " * 20_000):
        ids, n_cut = await words.encode_within(text, 8)
        assert ids == tokenizer.encode(text).ids
        assert len(ids) + n_cut == len(text.split()) + 2
