"""Checks the input of a job against the manifest of its model. Knows no transport.

A version of a model never changes, so its signature is kept once it was read. Later submissions for
that version need no round trip to Redis for it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from shared_schemas.errors import InvalidInput, MalformedId, ModelNotFound, ModelUnreadable
from shared_schemas.inputs import check_input, check_parameters, signature_of
from shared_schemas.inputs.form import Signature
from shared_schemas.models import Model
from shared_schemas.specs import InferenceParameters

from gateway.instrument import GatewayObserver

# A model of 4,096 features with long names takes a megabyte. Most take less than a kilobyte.
KEPT_CHARACTERS = 16 << 20


class Signatures:
    def __init__(
        self,
        resolve: Callable[[str], Awaitable[Model]],
        observer: GatewayObserver,
        *,
        kept_characters: int = KEPT_CHARACTERS,
    ) -> None:
        """resolve: reads a model by `name@version`. kept_characters: about how much is kept,
        counted in characters of the names of features and tensors."""
        self._resolve, self._observer, self._free_characters = resolve, observer, kept_characters
        # In the order in which they were read. The oldest is forgotten first.
        self._kept: dict[str, Signature] = {}

    async def check(self, version: str, input_data: Any, parameters: InferenceParameters | None = None) -> None:
        """version: `name@version`. InvalidInput, with a JSON pointer into the body, if a job with
        this input and these parameters can only fail. If the manifest cannot be read, every input
        passes, and the worker reports what is wrong."""
        kept = self._kept.get(version)
        if kept is not None:
            try:
                _check(kept, input_data, parameters)
                return
            except InvalidInput:
                # Redis may have been emptied or restored since. Only the manifest that it has now
                # may refuse an input.
                self._forget(version)
        read = await self._read(version)
        if read is not None:
            self._keep(version, read)
            _check(read, input_data, parameters)

    async def _read(self, version: str) -> Signature | None:
        try:
            return signature_of((await self._resolve(version)).manifest)
        except (ModelNotFound, MalformedId, ModelUnreadable) as error:
            self._observer.input_not_checked(version, error)
            return None

    def _keep(self, version: str, signature: Signature) -> None:
        self._forget(version)
        self._kept[version] = signature
        self._free_characters -= _size(signature)
        while self._free_characters < 0 and len(self._kept) > 1:
            self._forget(next(iter(self._kept)))

    def _forget(self, version: str) -> None:
        signature = self._kept.pop(version, None)
        if signature is not None:
            self._free_characters += _size(signature)


def _check(signature: Signature, input_data: Any, parameters: InferenceParameters | None) -> None:
    check_input(signature, input_data)
    if parameters is not None:
        check_parameters(signature, parameters)


def _size(signature: Signature) -> int:
    tensors = sum(len(spec.name) + 100 + 60 * len(spec.shape or ()) for spec in signature.tensors)
    return 200 + sum(len(name) + 60 for name in signature.features) + tensors
