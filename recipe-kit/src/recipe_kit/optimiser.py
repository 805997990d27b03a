"""The optimiser and the schedule of its learning rate. Knows no data and no loop.

The rate depends only on the step, so a resumed run needs no state of the schedule.
"""

import math

import msgspec
import torch
from torch import nn


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How to train: the hyperparameters, completed with the recipe's defaults.

    batch_size: rows of a step.
    learning_rate: the highest, after the warm-up.
    warmup_fraction: the part of all steps in which the rate rises, from 0 to 1.
    max_steps: ends the run even if epochs are left; None for no limit.
    checkpoint_every_s: seconds from one checkpoint to the next.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_fraction: float
    max_steps: int | None
    checkpoint_every_s: float = 30.0


def plan_of(wanted: msgspec.Struct, defaults: Plan) -> Plan:
    """wanted: a Struct of hyperparameters. Those with the name of a field of Plan replace the
    recipe's default, unless they are None."""
    given = {field: value for field in Plan.__struct_fields__ if (value := getattr(wanted, field, None)) is not None}
    return msgspec.structs.replace(defaults, **given)


def adamw(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices only (Loshchilov and Hutter, "Decoupled Weight Decay
    Regularization", 2019)."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98))


def learning_rate(plan: Plan, step: int, total: int) -> float:
    """The rate of a step: a linear warm-up, then a cosine down to a tenth. step: from 0. total:
    steps of the whole run."""
    warmup = max(1, round(plan.warmup_fraction * total))
    if step < warmup:
        return plan.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return plan.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
