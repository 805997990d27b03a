"""One file per model type. Found by entry point (group headrace.recipes), so users can bring their own."""

from importlib.metadata import entry_points

from recipe_kit.recipe import Recipe
from shared_schemas.errors import AttemptFailed

GROUP = "headrace.recipes"


def find(model_type: str) -> Recipe:
    """AttemptFailed unknown_model_type names those there are."""
    known = {point.name: point for point in entry_points(group=GROUP)}
    if model_type not in known:
        names = ", ".join(sorted(known))
        raise AttemptFailed("unknown_model_type", f"this worker trains {names}")
    recipe: Recipe = known[model_type].load()()
    return recipe
