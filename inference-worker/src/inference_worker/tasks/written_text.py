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
from inference_worker.tasks.task import Delivered, FinishReason, Load, Request
from inference_worker.tasks.text_generation import GeneratedText, TextGeneration
from inference_worker.tensors import Array, Arrays
from inference_worker.text import TextCodec, TextStream, open_codec


class _Piece(NamedTuple):
    """came_s: by the monotonic clock."""

    token: int
    chunk: str
    reason: FinishReason | None
    came_s: float


class _Writer:
    """Chooses the tokens of one text, and turns them into chunks.

    given: the tokens that an earlier attempt has shown. They are written once more without a word, because a token that
    was written has other bits in the cache than the same token read. So the text goes on as if nothing had happened.
    """

    def __init__(
        self,
        codec: TextCodec,
        parameters: InferenceParameters,
        rng: np.random.Generator,
        *,
        end_ids: frozenset[int],
        max_tokens: int,
        given: tuple[int, ...],
    ) -> None:
        self._codec, self._parameters, self._rng = codec, parameters, rng
        self._end_ids, self._max_tokens = end_ids, max_tokens
        self._forbidden = [each for each in codec.special_ids if each not in end_ids]
        self._given, self._stream = given, TextStream(codec, parameters.stop)
        for token in given:
            self._stream.push(token)
            # One random number for each token, as in next_token.
            rng.random()

    def take(self, logits: Array, position: int) -> Taken:
        """AttemptFailed model_output_invalid."""
        if position < len(self._given):
            return Taken(self._given[position], None, is_last=False)
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
        piece = _Piece(token, chunk, reason, time.monotonic())
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
        shown = request.delivered.get(index) or Delivered("", (), None)
        writer = _Writer(
            codec,
            parameters,
            generator_for(request.seed, index),
            end_ids=self._end_ids,
            max_tokens=max_tokens,
            given=shown.tokens,
        )
        sequence = Sequence(
            prompt,
            max_tokens,
            writer.take,
            priority=request.priority,
            deadline=request.deadline,
            is_alone=request.alone,
        )
        chunks, pieces, waiting = [shown.text], list[_Piece](), list[int]()
        if shown.finish_reason is not None:
            return self._answer(
                ids, len(prompt), shown.finish_reason, chunks, shown.tokens, _speed(began_s, pieces, shown)
            )
        async with aclosing(self._engine.write(sequence)) as written:
            async for new in written:
                pieces += new
                waiting += [piece.token for piece in new]
                chunk, reason = "".join(piece.chunk for piece in new), new[-1].reason
                if chunk or reason is not None:
                    chunks.append(chunk)
                    await request.emit(index, chunk, reason, tokens=tuple(waiting))
                    waiting.clear()
        tokens = (*shown.tokens, *(piece.token for piece in pieces))
        reason = pieces[-1].reason or "length"
        return self._answer(ids, len(prompt), reason, chunks, tokens, _speed(began_s, pieces, shown))

    def _answer(
        self,
        ids: list[int],
        n_kept: int,
        reason: FinishReason,
        chunks: list[str],
        tokens: tuple[int, ...],
        speed: Speed,
    ) -> GeneratedText:
        """ids: of the whole prompt, of which n_kept were read."""
        return GeneratedText(
            text="".join(chunks),
            finish_reason=reason,
            prompt_tokens=len(ids),
            tokens=sum(token not in self._end_ids for token in tokens),
            truncated_prompt_tokens=len(ids) - n_kept,
            speed=speed,
            warnings=TRUNCATED if n_kept < len(ids) else (),
        )

    depends_on_seed = staticmethod(TextGeneration.depends_on_seed)
    as_chunk = staticmethod(TextGeneration.as_chunk)
    reproducible = staticmethod(TextGeneration.reproducible)


_SHORTEST_CONTEXT = 4


def _speed(began_s: float, pieces: list[_Piece], shown: Delivered) -> Speed:
    if not pieces:
        return Speed(first_token_s=None, tokens_per_s=None, resumed_tokens=len(shown.tokens))
    first_s, last_s = pieces[0].came_s, pieces[-1].came_s
    rate = round((len(pieces) - 1) / (last_s - first_s), 2) if last_s > first_s else None
    return Speed(first_token_s=round(first_s - began_s, 4), tokens_per_s=rate, resumed_tokens=len(shown.tokens))
