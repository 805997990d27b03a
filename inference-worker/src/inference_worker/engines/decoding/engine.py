"""Writes texts with one decoder: runs step after step in a thread while there are sequences.

The thread alone changes the scheduler and the cache. Callers on the event loop hand sequences in, and get the pieces
of a step together, in one turn of the event loop. Meanwhile the thread goes on with the next step. It knows no jobs.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

import anyio
import structlog
from anyio.abc import TaskStatus
from shared_schemas.errors import AttemptFailed, HeadraceError, InvalidInput, WorkerUnfit
from shared_schemas.service.failpoints import failpoint

from inference_worker.engines.decoding import exactness
from inference_worker.engines.decoding.exactness import UNTRIED, Exactness
from inference_worker.engines.decoding.form import DecoderForm, form_of
from inference_worker.engines.decoding.limits import DecodingLimits
from inference_worker.engines.decoding.memory import CacheMemory
from inference_worker.engines.decoding.prefixes import PrefixCache
from inference_worker.engines.decoding.runner import Runner
from inference_worker.engines.decoding.scheduler import BLOCK, Part, Scheduler
from inference_worker.engines.decoding.sequence import Sequence, Taken
from inference_worker.engines.invariance import Invariance
from inference_worker.engines.session import OrtSession, Stop

log = structlog.get_logger()

# Prompts that are read at the same time. Each has a slot until its text begins.
_MAX_READING = 8
_LARGEST_PART = 512
_SPARE_ROWS = 4
# How long a stopped run may go on. After that, only a new process helps.
_STOPPING_S = 30.0


class _Reader:
    """Who waits for the pieces of a sequence. Only used on the event loop."""

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self.has_ended = False
        self.error: Exception | None = None
        self.came = anyio.Event()


_Delivery: TypeAlias = tuple[Sequence, Any, bool, Exception | None]
_Command: TypeAlias = Callable[[], None] | None


class DecodingEngine:
    """invariance: of the rows of a step."""

    def __init__(
        self,
        session: OrtSession,
        limits: DecodingLimits,
        *,
        context_length: int,
        run_timeout_s: float = 60.0,
        is_tried: bool = True,
    ) -> None:
        """Blocks, for the runs that find out which of them give equal bits, unless is_tried is False. AttemptFailed:
        model_unsupported, model_failed, model_too_large."""
        self.form: DecoderForm = form_of(session)
        self._run_timeout_s = run_timeout_s
        self.capacity = limits.cache_bytes // self.form.token_bytes
        rows = limits.max_rows + _SPARE_ROWS
        length = max(1, min(context_length, self.capacity))
        self._memory = CacheMemory(self.form, slots=rows + _MAX_READING, length=length)
        self._runner = Runner(session, self.form, self._memory)
        self._scheduler = Scheduler(
            max_rows=limits.max_rows, max_reading=_MAX_READING, first_reading_slot=rows, capacity=self.capacity
        )
        self._prefixes = PrefixCache(max_bytes=limits.prefix_bytes)
        self.exactness: Exactness = UNTRIED
        if is_tried and length > 2:
            self.exactness = exactness.tried(
                self._runner, self._memory, self.form, max_rows=limits.max_rows, context_length=length
            )
        self.invariance: Invariance = self.exactness.rows
        sizes = self.invariance.sizes
        self._smallest = 1 if sizes is None else sizes.smallest
        self._largest_part = _LARGEST_PART if self.exactness.parts else BLOCK
        self._reading_s, self._token_s = limits.reading_ms / 1000.0, 0.0
        self._commands: SimpleQueue[_Command] = SimpleQueue()
        self._readers: dict[Sequence, _Reader] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop, self._run_began = Stop(), 0.0
        self._is_closing = self._has_given_up = False
        self.n_steps = 0

    @property
    def facts(self) -> dict[str, str]:
        """What a reader of a job should know of this engine."""
        return {"cache_tokens": str(self.capacity), "prompt_parts_invariant": "yes" if self.exactness.parts else "no"}

    @property
    def n_tokens_reused(self) -> int:
        """Tokens of prompts that did not have to be read, because another prompt began with them."""
        return self._prefixes.n_tokens_reused

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then fail the callers who still wait with a retryable error."""
        self._loop = asyncio.get_running_loop()
        # A run that cannot be stopped must not keep the process from ending.
        threading.Thread(target=self._work, name="decoding", daemon=True).start()
        try:
            task_status.started()
            await self._watch()
        finally:
            self._is_closing = True
            self._stop.now()
            self._commands.put(None)
            self._fail_all(_stopping())
            self._loop = None

    def check_fits(self, n_tokens: int) -> None:
        """InvalidInput if a text of so many tokens, with its prompt, can never be admitted."""
        if n_tokens > self.capacity:
            raise InvalidInput(
                f"the prompt and max_tokens are {n_tokens} tokens, and this worker's cache has room for {self.capacity}"
            )

    async def write(self, sequence: Sequence) -> AsyncGenerator[list[Any], None]:
        """Yields the pieces that its `take` made, as they come, one or more at a time. It must be closed, which takes
        the sequence out of the next step.

        InvalidInput if it can never be admitted; what `take` raised; AttemptFailed: model_failed, model_timeout
        (retryable if several texts were written), worker_stopping (retryable); WorkerUnfit."""
        self.check_fits(sequence.need)
        if self._loop is None:
            raise _stopping()
        if self._has_given_up:
            raise WorkerUnfit()
        reader = self._readers[sequence] = _Reader()
        self._commands.put(lambda: self._scheduler.add(sequence))
        try:
            while True:
                await reader.came.wait()
                reader.came = anyio.Event()
                pieces, reader.pieces = reader.pieces, []
                if pieces:
                    yield pieces
                if reader.error is not None:
                    raise reader.error
                if reader.has_ended:
                    return
        finally:
            del self._readers[sequence]
            if not reader.has_ended:
                self._commands.put(lambda: self._leave(sequence))

    async def _watch(self) -> None:
        """Stop a run that takes too long."""
        while True:
            await anyio.sleep(self._run_timeout_s / 4)
            began = self._run_began
            if not began or time.monotonic() - began < self._run_timeout_s:
                continue
            log.warning("run_timed_out", rows=len(self._readers))
            self._stop.now()
            await anyio.sleep(_STOPPING_S)
            if self._run_began == began:
                self._fail_all(WorkerUnfit())

    # What follows runs in the thread.

    def _work(self) -> None:
        try:
            while self._obeyed():
                self._step()
        except Exception:  # the thread must not end without an answer to those who wait
            log.exception("decoding_failed")
            loop = self._loop
            if loop is not None:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._give_up)

    def _obeyed(self) -> bool:
        """Do what callers asked for since the last step. Waits while there is nothing to run. -> False at the end."""
        while True:
            try:
                command = self._commands.get(block=self._scheduler.is_idle)
            except Empty:
                return True
            if command is None or self._is_closing:
                return False
            command()

    def _step(self) -> None:
        failpoint("decoding_step")
        for sequence in self._scheduler.admit():
            blocks = self._prefixes.find(sequence.prompt)
            self._memory.fill(sequence.slot, blocks)
            sequence.n_cached = BLOCK * len(blocks)
        step = self._scheduler.step(budget=self._budget(), largest_part=self._largest_part)
        for part in step.read:
            self._deliver(self._read(part))
        if step.write:
            self._deliver(self._write(step.write))
        self.n_steps += 1

    def _budget(self) -> int:
        if not self._token_s:
            return BLOCK
        n_tokens = int(self._reading_s / self._token_s)
        return min(_LARGEST_PART, max(BLOCK, n_tokens - n_tokens % BLOCK))

    def _read(self, part: Part) -> list[_Delivery]:
        sequence, began, delivery = part.sequence, time.monotonic(), list[_Delivery]()
        try:
            logits = self._ran(
                lambda: self._runner.read(sequence.slot, sequence.prompt[part.start : part.end], part.start, self._stop)
            )
        except AttemptFailed as error:
            self._end(sequence, delivery, None, error)
            return delivery
        each_s = (time.monotonic() - began) / (part.end - part.start)
        self._token_s = each_s if not self._token_s else 0.8 * self._token_s + 0.2 * each_s
        sequence.n_cached = part.end
        if not sequence.is_read:
            return delivery
        self._keep(sequence)
        if self._take(sequence, logits, delivery):
            self._memory.move(self._scheduler.join(sequence))
        return delivery

    def _write(self, sequences: list[Sequence]) -> list[_Delivery]:
        delivery = list[_Delivery]()
        tokens, n_cached = [each.last_token for each in sequences], [each.n_cached for each in sequences]
        try:
            logits = self._ran(
                lambda: self._runner.write(tokens, n_cached, self._stop, smallest=self._smallest), n_texts=len(tokens)
            )
        except AttemptFailed as error:
            for sequence in sequences:
                self._end(sequence, delivery, None, error)
            return delivery
        # All of them first: where a text ends, another one moves to its place, with all that it has cached.
        for sequence in sequences:
            sequence.n_cached += 1
        for sequence, row in zip(sequences, logits, strict=True):
            self._take(sequence, row, delivery)
        return delivery

    def _ran(self, run: Callable[[], Any], *, n_texts: int = 1) -> Any:
        """n_texts: which may be at fault."""
        self._run_began = time.monotonic()
        try:
            return run()
        except AttemptFailed as error:
            if not self._stop.options.terminate:
                raise
            self._stop = Stop()
            if self._is_closing:
                raise _stopping() from error
            raise AttemptFailed("model_timeout", "the model took too long", retryable=n_texts > 1) from error
        finally:
            self._run_began = 0.0

    def _take(self, sequence: Sequence, logits: Any, delivery: list[_Delivery]) -> bool:
        """-> whether the text goes on."""
        try:
            taken: Taken = sequence.take(logits, len(sequence.tokens))
        except Exception as error:  # of one text; whoever reads it gets it
            self._end(sequence, delivery, None, error)
            return False
        sequence.tokens.append(taken.token)
        if taken.is_last or len(sequence.tokens) >= sequence.max_tokens:
            self._end(sequence, delivery, taken.piece, None)
            return False
        delivery.append((sequence, taken.piece, False, None))
        return True

    def _keep(self, sequence: Sequence) -> None:
        missing = list(self._prefixes.missing(sequence.prompt))
        blocks = [(key, self._memory.tokens(sequence.slot, start, start + BLOCK)) for start, key in missing]
        self._prefixes.keep(sequence.prompt, blocks)

    def _end(self, sequence: Sequence, delivery: list[_Delivery], piece: Any, error: Exception | None) -> None:
        delivery.append((sequence, piece, True, error))
        self._leave(sequence)

    def _leave(self, sequence: Sequence) -> None:
        if sequence not in self._everyone():
            return  # it ended just before its reader left
        move = self._scheduler.remove(sequence)
        if move is not None:
            self._memory.move(move)
        elif sequence.slot >= 0:
            self._memory.clear(sequence.slot)

    def _everyone(self) -> list[Sequence]:
        return [*self._scheduler.admitted, *self._scheduler.waiting]

    def _deliver(self, delivery: list[_Delivery]) -> None:
        loop = self._loop
        if delivery and loop is not None:
            # The loop is closed if its process ends while a run cannot be stopped.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._delivered, delivery)

    # What follows runs on the event loop.

    def _delivered(self, delivery: list[_Delivery]) -> None:
        for sequence, piece, has_ended, error in delivery:
            reader = self._readers.get(sequence)
            if reader is None:
                continue
            if piece is not None:
                reader.pieces.append(piece)
            reader.has_ended, reader.error = has_ended, error
            reader.came.set()

    def _give_up(self) -> None:
        """Only a new process helps: the state of the scheduler is not known."""
        self._has_given_up = True
        self._fail_all(WorkerUnfit())

    def _fail_all(self, error: HeadraceError) -> None:
        self._delivered([(sequence, None, True, error) for sequence in list(self._readers)])


def _stopping() -> AttemptFailed:
    return AttemptFailed("worker_stopping", "the model was unloaded before it ran", retryable=True)
