"""The optimiser and its schedule. The rate is a function of the step alone, so a resumed run needs no state."""

import math

import msgspec
import torch
from torch import nn


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How to train: the hyperparameters with the recipe's defaults filled in. max_steps None: epochs alone decide.
    checkpoint_every_s: a checkpoint is saved that long after the one before it, in seconds."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_fraction: float
    max_steps: int | None
    checkpoint_every_s: float = 30.0


def plan_of(wanted: msgspec.Struct, defaults: Plan) -> Plan:
    """What was asked for, and the recipe's defaults for the rest. wanted: hyperparameters that are called as the fields
    of a plan, None where nothing was asked for."""
    given = {field: value for field in Plan.__struct_fields__ if (value := getattr(wanted, field, None)) is not None}
    return msgspec.structs.replace(defaults, **given)


def adamw(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
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
