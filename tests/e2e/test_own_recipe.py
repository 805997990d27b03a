"""The recipe of docs/examples/own_recipe, used as docs/recipes.md says: registered, checked,
trained and served."""

import sys
from pathlib import Path

import anyio
import httpx
import pytest

from tests.support.gateways import ROOT, running_gateway
from tests.support.pages import blocks
from tests.support.training import write_csv
from tests.support.training_process import training_process

FOLDER = ROOT / "docs" / "examples" / "own_recipe"
PAGE = ROOT / "docs" / "recipes.md"
TRAINED_WITHIN_S = 120.0


def installed(folder: Path) -> str:
    """Install the package as pip does: a module and its entry points. -> PYTHONPATH"""
    package = folder / "own_recipe-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own-recipe\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[headrace.recipes]\nplane = own_recipe:PlaneRecipe\n")
    return f"{folder}:{FOLDER}:{ROOT}"


def test_the_package_names_its_recipe_as_the_test_installs_it() -> None:
    assert 'plane = "own_recipe:PlaneRecipe"' in (FOLDER / "pyproject.toml").read_text()
    assert 'plane = "own_recipe:PlaneRecipe"' in PAGE.read_text()


async def registered(http: httpx.AsyncClient) -> None:
    """Return once a worker is registered."""
    with anyio.fail_after(TRAINED_WITHIN_S):
        while True:
            if (await http.get("/workers")).json()["workers"]:
                return
            await anyio.sleep(0.05)


@pytest.mark.timeout(300)
async def test_a_recipe_of_a_user_is_registered_checked_and_trained(tmp_path: Path, redis_url: str) -> None:
    write_csv(
        tmp_path / "points.csv", ["a,b,height", *(f"{i % 5},{i % 3},{2 * (i % 5) - (i % 3) + 1}" for i in range(30))]
    )
    [block] = [block for block in blocks(PAGE) if block.language == "python"]
    path = installed(tmp_path / "site")
    with (
        running_gateway(redis_url, tmp_path) as gateway,
        training_process(redis_url, tmp_path, python_path=path, lease_s=15.0),
    ):
        async with gateway.client(timeout=TRAINED_WITHIN_S) as http:
            await registered(http)
            body = {"model_type": "plane", "data_path": "points.csv"}
            unknown = await http.post("/jobs/training", json={**body, "hyperparameters": {"epochs": 3}})
            out_of_bounds = await http.post("/jobs/training", json={**body, "hyperparameters": {"steps": 0}})
            recipes = [recipe["name"] for recipe in (await http.get("/recipes")).json()["recipes"]]

            program = block.text.replace("http://127.0.0.1:8000", str(http.base_url).rstrip("/"))
            with anyio.fail_after(TRAINED_WITHIN_S):
                done = await anyio.run_process([sys.executable, "-c", program], stderr=None)
            model = (await http.get("/models/points/versions/1")).json()

    assert (unknown.status_code, out_of_bounds.status_code) == (422, 422)
    assert "rate, steps" in unknown.json()["detail"]
    assert recipes == ["mlp", "plane", "transformer"]
    assert done.stdout.decode().splitlines() == ["['mlp', 'plane', 'transformer']", "succeeded"]
    assert model["manifest"]["hyperparameters"] == {"steps": 300}
    assert model["manifest"]["metrics"]["rmse"] < model["manifest"]["baseline"]["rmse"] / 2
