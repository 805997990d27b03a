"""From followed events to the bytes of an answer: server-sent events or NDJSON. Knows no request."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from shared_schemas.codec import encode_json
from shared_schemas.events import Gap
from shared_schemas.ids import JobId

from gateway.following import Follower
from gateway.log_following import LogFollower
from gateway.streaming import RETRY_MS, SSE, sse_frame, with_job_id


async def pause() -> AsyncGenerator[bytes, None]:
    """Nothing yet: an EventSource comes back in a while."""
    yield _opening(SSE)


async def one_job(follower: Follower, media_type: str, *, follow: bool) -> AsyncGenerator[bytes, None]:
    yield _opening(media_type)
    async with aclosing(follower.follow(live=follow)) as batches:
        async for batch in batches:
            frames = [_write(media_type, str(entry.n), entry.event, entry.data) for entry in batch.entries]
            if batch.missing_up_to is not None:
                gap = _gap(batch.requested, batch.missing_up_to)
                frames.insert(0, _write(media_type, str(batch.missing_up_to - 1), "gap", gap))
            yield b"".join(frames)


async def many_jobs(
    follower: Follower, media_type: str, cursors: dict[JobId, int], *, follow: bool
) -> AsyncGenerator[bytes, None]:
    def frame(event: str, job_id: JobId, data: bytes) -> bytes:
        return _write(media_type, _composite(cursors), event, with_job_id(job_id, data))

    yield _opening(media_type)
    async with aclosing(follower.follow(live=follow)) as batches:
        async for batch in batches:
            frames = []
            if batch.missing_up_to is not None:
                cursors[batch.job_id] = batch.missing_up_to - 1
                frames.append(frame("gap", batch.job_id, _gap(batch.requested, batch.missing_up_to)))
            for entry in batch.entries:
                cursors[batch.job_id] = entry.n
                frames.append(frame(entry.event, batch.job_id, entry.data))
            yield b"".join(frames)


async def whole_log(
    log: LogFollower, media_type: str, gaps: Sequence[bytes], *, follow: bool
) -> AsyncGenerator[bytes, None]:
    yield _opening(media_type) + b"".join(_write(media_type, log.cursor(), "gap", gap) for gap in gaps)
    async with aclosing(log.follow(live=follow)) as batches:
        async for entries in batches:
            yield b"".join(
                _write(media_type, log.advance(entry), entry.event, with_job_id(entry.job_id, entry.data))
                for entry in entries
            )


def _opening(media_type: str) -> bytes:
    return b"retry: %d\n\n" % RETRY_MS if media_type == SSE else b""


def _write(media_type: str, cursor: str, event: str, data: bytes) -> bytes:
    return sse_frame(cursor, event, data) if media_type == SSE else data + b"\n"


def _gap(requested: int, oldest: int) -> bytes:
    return encode_json(Gap(requested=requested, oldest=oldest))


def _composite(cursors: dict[JobId, int]) -> str:
    return ",".join(f"{job_id}:{n}" for job_id, n in cursors.items())
