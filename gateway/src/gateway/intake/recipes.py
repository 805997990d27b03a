"""Which recipes exist, and whether a job's hyperparameters fit its recipe. Knows no transport and
no torch.

The built-in recipes are always known. Other recipes are registered by the workers that have them,
with a JSON Schema. If no worker of a queue is registered, or one of them does not say which recipes
it has, any recipe is accepted, and the worker that claims the job refuses what it cannot run.
"""

import time
from importlib import import_module
from typing import Any

import msgspec
from anyio import to_thread
from shared_schemas.capabilities import Capabilities, RecipeInfo, built_in_recipes
from shared_schemas.errors import SpecRejected
from shared_schemas.ids import QueueName
from shared_schemas.numbers import LARGEST
from shared_schemas.specs import BUILT_IN_RECIPES, JobSpec
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.workers import capabilities_of

from gateway.intake.validation_errors import shown

# Registrations of workers are read again after so many seconds.
_FRESH_S = 10.0
# How many names an error message lists.
_MOST_NAMED = 20


class UnknownModelType(SpecRejected):
    code = "unknown_model_type"


class Recipes:
    def __init__(self, queue_queries: QueueQueries) -> None:
        self._queue_queries = queue_queries
        # None for a queue without workers, or with one that does not say which recipes it has.
        self._by_queue: dict[QueueName, dict[str, RecipeInfo] | None] = {}
        self._fresh_until = 0.0

    async def known(self) -> list[RecipeInfo]:
        """The built-in and the registered recipes, sorted by name."""
        await self._read()
        found = {info.name: info for infos in self._by_queue.values() for info in (infos or {}).values()}
        return [info for _, info in sorted((found | {info.name: info for info in built_in_recipes()}).items())]

    async def checked(self, spec: JobSpec, name: str, queue: QueueName) -> JobSpec:
        """name: of a recipe that is not built in. -> the spec with the hyperparameters that the
        recipe gets: without nulls, and with 5.0 as a whole number where the recipe wants one.
        UnknownModelType, SpecRejected."""
        # Where no worker had said which recipes it has, one may have done so since.
        if time.monotonic() < self._fresh_until and self._by_queue.get(queue) is not None:
            try:
                return self._checked(spec, name, queue)
            except SpecRejected:
                # A worker may have started since, with this recipe or another version of it.
                pass
        await self._read()
        return self._checked(spec, name, queue)

    def _checked(self, spec: JobSpec, name: str, queue: QueueName) -> JobSpec:
        known = self._by_queue.get(queue)
        if known is None:
            return spec
        if name not in known:
            raise UnknownModelType(
                f"no worker of this queue has a recipe of this name; they have {_listed(known)}", pointer="/model_type"
            )
        given: dict[str, Any] = getattr(spec, "hyperparameters", {})
        meant = _as_meant(given, known[name].hyperparameters)
        _check(meant, known[name].hyperparameters)
        return spec if meant == given else msgspec.structs.replace(spec, hyperparameters=meant)

    async def _read(self) -> None:
        """One round trip to Redis. BackendUnavailable."""
        replies = await self._queue_queries.ask(lambda _: ("workers", {}))
        self._by_queue = {queue: _joined(capabilities_of(rows)) for queue, rows in replies.items()}
        if any(infos and infos.keys() - BUILT_IN_RECIPES.keys() for infos in self._by_queue.values()):
            # Importing it takes a tenth of a second, and only recipes of users need it.
            await to_thread.run_sync(import_module, "jsonschema")
        self._fresh_until = time.monotonic() + _FRESH_S


def _joined(registered: list[Capabilities | None]) -> dict[str, RecipeInfo] | None:
    """The recipes of one queue. registered: by each of its workers; None for a
    worker that does not say which recipes it has."""
    found: dict[str, RecipeInfo] = {}
    for capabilities in registered:
        if capabilities is None:
            return None
        found |= {info.name: info for info in capabilities.recipes}
    return found or None


def _as_meant(given: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    return {
        name: _whole(value, properties.get(name, {}))
        for name, value in given.items()
        if value is not None or name in required
    }


def _whole(value: Any, schema: dict[str, Any]) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
        kinds = {one.get("type") for one in schema.get("anyOf", [schema])}
        return int(value) if "integer" in kinds and "number" not in kinds else value
    return value


def _check(given: dict[str, Any], schema: dict[str, Any]) -> None:
    """SpecRejected names the field, the rule and the known fields, and never a value that was
    given."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

    properties = schema.get("properties", {})
    for name in given.keys() - properties.keys():
        message = f"the recipe has no such hyperparameter; it has {_listed(properties) or 'none'}"
        raise SpecRejected(message, pointer=f"/hyperparameters/{shown(name)}")
    error = best_match(Draft202012Validator(schema).iter_errors(given))
    if error is not None:
        place = "".join(f"/{shown(str(step))}" for step in error.absolute_path)
        rule = f"{error.validator} {msgspec.json.encode(error.validator_value).decode()}"
        raise SpecRejected(f"it does not fit the recipe's schema: {rule}", pointer=f"/hyperparameters{place}")


def _listed(names: dict[str, Any]) -> str:
    known = sorted(names)
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return ", ".join(known[:_MOST_NAMED]) + more
