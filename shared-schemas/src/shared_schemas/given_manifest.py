"""The manifest in the request of who publishes a model. A field with another name is refused, also
inside its parts. A stored manifest is read leniently, because a newer version may have written it:
that is shared_schemas.models. It knows no job.

The parts have the fields and the meaning of the Structs that they extend.
"""

from shared_schemas.models import (
    BatchingSpec,
    DecoderSpec,
    EmbeddingSpec,
    ImageSpec,
    ModelDescription,
    RerankSpec,
    TokenLabelSpec,
)


class GivenEmbedding(EmbeddingSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    __doc__ = EmbeddingSpec.__doc__


class GivenRerank(RerankSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    __doc__ = RerankSpec.__doc__


class GivenTokenLabels(TokenLabelSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    __doc__ = TokenLabelSpec.__doc__


class GivenImage(ImageSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    __doc__ = ImageSpec.__doc__


class GivenBatching(BatchingSpec, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    __doc__ = BatchingSpec.__doc__

    def __post_init__(self) -> None:
        if not self.batchable and (self.max_batch is not None or self.max_wait_ms is not None):
            raise ValueError("a model that is not batchable has neither max_batch nor max_wait_ms")


class GivenDecoder(DecoderSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    __doc__ = DecoderSpec.__doc__


class GivenManifest(ModelDescription, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    __doc__ = ModelDescription.__doc__

    embedding: GivenEmbedding | None = None
    rerank: GivenRerank | None = None
    token_labels: GivenTokenLabels | None = None
    image: GivenImage | None = None
    decoder: GivenDecoder | None = None
    batching: GivenBatching | None = None

    def __post_init__(self) -> None:
        if self.decoder is not None and (self.task != "text-generation" or self.device == "cuda"):
            raise ValueError("a decoder is a model of text-generation that runs on the CPU")
        if self.batching is None:
            return
        if not self.batching.batchable and self.batch_axis is not None:
            raise ValueError("a model that is not batchable has no batch_axis")
        if self.batching.batchable and self.task == "tensors" and self.batch_axis is None:
            raise ValueError("batching of a model of tensors needs a batch_axis")
