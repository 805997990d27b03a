"""Models by the references that requests name, read from the registry and kept. Knows no request.

A version never changes, but a name leads to another version once one is published or an alias moves. So what is kept
for a name is a guess. It is right nearly always, and saves a submission the round trips of looking. Who uses it
compares it with the version that the job was pinned to.
"""

from collections.abc import Awaitable, Callable

from shared_schemas.errors import MalformedId, ModelNotFound
from shared_schemas.models import Model

# Most are a few kilobytes; one with 4,096 features is a megabyte.
_MOST_KEPT = 64


class KnownModels:
    def __init__(self, resolve: Callable[[str], Awaitable[Model]]) -> None:
        """resolve: reads a model by a reference."""
        self._resolve = resolve
        # By the reference that was asked for, in the order in which they were read.
        self._kept: dict[str, Model] = {}

    def guess(self, reference: str) -> Model | None:
        """What the reference led to when it was read last."""
        return self._kept.get(reference)

    async def read(self, reference: str) -> Model:
        """What it leads to now. ModelNotFound, ModelUnreadable, BackendUnavailable."""
        self._kept.pop(reference, None)
        try:
            model = await self._resolve(reference)
        except MalformedId:
            raise ModelNotFound("no such model is published") from None
        self._kept[reference] = model
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return model
