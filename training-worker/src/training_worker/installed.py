"""Which recipes are installed: those of the entry point group `headrace.recipes`, so users can bring their own."""

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from shared_schemas.errors import AttemptFailed

if TYPE_CHECKING:
    # It imports torch, which the supervisor never does.
    from recipe_kit.recipe import Recipe

GROUP = "headrace.recipes"


def installed() -> dict[str, EntryPoint]:
    """By name. Nothing is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def find(model_type: str) -> "Recipe[Any]":
    """AttemptFailed unknown_model_type names those there are."""
    known = installed()
    if model_type not in known:
        raise AttemptFailed("unknown_model_type", f"this worker trains {', '.join(sorted(known))}")
    recipe: Recipe[Any] = known[model_type].load()()
    return recipe
