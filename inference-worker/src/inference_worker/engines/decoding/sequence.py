"""One text that an engine writes: its prompt, what it may cost, and how its tokens are chosen."""

import itertools
import math
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from typing import Any, NamedTuple, TypeAlias

from inference_worker.tensors import Array

_numbers = itertools.count()


class Taken(NamedTuple):
    """What was made of the logits of one token.

    token: the one that continues the text. piece: for whoever reads the text. is_last: whether the text has ended.
    """

    token: int
    piece: Any
    is_last: bool


# take(logits, position): logits: float32 [vocabulary], only valid during the call. position: of the token in the text
# that is written, from 0.
Take: TypeAlias = Callable[[Array, int], Taken]


class Sequence:
    """Only the thread of an engine changes it.

    prompt: at least one token. max_tokens: how many tokens `take` will be asked for at most. priority: the lower is
    served first. deadline: of those of equal priority, the earlier is served first, in seconds of any one clock.
    is_alone: whether it may only run while no other does.
    """

    def __init__(
        self,
        prompt: SequenceOf[int],
        max_tokens: int,
        take: Take,
        *,
        priority: int = 0,
        deadline: float = math.inf,
        is_alone: bool = False,
    ) -> None:
        if not prompt or max_tokens < 1:
            raise ValueError("a sequence needs a prompt, and a token that is left to be written")
        self.prompt, self.take, self.max_tokens, self.is_alone = tuple(prompt), take, max_tokens, is_alone
        self.order = (priority, deadline, next(_numbers))
        self.tokens = list[int]()
        """What was written so far."""
        self.n_cached = 0
        """How many tokens are in the cache."""
        self.slot = -1
        """Where its cache is, -1 before it is admitted."""

    @property
    def need(self) -> int:
        """How many tokens of cache it may take up."""
        return len(self.prompt) + self.max_tokens

    @property
    def is_read(self) -> bool:
        return self.n_cached >= len(self.prompt)

    @property
    def last_token(self) -> int:
        return self.tokens[-1]
