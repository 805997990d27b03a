#!/usr/bin/env bash
# Training a WordPiece or Unigram tokenizer twice on the same texts gives two different vocabularies; BPE does not.
# Seen 2026-11-29 with tokenizers 0.23.3: four trainings in one process, same texts, same settings: WordPiece and Unigram give four different
# files, BPE and WordLevel one. Ties between pairs are broken by the order of a hash map. A run that trains its tokenizer is so not repeatable by
# its seed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" tokenizers==0.23.3
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

texts = [" ".join(f"w{i}{j}" for i in range(40)) for j in range(30)]
kinds = {
    "BPE": (models.BPE, trainers.BpeTrainer),
    "WordLevel": (models.WordLevel, trainers.WordLevelTrainer),
    "WordPiece": (models.WordPiece, trainers.WordPieceTrainer),
    "Unigram": (models.Unigram, trainers.UnigramTrainer),
}


def trained(model, trainer):
    tokenizer = Tokenizer(model())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainer(vocab_size=200, show_progress=False))
    return sorted(tokenizer.get_vocab().items())


seen = {name: len({str(trained(*kind)) for _ in range(5)}) for name, kind in kinds.items()}
print("tokenizers", tokenizers.__version__)
for name, distinct in seen.items():
    print(f"{name}: {distinct} distinct vocabularies of 5 trainings")
sys.exit(0 if seen["BPE"] == seen["WordLevel"] == 1 and seen["WordPiece"] > 1 and seen["Unigram"] > 1 else 1)
PY
