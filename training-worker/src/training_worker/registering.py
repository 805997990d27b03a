"""Collects what a worker registers about its recipes: names, and schemas of hyperparameters.

A user's recipe imports torch, which this process must not, and its import may fail. So a process of
its own imports the recipes that are not built in, and prints one JSON object in each line:

    python -m training_worker.registering
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

# Longer than PyTorch takes to load on a busy machine.
LISTING_S = 120.0
_encode = msgspec.json.Encoder().encode


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the output. recipe: None if the recipe cannot be used; then `fault` says why."""

    name: str
    recipe: RecipeInfo | None = None
    fault: str = ""


async def capabilities() -> Capabilities:
    """The recipes of this worker. One that cannot be used is logged and left out."""
    recipes = {info.name: info for info in built_in_recipes()}
    if installed().keys() - BUILT_IN_RECIPES.keys():
        for listed in await _listed():
            if listed.recipe is None:
                structlog.get_logger().error("recipe_unusable", recipe=listed.name, fault=listed.fault)
            else:
                recipes[listed.name] = listed.recipe
    return Capabilities(recipes=tuple(recipes.values()))


async def _listed() -> list[Listed]:
    """What the process prints. If it fails, logs that and returns an empty list."""
    command = [sys.executable, "-m", "training_worker.registering"]
    try:
        with anyio.fail_after(LISTING_S):
            done = await anyio.run_process(command, env=child_environment(threads=1), stderr=None)
        # What a recipe prints during its import goes to standard error, so each line is a Listed.
        return [msgspec.json.decode(line, type=Listed) for line in done.stdout.splitlines()]
    except (OSError, TimeoutError, msgspec.DecodeError, CalledProcessError) as error:
        structlog.get_logger().error("recipes_not_listed", cause=type(error).__name__)
        return []


def listing() -> Iterator[Listed]:
    """The recipes that are not built in. Imports them."""
    for name in sorted(installed().keys() - BUILT_IN_RECIPES.keys()):
        try:
            yield Listed(name=name, recipe=_info(name))
        except HeadraceError as error:
            yield Listed(name=name, fault=str(error))
        except Exception as error:  # a user's module may raise anything when it is imported
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
