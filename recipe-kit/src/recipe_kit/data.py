"""The files that a recipe trains on. No file is opened before a recipe asks for it.

Knows no folders and no permissions.
"""

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import BinaryIO

from recipe_kit.tables import Table, read_table

Opener = Callable[[], BinaryIO]


class Data:
    """training: opens the file to train on. validation: opens the file to measure on; None if rows
    of the first file are held out instead. Each call opens the file again and reads from its start.
    DataRejected if it cannot be opened."""

    def __init__(self, training: Opener, validation: Opener | None = None) -> None:
        self.open, self.open_validation = training, validation

    @cached_property
    def table(self) -> Table:
        """The file to train on, read as CSV. DataRejected if it is not a table that can be read."""
        return read_table(self.open())

    @cached_property
    def validation(self) -> Table | None:
        """The file to measure on, read as CSV; None if there is none. DataRejected if it is not a
        table that can be read."""
        if self.open_validation is None:
            return None
        return read_table(self.open_validation(), prefix="the validation data: ")

    @property
    def sha256(self) -> str:
        """The digest of the file to train on. Reads the file, unless `table` already has."""
        return self.table.sha256 if "table" in self.__dict__ else _digest(self.open)

    @property
    def validation_sha256(self) -> str | None:
        """The digest of the file to measure on; None if there is none."""
        if self.open_validation is None:
            return None
        read = self.__dict__.get("validation")
        return _digest(self.open_validation) if read is None else read.sha256


def _digest(opener: Opener) -> str:
    with opener() as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
