"""The optimiser and its schedule. The rate is a function of the step alone, so a resumed run needs no state."""

import math

import torch
from torch import nn

from recipe_kit.recipe import Plan


def optimiser_of(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only (Loshchilov and Hutter, 2019)."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98))


def learning_rate(plan: Plan, step: int, total: int) -> float:
    """Linear warm-up, then a cosine down to a tenth. step: from 0."""
    warmup = max(1, round(plan.warmup_fraction * total))
    if step < warmup:
        return plan.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return plan.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
