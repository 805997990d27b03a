"""What every form of input must say: what one input is, and whether it fits a model. Pure."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import msgspec

from shared_schemas.errors import InvalidInput
from shared_schemas.models import Task, TensorSpec


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a manifest that decide which inputs fit. features, largest: of a tabular model; no
    number of an input may be further from zero than `largest`. tensors: of a model of the task
    `tensors`. dimensions: of the vectors of an embedding model."""

    task: Task
    features: tuple[str, ...] = ()
    largest: float = 0.0
    tensors: tuple[TensorSpec, ...] = ()
    dimensions: int | None = None


class InputForm(Protocol):
    """Decides what one input of a model may be, and how it differs from a list of inputs."""

    def fits(self, signature: Signature, input_data: Any) -> bool:
        """A quick check for the common case. True only if input_data needs no further check."""
        ...

    def is_one_input(self, input_data: list[Any]) -> bool:
        """Whether this list is one input. If not, each of its items is one."""
        ...

    def check(self, signature: Signature, item: Any) -> None:
        """InvalidInput or DataRejected if item cannot be an input. Its pointer goes from the item to the
        value that is wrong."""
        ...


class ItemForm(ABC):
    """An InputForm of inputs that are never lists, and whose form is the same for all models of the task."""

    @abstractmethod
    def read(self, item: Any) -> object:
        """InvalidInput if item cannot be an input, as in InputForm.check."""

    def fits(self, signature: Signature, input_data: Any) -> bool:
        try:
            self.read(input_data)
        except InvalidInput:
            return False
        return True

    def is_one_input(self, input_data: list[Any]) -> bool:
        return False

    def check(self, signature: Signature, item: Any) -> None:
        self.read(item)
