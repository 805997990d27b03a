"""The task text-generation: a text that is continued token by token.

Each step is one row for the engine. So texts that are written at the same time share batches, and each may start or end
at any step. Which inputs are accepted at all is checked in `shared_schemas.inputs.texts`, which a gateway uses too.
"""

from typing import Any, ClassVar

import msgspec
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs.texts import text_of
from shared_schemas.models import ModelManifest
from shared_schemas.specs import InferenceParameters

from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import TEXT_INPUTS, Graph, check_graph
from inference_worker.results import TRUNCATED, AnswerWarning, Speed
from inference_worker.sampling import generator_for, next_token
from inference_worker.tasks.task import FinishReason, Load, Request
from inference_worker.tensors import Arrays, text_row
from inference_worker.text import TextStream, open_codec


class GeneratedText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """text: without the prompt. finish_reason: `stop` if the model ended the text or a stop string appeared, `length`
    at max_tokens. tokens: how many were written, without the end token. prompt_tokens: with <bos>, before the prompt is
    cut to the context. truncated_prompt_tokens: how many were cut, at the beginning. speed: of a model with a cache."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    tokens: int
    truncated_prompt_tokens: int = 0
    speed: Speed | None = None
    warnings: tuple[AnswerWarning, ...] = ()


class TextGeneration:
    takes_many_runs: ClassVar[bool] = True
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        check_graph(graph, "text-generation", inputs=TEXT_INPUTS, output="logits")
        self._codec, self._context_length = open_codec(manifest, load)
        if not self._codec.is_byte_level:
            raise AttemptFailed("model_unsupported", "generation needs a byte-level tokenizer")
        self._engine = engine

    def check_first_outputs(self, outputs: Arrays) -> None:
        """Any logits can be sampled from."""

    async def answer(self, item: Any, index: int, request: Request) -> GeneratedText:
        """Emits chunks as the text grows, the last one with the reason why it ended. The chunks
        joined are the text. InvalidInput also for an empty prompt of a model without <bos>;
        AttemptFailed also model_output_invalid."""
        codec, context_length, parameters = self._codec, self._context_length, request.parameters
        ids = await codec.encode_prompt(text_of(item))
        rng = generator_for(request.seed, index)
        prompt_tokens, tokens = len(ids), 0
        truncated = max(0, prompt_tokens - context_length)
        stream, chunks = TextStream(codec, parameters.stop), list[str]()
        reason: FinishReason | None = None
        while reason is None:
            window = ids[-context_length:]
            row = text_row(window, longest=context_length, pad=codec.pad_id, take=len(window) - 1)
            outputs = await self._engine.infer(row, alone=request.alone)
            token = next_token(
                outputs["logits"][: codec.n_tokens],
                rng,
                temperature=parameters.temperature,
                top_k=parameters.top_k,
                forbidden=codec.forbidden_ids,
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
                await request.emit(index, chunk, reason)
        return GeneratedText(
            text="".join(chunks),
            finish_reason=reason,
            prompt_tokens=prompt_tokens,
            tokens=tokens,
            truncated_prompt_tokens=truncated,
            warnings=TRUNCATED if truncated else (),
        )

    @staticmethod
    def depends_on_seed(parameters: InferenceParameters) -> bool:
        return parameters.temperature > 0.0

    @staticmethod
    def as_chunk(answer: Any) -> tuple[str, FinishReason]:
        whole = msgspec.convert(answer, GeneratedText)
        return whole.text, whole.finish_reason

    @staticmethod
    def reproducible(answer: GeneratedText) -> GeneratedText:
        """The whole answer, because the same seed writes the same text."""
        return answer
