"""Writes a text token by token. Each step is one row for the engine, so texts that are written at the same time
share batches, join and leave at any step. It knows no job and no timeline: chunks go to the caller's function.
"""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import numpy as np
from shared_schemas.specs import InferenceParameters

from inference_worker.engines.batching import Engine
from inference_worker.inputs import TRUNCATED, Warned
from inference_worker.sampling import next_token
from inference_worker.tensors import text_row
from inference_worker.text import TextCodec, TextStream

FinishReason = Literal["stop", "length"]
Emit = Callable[[str, FinishReason | None], Awaitable[None]]


class Generated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """text: without the prompt. stop: the model ended it or a stop string came up; length: max_tokens. tokens:
    written ones, the end token not counted. prompt_tokens: with <bos>, before the context is cut.
    truncated_prompt_tokens: of these, at the beginning, which were not read."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    tokens: int
    truncated_prompt_tokens: int = 0
    warnings: tuple[Warned, ...] = ()


async def generate(
    prompt: str,
    *,
    engine: Engine,
    codec: TextCodec,
    context_length: int,
    parameters: InferenceParameters,
    rng: np.random.Generator,
    emit: Emit,
) -> Generated:
    """emit(chunk, finish_reason): called as the text grows, lastly with the reason; the chunks joined are the
    text. InvalidInput for an empty prompt of a model without <bos>; AttemptFailed as of Engine.infer and
    next_token."""
    ids = await codec.encode_prompt(prompt)
    prompt_tokens, tokens = len(ids), 0
    truncated = max(0, prompt_tokens - context_length)
    stream, chunks = TextStream(codec, parameters.stop), list[str]()
    reason: FinishReason | None = None
    while reason is None:
        window = ids[-context_length:]
        row = text_row(window, longest=context_length, pad=codec.pad_id, take=len(window) - 1)
        outputs = await engine.infer(row)
        token = next_token(
            outputs["logits"][: codec.n_tokens],
            rng,
            temperature=parameters.temperature,
            top_k=parameters.top_k,
            forbidden=codec.unspoken_ids,
        )
        if token == codec.eos_id:
            chunk, reason = stream.finish(), "stop"
        else:
            ids.append(token)
            tokens += 1
            chunk = stream.push(token)
            if tokens == parameters.max_tokens and not stream.is_stopped:
                chunk += stream.finish()
                reason = "length"
            if stream.is_stopped:
                reason = "stop"
        if chunk or reason is not None:
            chunks.append(chunk)
            await emit(chunk, reason)
    return Generated(
        text="".join(chunks),
        finish_reason=reason,
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        truncated_prompt_tokens=truncated,
        warnings=TRUNCATED if truncated else (),
    )
