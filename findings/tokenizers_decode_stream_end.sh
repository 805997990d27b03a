#!/usr/bin/env bash
# DecodeStream of tokenizers never gives out the end of a text that stops inside a character.
# Seen 2026-11-29 with tokenizers 0.23.3: fed the tokens of a byte-level model one by one, the steps hold back bytes that are no whole character, and there
# is no call for the end. Where generation stops there (max_tokens), the pieces together are shorter than decode() of the same tokens, which
# ends in U+FFFD. A streamed and an unstreamed answer to one request so differ.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" tokenizers==0.23.3
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.decoders import DecodeStream

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator(["plain text"], trainers.BpeTrainer(vocab_size=260, initial_alphabet=alphabet, show_progress=False))
ids = tokenizer.encode("caf\u00e9").ids[:-1]
stream = DecodeStream()
pieces = [stream.step(tokenizer, token) for token in ids]
streamed, whole = "".join(piece or "" for piece in pieces), tokenizer.decode(ids)
print("tokenizers", tokenizers.__version__)
print("streamed", ascii(streamed), "whole", ascii(whole), "more calls:", [name for name in dir(stream) if not name.startswith("_")])
sys.exit(0 if streamed == "caf" and whole == "caf\ufffd" else 1)
PY
