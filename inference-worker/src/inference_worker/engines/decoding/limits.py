"""What a decoder may take of a machine. It imports no ONNX Runtime, so settings can use it."""

import msgspec


class DecodingLimits(msgspec.Struct, frozen=True):
    """max_rows: texts that are written at once. cache_bytes: for the keys and values of the admitted ones.
    prefix_bytes: beside it, for the beginnings of prompts. reading_ms: how long a step may read prompts while texts
    wait for their next token. One block is always read, and a part that takes longer than expected is not cut short."""

    max_rows: int = 16
    cache_bytes: int = 1 << 30
    prefix_bytes: int = 256 << 20
    reading_ms: float = 100.0
