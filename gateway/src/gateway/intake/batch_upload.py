"""Takes the lines of a batch as they arrive, and stores each as a job.

The id of a job follows from the batch and the number of its line. So whatever is sent again, by a
client whose connection broke or because this process died, makes no second job. What is noted of
the lines so far, with their digest, lets an upload that is sent again skip what is stored.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator

import anyio
import msgspec
from fastapi import Request
from shared_schemas.batches import BatchSpec
from shared_schemas.codec import encode_json
from shared_schemas.errors import (
    BackendUnavailable,
    BatchNotFound,
    HeadraceError,
    IdempotencyConflict,
    InvalidInput,
    QueueFull,
    SpecRejected,
    StateConflict,
)
from shared_schemas.ids import JobId, QueueName, job_of_line, queue_of
from shared_schemas.job import JobState
from shared_schemas.service.failpoints import failpoint
from shared_schemas.stream.batches import Batches, Noted
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.submission import Submission, Submitter, submitted

from gateway.edge.problems import ProblemError
from gateway.intake.admission import Admission
from gateway.intake.batch_lines import Line, LineReader, LineRefused, decoded, encoded_error
from gateway.intake.submission import new_ids, queue_for
from gateway.settings import GatewaySettings

_CHUNK_LINES, _CHUNK_BYTES = 200, 1 << 20
_CANCELLED_AT_ONCE, _MOST_PASSES = 200, 10
# Before a running job, so that few of them begin meanwhile.
_WAITING = (JobState.SCHEDULED, JobState.QUEUED, JobState.PAUSED)
_decoder = msgspec.json.Decoder(BatchSpec)
_decode_models = msgspec.json.Decoder(dict[str, str]).decode
# Where the metadata of a job has the custom_id of its line.
CUSTOM_ID = "custom_id"
# Of JobOptions.
_MOST_METADATA = 16


class _Chunk:
    """Lines that are stored and noted in one go."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.errors: list[tuple[int, bytes]] = []
        self.n_lines, self.n_bytes = 0, 0

    @property
    def is_full(self) -> bool:
        return self.n_lines >= _CHUNK_LINES or self.n_bytes >= _CHUNK_BYTES


