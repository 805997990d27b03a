"""What a worker can do, as it registers it: its recipes, with the JSON Schemas of their
hyperparameters."""

from typing import Any

import msgspec

from shared_schemas.specs import BUILT_IN_RECIPES


class RecipeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe. name: the `model_type` of its jobs. summary: what it trains, in one sentence.
    hyperparameters: their JSON Schema, an object with a property for each."""

    name: str
    summary: str = ""
    hyperparameters: dict[str, Any] = {}


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    recipes: tuple[RecipeInfo, ...] = ()


_SUMMARIES = {
    "mlp": "Tables: classes or quantities from columns of numbers.",
    "transformer": "Texts: a classifier where they have labels, else a language model.",
}


def info_of(name: str, summary: str, struct: type[msgspec.Struct]) -> RecipeInfo:
    (schema,), components = msgspec.json.schema_components((struct,), ref_template="#/$defs/{name}")
    whole = components.pop(schema["$ref"].rpartition("/")[2])
    return RecipeInfo(name=name, summary=summary, hyperparameters=whole | ({"$defs": components} if components else {}))


def built_in_recipes() -> tuple[RecipeInfo, ...]:
    return tuple(info_of(name, _SUMMARIES[name], struct) for name, struct in sorted(BUILT_IN_RECIPES.items()))
