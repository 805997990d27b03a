"""Encodes events as server-sent events or NDJSON. Knows no request."""

from collections.abc import Callable, Sequence

from shared_schemas.codec import encode_json
from shared_schemas.events import Gap
from shared_schemas.ids import JobId
from shared_schemas.stream.change_log import LogEntry
from shared_schemas.stream.timeline import Entry

from gateway.feed.change_log_source import ChangeLogSource, LogBatch, LogGap
from gateway.feed.hub import Notification
from gateway.feed.stream_response import SSE
from gateway.feed.timeline_source import Batch, entries_of

NDJSON, JSON = "application/x-ndjson", "application/json"
_RETRY_MS = 2000


def opening(media_type: str) -> bytes:
    return b"retry: %d\n\n" % _RETRY_MS if media_type == SSE else b""


def one_job(media_type: str) -> Callable[[Batch], bytes]:
    encode_notification = _sse_of if media_type == SSE else _lines_of

    def encode(batch: Batch) -> bytes:
        # All readers of the job get the same bytes, which are made once.
        if batch.notification is not None:
            return batch.notification.memo(encode_notification)
        gap = b""
        if batch.missing_up_to is not None:
            missing = _gap(batch.requested, batch.missing_up_to)
            gap = _write(media_type, str(batch.missing_up_to - 1), "gap", missing)
        return gap + _frames(media_type, batch.entries)

    return encode


def many_jobs(media_type: str, cursors: dict[JobId, int]) -> Callable[[Batch], bytes]:
    """cursors: the reader's last number in each job; encoding an event moves it."""

    def frame(event: str, job_id: JobId, data: bytes) -> bytes:
        return _write(media_type, _composite(cursors), event, with_job_id(job_id, data))

    def encode(batch: Batch) -> bytes:
        frames = []
        if batch.missing_up_to is not None:
            cursors[batch.job_id] = batch.missing_up_to - 1
            frames.append(frame("gap", batch.job_id, _gap(batch.requested, batch.missing_up_to)))
        for entry in batch.entries:
            cursors[batch.job_id] = entry.n
            frames.append(frame(entry.event, batch.job_id, entry.data))
        return b"".join(frames)

    return encode


def whole_log(media_type: str, logs: ChangeLogSource) -> Callable[[LogBatch], bytes]:
    def frame(entry: LogEntry | LogGap) -> bytes:
        if isinstance(entry, LogGap):
            return _write(media_type, logs.cursor(), "gap", gap_of_log(entry))
        return _write(media_type, logs.advance(entry), entry.event, with_job_id(entry.job_id, entry.data))

    return lambda entries: b"".join(map(frame, entries))


def gap_of_log(entry: LogGap) -> bytes:
    return with_queue(entry.queue, encode_json(entry.gap))


def _sse_of(notification: Notification) -> bytes:
    return _frames(SSE, notification.memo(entries_of))


def _lines_of(notification: Notification) -> bytes:
    return _frames(NDJSON, notification.memo(entries_of))


def _frames(media_type: str, entries: Sequence[Entry]) -> bytes:
    return b"".join(_write(media_type, str(entry.n), entry.event, entry.data) for entry in entries)


def _write(media_type: str, cursor: str, event: str, data: bytes) -> bytes:
    line = one_line(data)
    return sse_frame(cursor, event, line) if media_type == SSE else line + b"\n"


def _gap(requested: int, oldest: int) -> bytes:
    return encode_json(Gap(requested=requested, oldest=oldest))


def _composite(cursors: dict[JobId, int]) -> str:
    return ",".join(f"{job_id}:{n}" for job_id, n in cursors.items())


def one_line(data: bytes) -> bytes:
    """The JSON on one line for every reader. U+0085, U+2028 and U+2029 may be unescaped in JSON,
    but str.splitlines and similar functions end a line there. They can only be within strings."""
    if b"\xe2\x80" in data:
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data.replace(b"\xc2\x85", b"\\u0085") if b"\xc2\x85" in data else data


def sse_frame(cursor: str, event: str, data: bytes) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), event.encode(), data)


def with_job_id(job_id: str, data: bytes) -> bytes:
    """The event with the id of its job as the first field, for streams of many jobs."""
    return b'{"job_id":"%b",%b' % (job_id.encode(), data[1:])


def with_queue(queue: str, data: bytes) -> bytes:
    """The gap with its queue as the first field, for streams of many queues."""
    return b'{"queue":"%b",%b' % (queue.encode(), data[1:])
