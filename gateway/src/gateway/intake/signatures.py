"""What the inputs of published models must fit, by version. Knows no transport.

A version never changes, so what was read of its manifest once is kept: a submission for a model that was named before
costs no trip to Redis for it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from shared_schemas.errors import InvalidInput, MalformedId, ModelNotFound, ModelUnreadable
from shared_schemas.inputs import check_input, signature_of
from shared_schemas.inputs.form import Signature
from shared_schemas.models import Model

from gateway.instrument import GatewayObserver

# A model of 4,096 features with long names takes a megabyte, most take less than one kilobyte.
KEPT_CHARACTERS = 16 << 20


class Signatures:
    def __init__(
        self,
        resolve: Callable[[str], Awaitable[Model]],
        observer: GatewayObserver,
        *,
        kept_characters: int = KEPT_CHARACTERS,
    ) -> None:
        """resolve: a version's manifest, by `name@version`. kept_characters: of names of features and
        tensors, in all."""
        self._resolve, self._observer, self._room = resolve, observer, kept_characters
        # The oldest first.
        self._kept: dict[str, Signature] = {}

    async def check(self, version: str, input_data: Any) -> None:
        """version: `name@version`. InvalidInput with a JSON pointer into the body if a job with this input can only
        fail. A version whose manifest cannot be read refuses nothing: the worker will say what is wrong."""
        kept = self._kept.get(version)
        if kept is not None:
            try:
                check_input(kept, input_data)
                return
            except InvalidInput:
                # Redis may have been emptied or restored since: only what stands there now refuses an input.
                self._forget(version)
        read = await self._read(version)
        if read is not None:
            self._keep(version, read)
            check_input(read, input_data)

    async def _read(self, version: str) -> Signature | None:
        try:
            return signature_of((await self._resolve(version)).manifest)
        except (ModelNotFound, MalformedId, ModelUnreadable) as error:
            self._observer.input_not_checked(version, error)
            return None

    def _keep(self, version: str, signature: Signature) -> None:
        self._forget(version)
        self._kept[version] = signature
        self._room -= _size(signature)
        while self._room < 0 and len(self._kept) > 1:
            self._forget(next(iter(self._kept)))

    def _forget(self, version: str) -> None:
        signature = self._kept.pop(version, None)
        if signature is not None:
            self._room += _size(signature)


def _size(signature: Signature) -> int:
    tensors = sum(len(spec.name) + 100 + 60 * len(spec.shape or ()) for spec in signature.tensors)
    return 200 + sum(len(name) + 60 for name in signature.features) + tensors
