"""Which recipes are installed: those of the entry point group `headrace.recipes`, so users can bring their own."""

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import msgspec
from shared_schemas.errors import AttemptFailed, SpecRejected

if TYPE_CHECKING:
    # It imports torch, which the supervisor never does.
    from recipe_kit.recipe import Recipe

GROUP = "headrace.recipes"


def installed() -> dict[str, EntryPoint]:
    """By name. Nothing is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def find(model_type: str) -> "Recipe[Any]":
    """AttemptFailed unknown_model_type names those there are, or why one cannot be used."""
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
    """As the recipe's own Struct. SpecRejected names the field, and never the value."""
    try:
        return msgspec.convert(given, recipe.hyperparameters)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        # msgspec repeats a value that is not among those of an enumeration.
        why = "it is not one of the allowed values" if text.startswith("Invalid") else text
        place = path.rstrip("`").replace(".", "/")
        raise SpecRejected(f"hyperparameters{place}: {why}", pointer=f"/hyperparameters{place}") from None
