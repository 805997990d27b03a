#!/usr/bin/env bash
# Tokenizer.post_process of tokenizers trims the offsets of a byte-level token a second time: "world" of "hello world" begins at its "o".
# Seen 2026-11-30 with tokenizers 0.23.3: encode(add_special_tokens=False), cut, then post_process is the way to cut a text before its last special token. encode has
# moved the start of each token past its space by then, and post_process moves it again by as much.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" tokenizers==0.23.3
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

text = "hello world"
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False)
tokenizer.train_from_iterator([text] * 9, trainer)
tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
whole = tokenizer.encode(text)
parts = tokenizer.encode(text, add_special_tokens=False)
again = tokenizer.post_process(parts)
print("tokenizers", tokenizers.__version__, "tokens:", whole.tokens)
shown = [[text[start:end] for start, end in each.offsets] for each in (whole, parts, again)]
print("encode:", shown[0], "without special tokens:", shown[1], "then post_process:", shown[2])
sys.exit(0 if whole.ids == again.ids and shown[0][2] == "world" and shown[2][2] == "orld" else 1)
PY
