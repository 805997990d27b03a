"""The recipes, with the hyperparameters of each. Knows no job."""

from fastapi import Response
from shared_schemas.replies import RecipeList

from gateway.routes.route import PlainCall
from gateway.surfaces.native import responses


async def list_recipes(call: PlainCall) -> Response:
    """The built-in recipes and those that workers have registered, each with the JSON Schema of its
    hyperparameters."""
    return responses.json_response(RecipeList(recipes=tuple(await call.services.recipes.known())))
