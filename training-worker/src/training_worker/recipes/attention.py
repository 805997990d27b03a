"""A small transformer, causal or not, that can be exported to ONNX. Knows no recipe and no data.

Shapes: B batch, T tokens, D width, C classes, V entries of the vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Pre-norm attention and feed-forward (Xiong et al., "On Layer Normalization in the Transformer", 2020)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D). mask: float, broadcast to (B, heads, T, T); 0 where a token may attend to
        another, and very negative elsewhere."""
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm_attention(x)).chunk(3, dim=-1)
        q, k, v = (t.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2) for t in (q, k, v))
        scores = q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5 + mask
        attended = (functional.softmax(scores, dim=-1) @ v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.dropout(self.out(attended))
        y: Tensor = x + self.dropout(self.down(functional.gelu(self.up(self.norm_forward(x)))))
        return y


class Transformer(nn.Module):
    """ids (B, T), attention_mask (B, T) of 1 and 0 -> states (B, T, D)."""

    def __init__(self, *, vocabulary: int, context: int, width: int, layers: int, heads: int, dropout: float,
                 is_causal: bool) -> None:  # fmt: skip
        super().__init__()
        self.is_causal = is_causal
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        length = ids.shape[1]
        x = self.dropout(self.tokens(ids) + self.positions(torch.arange(length, device=ids.device)))
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -1e9
        if self.is_causal:
            place = torch.arange(length, device=ids.device)
            mask = mask + (place[None, :] > place[:, None]).to(x.dtype) * -1e9
        for block in self.blocks:
            x = block(x, mask)
        states: Tensor = self.norm(x)
        return states


class Classifier(nn.Module):
    """input_ids (B, T), attention_mask (B, T) -> logits (B, C), from the mean state of the tokens
    that are no padding."""

    def __init__(self, body: Transformer, n_classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.norm.normalized_shape[0], n_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.body(input_ids, attention_mask)
        weights = attention_mask.to(states.dtype).unsqueeze(-1)
        pooled = (states * weights).sum(1) / weights.sum(1).clamp_min(1.0)
        logits: Tensor = self.head(pooled)
        return logits


class LanguageModel(nn.Module):
    """input_ids (B, T), attention_mask (B, T) -> logits (B, T, V). The embedding is also the output
    layer (Press and Wolf, "Using the Output Embedding to Improve Language Models", 2017)."""

    def __init__(self, body: Transformer) -> None:
        super().__init__()
        self.body = body

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.body(input_ids, attention_mask) @ self.body.tokens.weight.T
        return logits
