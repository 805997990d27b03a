"""What a worker registers of its recipes: their names, and the schemas of their hyperparameters. Loads no torch itself.

A recipe of a user may import torch, and may fail to. So all that are not built in are imported by a process of its own:

    python -m training_worker.registering

prints them, a JSON object in each line.
"""

import sys
from collections.abc import Iterator
from subprocess import CalledProcessError

import anyio
import msgspec
import structlog
from shared_schemas.capabilities import Capabilities, RecipeInfo, built_in_recipes, info_of
from shared_schemas.errors import HeadraceError
from shared_schemas.specs import BUILT_IN_RECIPES

from training_worker.installed import find, installed
from training_worker.supervision import child_environment

# Longer than PyTorch takes to load on a machine that is busy.
LISTING_S = 120.0
_encode = msgspec.json.Encoder().encode


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """recipe: None where it cannot be used, and then `fault` says why."""

    name: str
    recipe: RecipeInfo | None = None
    fault: str = ""


async def capabilities() -> Capabilities:
    """A recipe that cannot be used is left out, which is told in the log."""
    recipes = {info.name: info for info in built_in_recipes()}
    if installed().keys() - BUILT_IN_RECIPES.keys():
        for listed in await _listed():
            if listed.recipe is None:
                structlog.get_logger().error("recipe_unusable", recipe=listed.name, fault=listed.fault)
            else:
                recipes[listed.name] = listed.recipe
    return Capabilities(recipes=tuple(recipes.values()))


async def _listed() -> list[Listed]:
    command = [sys.executable, "-m", "training_worker.registering"]
    try:
        with anyio.fail_after(LISTING_S):
            done = await anyio.run_process(command, env=child_environment(threads=1), stderr=None)
        # What a recipe prints as it is imported goes to standard error.
        return [msgspec.json.decode(line, type=Listed) for line in done.stdout.splitlines()]
    except (OSError, TimeoutError, msgspec.DecodeError, CalledProcessError) as error:
        structlog.get_logger().error("recipes_not_listed", cause=type(error).__name__)
        return []


def listing() -> Iterator[Listed]:
    """Each recipe that is not built in."""
    for name in sorted(installed().keys() - BUILT_IN_RECIPES.keys()):
        try:
            yield Listed(name=name, recipe=_info(name))
        except HeadraceError as error:
            yield Listed(name=name, fault=str(error))
        except Exception as error:  # whatever a user's module does as it is imported
            yield Listed(name=name, fault=f"it cannot be imported: {type(error).__name__}")


def _info(name: str) -> RecipeInfo:
    recipe = find(name)
    summary = (type(recipe).__doc__ or "").strip().partition("\n")[0]
    return info_of(name, summary, recipe.hyperparameters)


def main() -> None:
    output, sys.stdout = sys.stdout, sys.stderr
    for listed in listing():
        output.write(_encode(listed).decode() + "\n")


if __name__ == "__main__":
    main()
