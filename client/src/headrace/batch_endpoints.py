"""The endpoints of batches: what to send to each, and how to read the response. Opens no socket."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from shared_schemas.batches import Batch, BatchList, BatchResult
from shared_schemas.codec import encode_json

from headrace.endpoints import Request, key_header, params_of, segment
from headrace.errors import InvalidJob

_batch = msgspec.json.Decoder(Batch).decode
_batch_list = msgspec.json.Decoder(BatchList).decode
_batch_result = msgspec.json.Decoder(BatchResult).decode


def _batch_results(body: bytes) -> tuple[BatchResult, ...]:
    return tuple(map(_batch_result, body.splitlines()))


def submit_batch(
    lines: "bytes | os.PathLike[str] | Iterable[Mapping[str, Any]]",
    *,
    queue: str | None,
    idempotency_key: str | UUID | None,
) -> Request[Batch]:
    """lines: a file of JSON lines, its content, or the lines as mappings. OSError if the file cannot
    be read. InvalidJob."""
    if isinstance(lines, os.PathLike):
        content = Path(lines).read_bytes()
    elif isinstance(lines, bytes):
        content = lines
    elif isinstance(lines, str | Mapping):
        raise InvalidJob("give the lines of a batch, their bytes, or a pathlib.Path")
    else:
        content = b"".join(_batch_line(line, i) for i, line in enumerate(lines))
    headers = {"content-type": "application/jsonl", **key_header(idempotency_key)}
    return Request(
        method="POST", path="/batches", params=params_of(queue=queue), decode=_batch, headers=headers, body=content
    )


def _batch_line(line: Mapping[str, Any], place: int) -> bytes:
    if not isinstance(line, Mapping):
        raise InvalidJob(f"lines[{place}] is no mapping with custom_id and body")
    return encode_json(line) + b"\n"


def batches(*, queue: str | None) -> Request[BatchList]:
    return Request(method="GET", path="/batches", params=params_of(queue=queue), decode=_batch_list)


def batch(batch_id: str) -> Request[Batch]:
    return Request(method="GET", path=f"/batches/{segment(batch_id)}", decode=_batch)


def cancel_batch(batch_id: str) -> Request[Batch]:
    return Request(method="POST", path=f"/batches/{segment(batch_id)}/cancel", decode=_batch)


def batch_output(batch_id: str) -> Request[tuple[BatchResult, ...]]:
    return Request(method="GET", path=f"/batches/{segment(batch_id)}/output", decode=_batch_results)


def batch_errors(batch_id: str) -> Request[tuple[BatchResult, ...]]:
    return Request(method="GET", path=f"/batches/{segment(batch_id)}/errors", decode=_batch_results)
