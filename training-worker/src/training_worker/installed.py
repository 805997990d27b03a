"""Finds the installed recipes: the entry points in the group `headrace.recipes`.

A user's package can add some. Only `find` imports a recipe, and so torch.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import msgspec
from shared_schemas.errors import AttemptFailed, SpecRejected

if TYPE_CHECKING:
    # recipe_kit imports torch, and the supervisor must not.
    from recipe_kit.recipe import Recipe

GROUP = "headrace.recipes"


def installed() -> dict[str, EntryPoint]:
    """The entry points by name. Imports none of them."""
    return {point.name: point for point in entry_points(group=GROUP)}


def find(model_type: str) -> "Recipe[Any]":
    """Import the recipe and make it. AttemptFailed unknown_model_type names the installed recipes,
    or says why this one cannot be used."""
    known = installed()
    if model_type not in known:
        raise AttemptFailed("unknown_model_type", f"this worker trains {', '.join(sorted(known))}")
    recipe: Recipe[Any] = known[model_type].load()()
    if recipe.name != model_type:
        raise AttemptFailed("unknown_model_type", f"the recipe behind {model_type} calls itself {recipe.name}")
    if not recipe.hyperparameters.__struct_config__.forbid_unknown_fields:
        raise AttemptFailed("unknown_model_type", f"the hyperparameters of {model_type} must forbid unknown fields")
    return recipe


def hyperparameters_of(recipe: "Recipe[Any]", given: dict[str, Any]) -> Any:
    """given: the hyperparameters of a spec. -> the same as the recipe's own Struct. SpecRejected
    names the field and never repeats the value."""
    try:
        return msgspec.convert(given, recipe.hyperparameters)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        # For a value that is not allowed, msgspec's message would repeat the value.
        why = "it is not one of the allowed values" if text.startswith("Invalid") else text
        place = path.rstrip("`").replace(".", "/")
        raise SpecRejected(f"hyperparameters{place}: {why}", pointer=f"/hyperparameters{place}") from None