class BatchUploads:
    def __init__(
        self,
        *,
        batches: Batches,
        admission: Admission,
        submitter: Submitter,
        control: JobControl,
        settings: GatewaySettings,
    ) -> None:
        self._batches, self._admission, self._submitter = batches, admission, submitter
        self._control, self._settings = control, settings

    async def receive(self, request: Request, queue: QueueName, idempotency_key: str | None) -> tuple[JobId, bool]:
        """Store the lines of the request's body. -> the base of the batch, and whether this request
        is the first with its key.

        IdempotencyConflict: the key was used with other lines. StateConflict: the batch was
        cancelled. QueueFull, BackendUnavailable: send it again with its key. ProblemError 408, 413.
        """
        [new] = new_ids(queue, 1)
        base = new if idempotency_key is None else await self._batches.claim(new, idempotency_key)
        if queue_of(base) != queue:
            raise IdempotencyConflict("this Idempotency-Key was used for a batch of another queue")
        reader = LineReader(
            self._pieces(request),
            max_line_bytes=self._settings.max_body_bytes,
            max_bytes=self._settings.batch_bytes,
        )
        try:
            await self._store(base, reader, await self._known(base))
        except (ProblemError, StateConflict) as error:
            # A file that is too large, or a batch that was cancelled while it arrived.
            if not isinstance(error, ProblemError) or error.status == 413:
                await self.cancel(base)
            raise
        return base, base == new

    async def _known(self, base: JobId) -> Noted:
        try:
            return await self._batches.noted(base)
        except BatchNotFound:
            return await self._batches.note(base, lines=0, digest=hashlib.sha256().hexdigest(), models=b"{}")

    async def _store(self, base: JobId, reader: LineReader, known: Noted) -> None:
        if known.is_cancelled:
            raise StateConflict("the batch was cancelled")
        models, chunk, seen, last, blank = _decode_models(known.models), _Chunk(), set[bytes](), 0, 0
        async for line in reader.lines():
            last = line.number
            if last > self._settings.batch_lines:
                most = self._settings.batch_lines
                raise ProblemError(413, "body_too_large", f"a batch may have at most {most} lines")
            if last == known.lines and reader.digest.hexdigest() != known.digest:
                raise IdempotencyConflict("this Idempotency-Key was used with other lines")
            if known.is_whole and last > known.lines:
                raise IdempotencyConflict("this Idempotency-Key was used with fewer lines")
            if line.is_blank:
                blank += 1
                chunk.n_lines += last > known.lines
            else:
                await self._take(base, line, chunk, seen, models, is_stored=last <= known.lines)
            if chunk.is_full:
                await self._finish(base, chunk, models, last, reader.digest.hexdigest(), blank=blank)
                chunk = _Chunk()
        if last < known.lines:
            raise IdempotencyConflict("this Idempotency-Key was used with more lines")
        await self._finish(base, chunk, models, last, reader.digest.hexdigest(), blank=blank, is_whole=True)

    async def _take(
        self, base: JobId, line: Line, chunk: _Chunk, seen: set[bytes], models: dict[str, str], *, is_stored: bool
    ) -> None:
        """Add the line to the chunk, as a job or as an error. is_stored: it was stored before, so
        only its custom_id counts."""
        chunk.n_lines += not is_stored
        try:
            submission = await self._submission(base, line, seen, models, is_stored=is_stored)
        except LineRefused as refused:
            if not is_stored:
                chunk.errors.append((line.number, encoded_error(line.number, refused)))
            return
        if submission is not None:
            chunk.submissions.append(submission)
            chunk.n_bytes += len(line.content or b"")

    async def _submission(
        self, base: JobId, line: Line, seen: set[bytes], models: dict[str, str], *, is_stored: bool
    ) -> Submission | None:
        custom_id, spec = decoded(line.content, _decoder)
        # Eight bytes of a digest take less memory than the text. Two of a million agree by chance
        # about once in 40 million batches.
        short = hashlib.blake2b(custom_id.encode(), digest_size=8).digest()
        if short in seen:
            raise LineRefused(
                "invalid_value", "an earlier line has this custom_id", param="/custom_id", custom_id=custom_id
            )
        seen.add(short)
        if is_stored:
            return None
        try:
            pinned = await self._admit(spec, queue_of(base), models)
        except BackendUnavailable:
            raise
        except InvalidInput as error:
            param = None if error.pointer is None else f"/body{error.pointer}"
            raise LineRefused(error.code, str(error), param=param, custom_id=custom_id) from None
        except HeadraceError as error:
            raise LineRefused(error.code, str(error), param="/body", custom_id=custom_id) from None
        if CUSTOM_ID in pinned.metadata or len(pinned.metadata) >= _MOST_METADATA:
            message = f"metadata of a line has at most {_MOST_METADATA - 1} entries and no custom_id"
            raise LineRefused("invalid_value", message, param="/body/metadata", custom_id=custom_id)
        named = msgspec.structs.replace(pinned, metadata={**pinned.metadata, CUSTOM_ID: custom_id})
        return Submission(job_id=job_of_line(base, line.number), spec=named)

    async def _admit(self, spec: BatchSpec, queue: QueueName, models: dict[str, str]) -> BatchSpec:
        if spec.queue is not None and queue_for(spec) != queue:
            raise SpecRejected("the lines of a batch go to the queue of the batch", pointer="/queue")
        admitted = await self._admission.admit(spec, queue, models=models)
        assert isinstance(admitted, BatchSpec)  # noqa: S101 - narrows for the type checker
        return admitted

    async def _finish(
        self,
        base: JobId,
        chunk: _Chunk,
        models: dict[str, str],
        lines: int,
        digest: str,
        *,
        blank: int,
        is_whole: bool = False,
    ) -> None:
        """Store the jobs, then note the lines. blank: how many of the lines so far. digest: of all of
        them. A death in between makes the next upload store them again, which changes nothing."""
        if chunk.submissions:
            await self._submit(queue_of(base), chunk.submissions)
        failpoint("batch_lines_stored")
        noted = await self._batches.note(
            base,
            lines=lines,
            blank=blank,
            digest=digest,
            models=encode_json(models),
            errors=chunk.errors,
            is_whole=is_whole,
        )
        if noted.is_cancelled:
            raise StateConflict("the batch was cancelled")

    async def _submit(self, queue: QueueName, submissions: list[Submission]) -> None:
        """Wait for room for a while if the queue is full: the sender waits meanwhile, because nothing
        reads what it sends."""
        end = time.monotonic() + self._settings.body_timeout_s
        while True:
            made = await self._submitter.submit_all(queue, submissions)
            left = [each for each, answer in zip(submissions, made, strict=True) if answer.how == "full"]
            if not left:
                return
            full = next(submitted(answer) for answer in made if answer.how == "full")
            assert isinstance(full, QueueFull)  # noqa: S101 - narrows for the type checker
            if time.monotonic() + full.retry_after_s > end:
                raise full
            submissions = left
            # The lines of several batches must not come back all at once.
            await anyio.sleep(full.retry_after_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    async def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        """ProblemError 408 if the next piece does not arrive in time."""
        pieces = aiter(request.stream())
        while True:
            try:
                async with asyncio.timeout(self._settings.body_timeout_s):
                    piece = await anext(pieces, None)
            except TimeoutError:
                headers = {"Connection": "close"}
                raise ProblemError(408, "body_timeout", "the lines stopped arriving", headers=headers) from None
            if piece is None:
                return
            yield piece

    async def cancel(self, base: JobId) -> None:
        """Let nothing more of the batch run. Jobs that run are asked to end. BatchNotFound."""
        await self._batches.cancel(base)
        # A job may become ready, or be given back, while this goes on.
        for _ in range(_MOST_PASSES):
            if not await self._cancel_all(base, _WAITING):
                break
        await self._cancel_all(base, (JobState.RUNNING,))

    async def _cancel_all(self, base: JobId, states: tuple[JobState, ...]) -> int:
        """-> how many jobs were found"""
        after, n = job_of_line(base, 0), 0
        while job_ids := await self._batches.job_ids(base, states, after=after, limit=_CANCELLED_AT_ONCE):
            await self._control.cancel_all(job_ids)
            after, n = job_ids[-1], n + len(job_ids)
        return n
