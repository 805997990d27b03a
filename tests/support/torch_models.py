"""Small transformers in torch, exported to ONNX as a user would, to compare a worker's answers with torch.

Their weights are random and fixed: the tests ask for the same numbers, not for sense.
"""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

WIDTH, HEADS, LAYERS, LONGEST = 32, 4, 2, 64


class Encoder(nn.Module):
    """(B, L) int64 each -> (B, L, WIDTH) float32, as BERT does it."""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        self.tokens, self.types = nn.Embedding(n_tokens, WIDTH), nn.Embedding(2, WIDTH)
        self.positions = nn.Embedding(LONGEST, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.attentions = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(LAYERS))
        self.joins = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2 * LAYERS))
        self.ups = nn.ModuleList(nn.Linear(WIDTH, 4 * WIDTH) for _ in range(LAYERS))
        self.downs = nn.ModuleList(nn.Linear(4 * WIDTH, WIDTH) for _ in range(LAYERS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        batch, length = input_ids.shape
        positions = torch.arange(length, device=input_ids.device)
        states = self.norm(self.tokens(input_ids) + self.types(token_type_ids) + self.positions(positions))
        hidden = (1.0 - attention_mask[:, None, None, :].float()) * -1e9
        for layer in range(LAYERS):
            parts = self.attentions[layer](states).view(batch, length, 3, HEADS, WIDTH // HEADS)
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            weights = (query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5 + hidden).softmax(dim=-1)
            joined = (weights @ value).transpose(1, 2).reshape(batch, length, WIDTH)
            states = self.norms[2 * layer](states + self.joins[layer](joined))
            grown = nn.functional.gelu(self.ups[layer](states))
            states = self.norms[2 * layer + 1](states + self.downs[layer](grown))
        return states


class CrossEncoder(nn.Module):
    """(B, L) int64 each -> (B, 1) float32"""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(n_tokens), nn.Linear(WIDTH, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        states = self.encoder(input_ids, attention_mask, token_type_ids)
        return self.head(torch.tanh(states[:, 0]))


class TokenClassifier(nn.Module):
    """(B, L) int64 each -> (B, L, n_labels) float32"""

    def __init__(self, n_tokens: int, n_labels: int) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(n_tokens), nn.Linear(WIDTH, n_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.head(self.encoder(input_ids, attention_mask, token_type_ids))


class ConvolutionalNetwork(nn.Module):
    """(B, 3, H, W) float32 -> (B, n_labels) float32"""

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, n_labels),
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.layers(pixel_values)


def exported_pictures(model: nn.Module, path: Path, *, height: int, width: int) -> bytes:
    """The ONNX file of a model of pixel_values [batch, 3, height, width], with one output `logits`."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            (torch.ones((2, 3, height, width)),),
            dynamo=True,
            input_names=["pixel_values"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    program.save(str(path), external_data=False)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return path.read_bytes()


def seeded(make: type[nn.Module], *sizes: int, seed: int = 0) -> nn.Module:
    """A model with random weights, which are the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make(*sizes).eval()


def exported(model: nn.Module, path: Path) -> bytes:
    """The ONNX file of a model of input_ids, attention_mask and token_type_ids, with one output `logits`."""
    batch, length = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("length", min=1, max=LONGEST)
    example = torch.ones((2, 16), dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            (example, example.clone(), example.clone()),
            dynamo=True,
            input_names=names,
            output_names=["logits"],
            dynamic_shapes=({0: batch, 1: length},) * 3,
            verbose=False,
        )
    program.save(str(path), external_data=False)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return path.read_bytes()
