"""A recipe of a user may train a model of the task tensors, and a worker serves it."""

from pathlib import Path

import pytest

from tests.support.gateways import ROOT
from tests.support.odd_recipes import install_package
from tests.support.training import assignment, trained, write_csv
from tests.training.test_scaling import serving

EXAMPLE = ROOT / "docs" / "examples" / "own_recipe"


# The recipe of docs/examples, for a model that is served as tensors.
RECIPE = """
import msgspec
from own_recipe import PlaneRecipe


class TensorRecipe(PlaneRecipe):
    name = "plane_of_tensors"

    def train(self, context):
        made = super().train(context)
        vocabulary = msgspec.structs.replace(made.vocabulary, task="tensors")
        return msgspec.structs.replace(made, vocabulary=vocabulary, batch_axis="batch")
"""


@pytest.fixture
def installed_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Visible by an entry point, as the recipe of a user's package is."""
    site = tmp_path / "site"
    install_package(site, "tensor_recipe", {"plane_of_tensors": "tensor_recipe:TensorRecipe"})
    (site / "tensor_recipe.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.usefixtures("installed_recipe")
async def test_a_recipe_publishes_a_model_of_tensors_that_runs_jobs_together(tmp_path: Path) -> None:
    write_csv(tmp_path / "points.csv", ["a,b,height", *(f"{i % 5},{i % 3},{2 * (i % 5) - i % 3}" for i in range(30))])

    finished, _ = trained(
        assignment(tmp_path, model_type="plane_of_tensors", data_path="points.csv", hyperparameters={})
    )
    async with serving(tmp_path, finished.manifest) as ask:
        one, two = await ask([{"features": [[1, 1]]}, {"features": [[2, 1], [4, 0]]}])

    assert (finished.manifest.task, finished.manifest.batch_axis) == ("tensors", "batch")
    assert one["outputs"]["prediction"]["shape"] == [1]
    assert two["outputs"]["prediction"]["data"] == pytest.approx([3.0, 8.0], abs=0.2)
