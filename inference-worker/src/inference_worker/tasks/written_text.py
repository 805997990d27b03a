"""The task text-generation of a model with a cache. It makes the same answers as `text_generation`, which serves models
without one.

The engine runs `_Writer.take` in its thread, between two steps of the model. What has to be known before the next
token, such as whether a stop string has appeared, is known there. Chunks are emitted on the event loop meanwhile.
"""

import time
from contextlib import aclosing
from typing import Any, ClassVar, NamedTuple

import numpy as np
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs.texts import text_of
from shared_schemas.models import ModelManifest
from shared_schemas.specs import InferenceParameters

from inference_worker.engines.decoding.engine import DecodingEngine
from inference_worker.engines.decoding.sequence import Sequence, Taken
from inference_worker.results import TRUNCATED, Speed
from inference_worker.sampling import generator_for, next_token
from inference_worker.tasks.task import FinishReason, Load, Request
from inference_worker.tasks.text_generation import GeneratedText, TextGeneration
from inference_worker.tensors import Array, Arrays
from inference_worker.text import TextCodec, TextStream, open_codec


class _Piece(NamedTuple):
    """came_s: by the monotonic clock. is_text: whether the token is part of the text, and not its end."""

    chunk: str
    reason: FinishReason | None
    came_s: float
    is_text: bool


class _Writer:
    """Chooses the tokens of one text, and turns them into chunks."""

    def __init__(
        self,
        codec: TextCodec,
        parameters: InferenceParameters,
        rng: np.random.Generator,
        *,
        end_ids: frozenset[int],
        max_tokens: int,
    ) -> None:
        self._codec, self._parameters, self._rng = codec, parameters, rng
        self._end_ids, self._max_tokens = end_ids, max_tokens
        self._forbidden = [each for each in codec.special_ids if each not in end_ids]
        self._stream = TextStream(codec, parameters.stop)

    def take(self, logits: Array, position: int) -> Taken:
        """AttemptFailed model_output_invalid."""
        token = next_token(
            logits[: self._codec.n_tokens],
            self._rng,
            temperature=self._parameters.temperature,
            top_k=self._parameters.top_k,
            forbidden=self._forbidden,
        )
        reason: FinishReason | None = None
        if token in self._end_ids:
            chunk, reason = self._stream.finish(), "stop"
        else:
            chunk = self._stream.push(token)
            if position + 1 == self._max_tokens and not self._stream.is_stopped:
                chunk += self._stream.finish()
                reason = "length"
            if self._stream.is_stopped:
                reason = "stop"
        piece = _Piece(chunk, reason, time.monotonic(), token not in self._end_ids)
        return Taken(token, piece, is_last=reason is not None)


class WrittenText:
    takes_many_runs: ClassVar[bool] = True
    takes_ones: ClassVar[bool] = False

    def __init__(self, manifest: ModelManifest, engine: DecodingEngine, load: Load) -> None:
        self._codec, self._context_length = open_codec(manifest, load)
        if not self._codec.is_byte_level:
            raise AttemptFailed("model_unsupported", "generation needs a byte-level tokenizer")
        vocabulary, decoder = engine.form.vocabulary, manifest.decoder
        if decoder is None or max(decoder.end_token_ids) >= vocabulary:
            raise AttemptFailed("model_unsupported", "an end token is not in the model's vocabulary")
        if self._codec.n_tokens > vocabulary or self._context_length < _SHORTEST_CONTEXT:
            raise AttemptFailed("model_unsupported", "the tokenizer or the context length does not fit the model")
        self._end_ids, self._engine = frozenset(decoder.end_token_ids), engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        """Any logits can be sampled from."""

    async def answer(self, item: Any, index: int, request: Request) -> GeneratedText:
        """As TextGeneration.answer. A prompt that leaves no room for max_tokens in the context loses its beginning, but
        never more than what exceeds half of the context. The text ends with the context. InvalidInput also if the
        worker's cache has no room for prompt and text."""
        began_s, codec, parameters = time.monotonic(), self._codec, request.parameters
        ids = await codec.encode_prompt(text_of(item))
        room = self._context_length - min(parameters.max_tokens, self._context_length // 2)
        prompt = ids[-room:]
        max_tokens = min(parameters.max_tokens, self._context_length - len(prompt))
        writer = _Writer(
            codec, parameters, generator_for(request.seed, index), end_ids=self._end_ids, max_tokens=max_tokens
        )
        sequence = Sequence(
            prompt,
            max_tokens,
            writer.take,
            priority=request.priority,
            deadline=request.deadline,
            is_alone=request.alone,
        )
        chunks, pieces = list[str](), list[_Piece]()
        async with aclosing(self._engine.write(sequence)) as written:
            async for new in written:
                pieces += new
                chunk, reason = "".join(piece.chunk for piece in new), new[-1].reason
                if chunk or reason is not None:
                    chunks.append(chunk)
                    await request.emit(index, chunk, reason)
        return GeneratedText(
            text="".join(chunks),
            finish_reason=pieces[-1].reason or "length",
            prompt_tokens=len(ids),
            tokens=sum(piece.is_text for piece in pieces),
            truncated_prompt_tokens=len(ids) - len(prompt),
            speed=_speed(began_s, pieces),
            warnings=TRUNCATED if len(prompt) < len(ids) else (),
        )

    depends_on_seed = staticmethod(TextGeneration.depends_on_seed)
    as_chunk = staticmethod(TextGeneration.as_chunk)
    reproducible = staticmethod(TextGeneration.reproducible)


_SHORTEST_CONTEXT = 4


def _speed(began_s: float, pieces: list[_Piece]) -> Speed:
    first_s, last_s = pieces[0].came_s, pieces[-1].came_s
    rate = round((len(pieces) - 1) / (last_s - first_s), 2) if last_s > first_s else None
    return Speed(first_token_s=round(first_s - began_s, 4), tokens_per_s=rate)
