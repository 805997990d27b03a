#!/usr/bin/env bash
# The token-classification pipeline of transformers cuts labels at their first hyphen: pre-tax and post-tax are both "tax".
# Seen 2026-11-30 with transformers 5.24.0: with every aggregation_strategy but none, `entity_group` is what follows the first hyphen, whether B- or I- is before it or
# not. Entities are joined by the whole label, so neighbours that the answer calls alike stay apart.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" torch==2.15.0 transformers==5.24.0 tokenizers==0.23.3 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast, pipeline

transformers.logging.set_verbosity_error()
LABELS = {0: "pre-tax", 1: "post-tax"}
words = Tokenizer(models.WordLevel({"[UNK]": 0, "gross": 1, "net": 2}, unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", model_max_length=16)
config = BertConfig(
    vocab_size=3, hidden_size=4, num_hidden_layers=0, num_attention_heads=1, intermediate_size=4, id2label=LABELS
)
model = BertForTokenClassification(config).eval()
with torch.no_grad():
    # The label follows from the word alone.
    embeddings = model.bert.embeddings
    embeddings.word_embeddings.weight.copy_(torch.tensor([[0.0] * 4, [9.0, 0, 0, 0], [0, 9.0, 0, 0]]))
    embeddings.position_embeddings.weight.zero_()
    embeddings.token_type_embeddings.weight.zero_()
    model.classifier.weight.copy_(torch.eye(2, 4))
    model.classifier.bias.zero_()


def labels(strategy):
    label = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy=strategy)
    return [each.get("entity_group", each.get("entity")) for each in label("gross net")]


none, simple = labels("none"), labels("simple")
print("transformers", transformers.__version__, "none:", none, "simple:", simple)
sys.exit(0 if none == ["pre-tax", "post-tax"] and simple == ["tax", "tax"] else 1)
PY
