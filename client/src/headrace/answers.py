"""The types that the clients return: those of shared_schemas.replies, and how a notebook
shows them (`_repr_html_`).

All text in the HTML is escaped. Knows no request.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from html import escape
from itertools import islice
from typing import Any, SupportsIndex, TypeVar, overload

import msgspec
from shared_schemas import job as jobs
from shared_schemas import models, replies
from shared_schemas.attempts import AttemptSummary
from shared_schemas.capabilities import RecipeInfo

from headrace import tables
from headrace.errors import ClientError

T = TypeVar("T")

_SHOWN = 20


class JobDetails(replies.JobDetails, frozen=True, kw_only=True, omit_defaults=True):
    def _repr_html_(self) -> str:
        return _as_table(tables.job(self).rows)


class JobStatus(replies.JobStatus, frozen=True, kw_only=True):
    def _repr_html_(self) -> str:
        return _as_table(tables.status(self).rows)


class JobSummary(jobs.JobSummary, frozen=True, kw_only=True, omit_defaults=True):
    def _repr_html_(self) -> str:
        return _html_of([self])


class DeadLetter(replies.DeadLetter, frozen=True, kw_only=True, omit_defaults=True):
    def _repr_html_(self) -> str:
        return _html_of([self])


class DeadLetterDetails(replies.DeadLetterDetails, frozen=True, kw_only=True, omit_defaults=True):
    def _repr_html_(self) -> str:
        return _as_table(tables.dead_letter(self).rows)


class Model(models.Model, frozen=True, kw_only=True):
    def _repr_html_(self) -> str:
        return _html_of([self])


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    jobs: tuple[JobSummary, ...]
    next_cursor: str | None = None


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    jobs: tuple[DeadLetter, ...]
    next_cursor: str | None = None


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    models: tuple[Model, ...]
    next_cursor: str | None = None


class ModelVersions(msgspec.Struct, frozen=True, kw_only=True):
    versions: tuple[Model, ...]


class Rows(tuple[T, ...]):
    """A tuple that a notebook shows as a table."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows[T]": ...
    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return Rows(found) if isinstance(index, slice) else found

    def _repr_html_(self) -> str:
        return _html_of(self)


class Listing(Iterator[T]):
    """An iterator of rows that requests page after page. A notebook shows the first 20 rows
    without consuming them."""

    def __init__(self, rows: Iterator[T]) -> None:
        self._rows, self._ahead = rows, deque[T]()

    def __next__(self) -> T:
        return self._ahead.popleft() if self._ahead else next(self._rows)

    def all(self, limit: int | None = None) -> Rows[T]:
        """All rows that are left, or at most `limit`."""
        return Rows(islice(self, limit))

    def _repr_html_(self) -> str:
        try:
            self._ahead += islice(self._rows, max(0, _SHOWN + 1 - len(self._ahead)))
        except ClientError as error:
            return f"<p>{escape(str(error))}</p>"
        more = "<p>… and more</p>" if len(self._ahead) > _SHOWN else ""
        return _html_of(list(islice(self._ahead, _SHOWN))) + more


class AsyncListing(AsyncIterator[T]):
    """An async Listing. A notebook cannot request rows while it shows a value: use
    `await listing.all()`."""

    def __init__(self, rows: AsyncIterator[T]) -> None:
        self._rows = rows

    async def __anext__(self) -> T:
        return await anext(self._rows)

    async def aclose(self) -> None:
        close = getattr(self._rows, "aclose", None)
        if close is not None:
            await close()

    async def all(self, limit: int | None = None) -> Rows[T]:
        made: list[T] = []
        while limit is None or len(made) < limit:
            try:
                made.append(await anext(self))
            except StopAsyncIteration:
                break
        return Rows(made)

    def _repr_html_(self) -> str:
        return "<p>a listing: <code>await listing.all()</code> shows it</p>"


def _html_of(rows: Sequence[Any]) -> str:
    """A table of rows of one type. Rows of an unknown type are shown by their repr."""
    draw = next((draw for kind, draw in _TABLES.items() if rows and isinstance(rows[0], kind)), None)
    if draw is None:
        return f"<pre>{escape(repr(list(rows)))}</pre>" if rows else "<p>nothing</p>"
    header, *cells = draw(rows).cells
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    return f"<table><thead><tr>{head}</tr></thead>{_body(cells)}</table>"


def _as_table(rows: Iterable[tuple[str, str]]) -> str:
    return f"<table>{_body(rows)}</table>"


def _body(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row) for row in rows)
    return f"<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody>"


_TABLES: dict[type, Any] = {
    replies.DeadLetter: tables.dead_letter_table,
    jobs.JobSummary: tables.jobs,
    models.Model: tables.models,
    jobs.QueueStatus: tables.queues,
    jobs.WorkerStatus: tables.workers,
    RecipeInfo: tables.recipes,
    AttemptSummary: tables.attempts,
}
