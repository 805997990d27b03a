# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "onnx==1.23.2",
#     "onnxscript==0.7.2",
#     "tokenizers==0.23.3",
#     "torch==2.15.0",
#     "transformers==5.24.0",
# ]
# ///
"""Writes token classifiers of transformers, and what its own pipeline answers with each strategy.

    uv run --script tests/references/token_pipeline.py FOLDER

FOLDER gets, for each kind of tokenizer, KIND.onnx, KIND-tokenizer.json and KIND-expected.json. The weights are random
and fixed, so that the labels change often.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast, pipeline

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
STRATEGIES = ["none", "simple", "first", "average", "max"]
LONGEST = 48
TEXTS = [
    "Ada Lovelace met Charles Babbage in London, in 1833.",
    "naïve café 日本語 🙂 (x) 3.5% -- unbelievable",
    "x",
    "a text that is longer than the model's context " * 8,
]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


class Labeller(nn.Module):
    """(B, L) int64 each -> (B, L, labels) float32"""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def write(folder: Path, kind: str, tokenizer: Tokenizer) -> None:
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = (
        processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
        if kind == "wordpiece"
        else processors.RobertaProcessing(ids[1], ids[0])
    )
    tokenizer.save(str(folder / f"{kind}-tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=1.0,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        attn_implementation="eager",
    )
    model = BertForTokenClassification(config).eval()
    example = torch.ones((2, 16), dtype=torch.int64)
    batch, length = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("length", min=1, max=64)
    with torch.no_grad():
        program = torch.onnx.export(
            Labeller(model).eval(),
            (example, example.clone(), example.clone()),
            dynamo=True,
            input_names=["input_ids", "attention_mask", "token_type_ids"],
            output_names=["logits"],
            dynamic_shapes=({0: batch, 1: length},) * 3,
            verbose=False,
        )
    program.save(str(folder / f"{kind}.onnx"), external_data=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=LONGEST,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    expected = []
    for strategy in STRATEGIES:
        label = pipeline("token-classification", model=model, tokenizer=fast, aggregation_strategy=strategy)
        for text in TEXTS:
            entities = [
                {
                    "label": each.get("entity", each.get("entity_group")),
                    "score": float(each["score"]),
                    "start": int(each["start"]),
                    "end": int(each["end"]),
                }
                for each in label(text)
            ]
            expected.append({"text": text, "aggregation": strategy, "entities": entities})
    made = {"labels": LABELS, "context_length": LONGEST, "expected": expected}
    (folder / f"{kind}-expected.json").write_text(json.dumps(made))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for kind, tokenizer in (("wordpiece", wordpiece()), ("bytes", byte_level())):
        write(folder, kind, tokenizer)


if __name__ == "__main__":
    main()
