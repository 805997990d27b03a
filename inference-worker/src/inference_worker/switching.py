"""Reads which versions of models an alias is about to move to, and which the pinned references name, and has them
loaded.

Both are read again and again, so no message can be lost. Knows no job.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio
import structlog
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable, MalformedId, ModelNotFound, ModelUnreadable
from shared_schemas.models import ModelRef, parse_model_reference
from shared_schemas.stream.registry import WantedModel

from inference_worker.loading import LoadedModels

# A switch waits for this at most, before loading begins.
_EVERY_S = 0.5
_PINNED_EVERY_S = 2.0


async def prepare_switches(models: LoadedModels, wanted: Callable[[], Awaitable[list[WantedModel]]]) -> None:
    """Runs until it is cancelled."""
    backoff = Backoff()
    while True:
        await anyio.sleep(_EVERY_S)
        if not models.held:
            continue
        try:
            models.prepare(_by_version(await wanted()))
            backoff.reset()
        except (BackendUnavailable, ModelUnreadable) as error:
            if backoff.is_fresh:
                structlog.get_logger().warning("switches_unknown", cause=str(error))
            await anyio.sleep(backoff.next_s())


async def keep_pinned(
    models: LoadedModels,
    references: Sequence[str],
    pin: Callable[[Sequence[str]], Awaitable[list[ModelRef | ModelNotFound | MalformedId]]],
) -> None:
    """Runs until it is cancelled. references: as jobs name models. One that names no published version is looked up
    again, since it may do so later."""
    log, missing = structlog.get_logger(), set[str]()
    while references:
        try:
            found = dict(zip(references, await pin(references), strict=True))
        except (BackendUnavailable, ModelUnreadable) as error:
            log.warning("pinned_models_unknown", cause=str(error))
        else:
            models.pin({each for each in found.values() if isinstance(each, ModelRef)})
            unknown = {reference for reference, each in found.items() if not isinstance(each, ModelRef)}
            if unknown - missing:
                log.warning("pinned_models_missing", models=sorted(unknown))
            missing = unknown
        await anyio.sleep(_PINNED_EVERY_S)


def _by_version(wanted: Iterable[WantedModel]) -> dict[ModelRef, str]:
    """If several switches wait for a version, the last one counts."""
    found: dict[ModelRef, str] = {}
    for each in wanted:
        try:
            name, version = parse_model_reference(each.model)
        except MalformedId:  # written by something else
            continue
        if isinstance(version, int):
            found[ModelRef(name, version)] = each.token
    return found
