"""A query and its documents become the tokens that the tokenizer itself makes of each pair."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from inference_worker.text import TextCodec
from inference_worker.text_pairs import PairCodec, Truncation
from shared_schemas.errors import AttemptFailed, InvalidInput
from tokenizers import Tokenizer, processors

from tests.support.onnx_models import byte_tokenizer, word_tokenizer

WORDS = ["a", "b", "c"]
SEP, CLS = ("[SEP]", 3), ("[CLS]", 2)
PROCESSORS = {
    "bert": processors.BertProcessing(SEP, CLS),
    "roberta": processors.RobertaProcessing(SEP, CLS),
    "types in front": processors.TemplateProcessing(
        single="$A", pair="[CLS]:1 [SEP] $A:1 [SEP] $B:0", special_tokens=[SEP, CLS]
    ),
    "two parts": processors.Sequence(
        [processors.ByteLevel(), processors.TemplateProcessing(single="$A", pair="$A [SEP] $B", special_tokens=[SEP])]
    ),
}
TEXTS = st.text(alphabet="abc x", max_size=40)


def a_tokenizer(processor: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(word_tokenizer(WORDS).decode())
    tokenizer.post_processor = PROCESSORS[processor]
    return tokenizer


def codec_of(tokenizer: Tokenizer, folder: Path) -> TextCodec:
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return TextCodec(path)


@pytest.mark.parametrize("truncation", ["longest_first", "only_second"])
@pytest.mark.parametrize("processor", PROCESSORS)
@given(
    query=TEXTS.filter(lambda text: bool(text.strip())),
    documents=st.lists(TEXTS, min_size=1, max_size=4),
    longest=st.integers(7, 40),
)
async def test_a_pair_has_the_tokens_that_the_tokenizer_makes_and_cuts_by_itself(
    tmp_path_factory: pytest.TempPathFactory,
    processor: str,
    truncation: Truncation,
    query: str,
    documents: list[str],
    longest: int,
) -> None:
    tokenizer = a_tokenizer(processor)
    n_special = tokenizer.num_special_tokens_to_add(True)
    pairs = PairCodec(codec_of(tokenizer, tmp_path_factory.mktemp("t")), longest=longest, truncation=truncation)
    whole = [tokenizer.encode(query, document) for document in documents]
    if truncation == "only_second" and len(tokenizer.encode(query, add_special_tokens=False)) >= longest - n_special:
        with pytest.raises(InvalidInput, match="no room"):
            await pairs.encode(query, documents)
        return

    encoded = await pairs.encode(query, documents)

    tokenizer.enable_truncation(longest, strategy=truncation)
    for pair, document, uncut in zip(encoded, documents, whole, strict=True):
        expected = tokenizer.encode(query, document)
        assert (pair.ids, pair.token_types) == (expected.ids, expected.type_ids)
        assert len(pair.ids) + pair.n_cut == len(uncut.ids)


async def test_a_query_without_tokens_is_refused_and_a_document_without_them_is_not(tmp_path: Path) -> None:
    pairs = PairCodec(codec_of(a_tokenizer("bert"), tmp_path), longest=20, truncation="longest_first")

    assert [pair.ids for pair in await pairs.encode("a", [" ", "b"])] == [[2, 4, 3, 3], [2, 4, 3, 5, 3]]
    with pytest.raises(InvalidInput, match="query is empty"):
        await pairs.encode(" ", ["b"])


async def test_special_tokens_in_a_text_are_plain_text(tmp_path: Path) -> None:
    pairs = PairCodec(codec_of(a_tokenizer("bert"), tmp_path), longest=20, truncation="longest_first")

    [pair] = await pairs.encode("a", ["[SEP]"])

    assert pair.ids.count(SEP[1]) == 2


async def test_long_texts_are_cut_as_short_ones(tmp_path: Path) -> None:
    pairs = PairCodec(codec_of(a_tokenizer("bert"), tmp_path), longest=9, truncation="longest_first")

    [pair] = await pairs.encode("a " * 50_000, ["b " * 100_000])

    assert pair.ids == [2, 4, 4, 4, 3, 5, 5, 5, 3]
    assert pair.n_cut == 150_000 - 6


@pytest.mark.parametrize("case", ["nothing between", "no special tokens", "turned round", "no room"])
def test_a_tokenizer_that_cannot_tell_two_texts_apart_is_unsupported(tmp_path: Path, case: str) -> None:
    tokenizer = a_tokenizer("bert")
    if case == "nothing between":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A", pair="[CLS] $A $B:1 [SEP]", special_tokens=[SEP, CLS]
        )
    elif case == "no special tokens":
        tokenizer = Tokenizer.from_str(byte_tokenizer().decode())
    elif case == "turned round":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A", pair="$B:1 [SEP] $A", special_tokens=[SEP]
        )
    codec = codec_of(tokenizer, tmp_path)

    with pytest.raises(AttemptFailed) as refusal:
        PairCodec(codec, longest=4 if case == "no room" else 20, truncation="longest_first")

    assert refusal.value.info().code == "model_unsupported"
