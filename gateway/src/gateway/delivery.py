"""From followed events to the bytes of an answer: server-sent events or NDJSON. Knows no request."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from shared_schemas.codec import encode_json
from shared_schemas.events import Gap
from shared_schemas.ids import JobId

from gateway.following import Batch, Follower
from gateway.log_following import LogFollower
from gateway.streaming import KEEP_ALIVE, RETRY_MS, SSE, sse_frame, with_job_id


async def pause() -> AsyncGenerator[bytes, None]:
    """Nothing yet: an EventSource comes back in a while."""
    yield _opening(SSE)


async def one_job(
    follower: Follower, media_type: str, *, lost: int | None, follow: bool
) -> AsyncGenerator[bytes, None]:
    opening = _opening(media_type)
    if lost is not None:
        opening += _write(media_type, "0", "gap", _gap(lost, 1))
    yield opening
    async with aclosing(follower.follow(live=follow)) as items:
        async for item in items:
            if isinstance(item, Batch):
                chunk = b"".join(_write(media_type, str(entry.n), entry.event, entry.data) for entry in item.entries)
                if item.missing_up_to is not None:
                    gap = _gap(item.requested, item.missing_up_to)
                    chunk = _write(media_type, str(item.missing_up_to - 1), "gap", gap) + chunk
                yield chunk
            elif media_type == SSE:
                yield KEEP_ALIVE


async def many_jobs(
    follower: Follower, media_type: str, cursors: dict[JobId, int], lost: dict[JobId, int], *, follow: bool
) -> AsyncGenerator[bytes, None]:
    def frame(event: str, job_id: JobId, data: bytes) -> bytes:
        return _write(media_type, _composite(cursors), event, with_job_id(job_id, data))

    yield _opening(media_type) + b"".join(frame("gap", job_id, _gap(n, 1)) for job_id, n in lost.items())
    async with aclosing(follower.follow(live=follow)) as items:
        async for item in items:
            if not isinstance(item, Batch):
                if media_type == SSE:
                    yield KEEP_ALIVE
                continue
            frames = []
            if item.missing_up_to is not None:
                cursors[item.job_id] = item.missing_up_to - 1
                frames.append(frame("gap", item.job_id, _gap(item.requested, item.missing_up_to)))
            for entry in item.entries:
                cursors[item.job_id] = entry.n
                frames.append(frame(entry.event, item.job_id, entry.data))
            yield b"".join(frames)


async def whole_log(
    log: LogFollower, media_type: str, gaps: Sequence[bytes], *, follow: bool
) -> AsyncGenerator[bytes, None]:
    yield _opening(media_type) + b"".join(_write(media_type, log.cursor(), "gap", gap) for gap in gaps)
    async with aclosing(log.follow(live=follow)) as items:
        async for item in items:
            if isinstance(item, list):
                yield b"".join(
                    _write(media_type, log.advance(entry), entry.event, with_job_id(entry.job_id, entry.data))
                    for entry in item
                )
            elif media_type == SSE:
                yield KEEP_ALIVE


def _opening(media_type: str) -> bytes:
    return b"retry: %d\n\n" % RETRY_MS if media_type == SSE else b""


def _write(media_type: str, cursor: str, event: str, data: bytes) -> bytes:
    return sse_frame(cursor, event, data) if media_type == SSE else data + b"\n"


def _gap(requested: int, oldest: int) -> bytes:
    return encode_json(Gap(requested=requested, oldest=oldest))


def _composite(cursors: dict[JobId, int]) -> str:
    return ",".join(f"{job_id}:{n}" for job_id, n in cursors.items())
