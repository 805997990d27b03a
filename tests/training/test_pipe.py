"""The pipe of a training process' messages, written in pieces of any size."""

import os
import random
import struct

import anyio
import pytest
from shared_schemas.events import Logged
from training_worker.messages import frame
from training_worker.pipe import Pipe


async def read(pieces: list[bytes]) -> list[bytes]:
    pipe, bodies = Pipe(), list[bytes]()

    async def write() -> None:
        for piece in pieces:
            os.write(pipe.writing, piece)
            await anyio.lowlevel.checkpoint()
        pipe.close_writing()

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        async for some in pipe.frames():
            bodies += some
    pipe.close()
    return bodies


async def test_frames_come_whole_and_in_order_however_they_are_cut() -> None:
    rng = random.Random(20)
    bodies = [frame(Logged(line="x" * rng.randrange(200)))[4:] for _ in range(60)]
    stream = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    cuts = sorted(rng.sample(range(1, len(stream)), 40))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert await read(pieces) == bodies


async def test_a_frame_that_was_cut_off_is_left_out() -> None:
    whole = frame(Logged(line="whole"))

    assert await read([whole, whole[:-1]]) == [whole[4:]]


async def test_a_length_that_no_child_sends_is_refused() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await read([b"\xff\xff\xff\xff"])

    assert caught.group_contains(ValueError)
