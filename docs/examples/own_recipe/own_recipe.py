"""A recipe of its own: linear regression on columns of numbers, by gradient descent. See
docs/recipes.md."""

from typing import Annotated

import msgspec
import torch
from recipe_kit.checkpoint import Vocabulary
from recipe_kit.context import Context, StoppedEarlyError
from recipe_kit.facts import facts_of
from recipe_kit.recipe import Export, Recipe, Trained
from shared_schemas.events import Measured, Progressed
from shared_schemas.models import TensorSpec
from torch import Tensor, nn
from torch.nn import functional


class PlaneHyperparameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    steps: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 500
    rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.05


class Plane(nn.Module):
    """(B, F) float64 -> (B,) float64"""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, 1, dtype=torch.float64)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features).squeeze(-1)


class PlaneRecipe(Recipe[PlaneHyperparameters]):
    """Predicts the last column as a linear function of the others."""

    name = "plane"
    hyperparameters = PlaneHyperparameters

    def train(self, context: Context[PlaneHyperparameters]) -> Trained:
        wanted, table = context.hyperparameters, context.data.table
        *features, target = table.columns
        columns = [table.numbers(name) for name in features]
        x = torch.tensor(columns, dtype=torch.float64).T.contiguous().to(context.device)
        y = torch.tensor(table.numbers(target), dtype=torch.float64).to(context.device)
        model = Plane(len(features)).to(context.device)
        optimiser = torch.optim.Adam(model.parameters(), lr=wanted.rate)
        vocabulary = Vocabulary(task="tabular-regression", features=tuple(features), target=target)

        state = context.restore(model, optimiser)
        context.begin(total_steps=wanted.steps)
        while state.step < wanted.steps:
            optimiser.zero_grad()
            loss = functional.mse_loss(model(x), y)
            loss.backward()
            optimiser.step()
            state.step += 1
            context.report(Measured(split="train", step=state.step, values={"loss": loss.item()}))
            fraction = state.step / wanted.steps
            context.report(Progressed(fraction=fraction, step=state.step, total=wanted.steps))
            if context.should_stop():
                context.save(state, model, optimiser, vocabulary)
                raise StoppedEarlyError
        context.save(state, model, optimiser, vocabulary)

        with torch.no_grad():
            rmse = functional.mse_loss(model(x), y).sqrt().item()
        n_features = len(features)
        return Trained(
            model=model,
            export=Export(
                examples=(x[:32].cpu(),),
                inputs=(TensorSpec(name="features", dtype="float64", shape=("batch", n_features)),),
                outputs=(TensorSpec(name="prediction", dtype="float64", shape=("batch",)),),
                dynamic=({0: "batch"},),
                classes_axis=None,
            ),
            vocabulary=vocabulary,
            steps=state.step,
            metrics={"rmse": rmse},
            baseline={"rmse": y.std().item()},
            data=facts_of(context.submitted, table, vocabulary, notes=()),
        )
