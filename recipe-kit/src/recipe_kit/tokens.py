"""Byte-level BPE: turns any text into tokens, from which the same text can be decoded.

Knows no model. The inference worker uses the tokenizer that is published with a model.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

# The ids of the special tokens, in the order of SPECIAL.
PAD, UNKNOWN, BEGIN, END = range(4)
SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """vocabulary: the largest number of tokens, with the special ones and the 256 bytes, which it
    always has."""
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def read_tokenizer(text: str) -> Tokenizer:
    """text: of a tokenizer.json."""
    return Tokenizer.from_str(text)


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, without special tokens."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
