"""What the recipes for texts share: the tokenizer, the body of the model, and the inputs of its
graph.

Knows no labels and no loop.
"""

from collections.abc import Sequence

from recipe_kit import tokens
from recipe_kit.checkpoint import Vocabulary
from shared_schemas.errors import SpecRejected
from shared_schemas.models import TensorSpec
from shared_schemas.specs import Hyperparameters
from tokenizers import Tokenizer

from training_worker.recipes.attention import Transformer

INPUTS = (
    TensorSpec(name="input_ids", dtype="int64", shape=("batch", "length")),
    TensorSpec(name="attention_mask", dtype="int64", shape=("batch", "length")),
)
DYNAMIC = ({0: "batch", 1: "length"}, {0: "batch", 1: "length"})

# The batch size on held-out rows.
EVALUATION_ROWS = 128
DEFAULT_VOCABULARY = 1024
# The hyperparameters that decide the shapes of the weights.
SHAPE = ("width", "layers", "heads", "max_length", "vocabulary_size")


def tokenizer_of(source: Vocabulary | None, texts: Sequence[str], vocabulary_size: int) -> Tokenizer:
    """source: of the checkpoint that the run starts from; its tokenizer is used again. Without one,
    a tokenizer is trained on the texts."""
    if source is not None and source.tokenizer is not None:
        return tokens.read_tokenizer(source.tokenizer)
    return tokens.train_tokenizer(texts, vocabulary_size)


def _heads(width: int) -> int:
    """About 32 dimensions for each head; the heads divide the width."""
    return next(heads for heads in range(max(1, width // 32), 0, -1) if width % heads == 0)


def body_of(wanted: Hyperparameters, *, vocabulary: int, context: int, width: int, layers: int, dropout: float,
            is_causal: bool) -> Transformer:  # fmt: skip
    """vocabulary, context: in tokens. width, layers, dropout: the recipe's defaults, for what
    `wanted` leaves open. SpecRejected if the heads do not divide the width."""
    width = wanted.width or width
    heads = wanted.heads or _heads(width)
    if width % heads:
        raise SpecRejected("width must be a multiple of heads", pointer="/hyperparameters/heads")
    return Transformer(
        vocabulary=vocabulary,
        context=context,
        width=width,
        layers=wanted.layers or layers,
        heads=heads,
        dropout=wanted.dropout if wanted.dropout is not None else dropout,
        is_causal=is_causal,
    )
