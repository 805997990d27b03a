"""What a worker registers about its recipes. A recipe that cannot be used does not affect the others."""

import sys
from pathlib import Path

import msgspec
import pytest
from shared_schemas.specs import BUILT_IN_RECIPES
from training_worker.registering import capabilities

from tests.support.odd_recipes import install


def plug_in(folder: Path, name: str, source: str) -> str:
    """Makes a package with one module that an entry point names. -> the folder for PYTHONPATH."""
    package = folder / f"{name}-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[headrace.recipes]\n{name} = {name}:Own\n")
    (folder / f"{name}.py").write_text(source)
    return str(folder)


async def test_the_built_in_recipes_are_registered_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")

    recipes = (await capabilities()).recipes

    assert {info.name for info in recipes} == set(BUILT_IN_RECIPES)
    assert all(info.summary for info in recipes)


async def test_recipes_of_users_are_registered_with_their_own_hyperparameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install(tmp_path, ["Hanging", "Raising"])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(path.partition(":")[0])

    recipes = {info.name: info for info in (await capabilities()).recipes}

    assert recipes.keys() == {"hanging", "mlp", "raising", "transformer"}
    assert recipes["hanging"].summary.startswith("Prints for ever")
    assert {"mark", "epochs"} <= recipes["hanging"].hyperparameters["properties"].keys()
    assert recipes["hanging"].hyperparameters["additionalProperties"] is False


async def test_a_recipe_that_cannot_be_used_is_left_out_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "site"
    plug_in(folder, "broken", "print('on its way')\nimport nowhere_to_be_found\n")
    plug_in(folder, "misnamed", "class Own:\n    name = 'other'\n")
    loose = "import msgspec\nclass H(msgspec.Struct): pass\nclass Own:\n    name, hyperparameters = 'loose', H\n"
    plug_in(folder, "loose", loose)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))

    recipes = (await capabilities()).recipes

    assert {info.name for info in recipes} == set(BUILT_IN_RECIPES)
    printed = capfd.readouterr()
    assert "it cannot be imported: ModuleNotFoundError" in printed.out
    assert "calls itself other" in printed.out
    assert "must forbid unknown fields" in printed.out
    assert "on its way" in printed.err


def test_a_hyperparameter_that_does_not_fit_is_named_and_not_repeated() -> None:
    from shared_schemas.errors import SpecRejected
    from training_worker.installed import hyperparameters_of

    class Own(msgspec.Struct, forbid_unknown_fields=True):
        rank: int = 8

    class Recipe:
        hyperparameters = Own

    for given, place in (({"rank": "canary"}, "/rank"), ({"canary": 1}, "")):
        with pytest.raises(SpecRejected) as caught:
            hyperparameters_of(Recipe(), given)  # type: ignore[arg-type]
        assert caught.value.pointer == f"/hyperparameters{place}"
        assert str(caught.value).startswith(f"hyperparameters{place}: ")
