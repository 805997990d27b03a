"""Uploads: takes the body of a request into the artifact store as it arrives.

A body is never in memory as a whole. What had arrived before a connection broke stays, so the rest
can be sent later, to any gateway that shares the folder. Knows no job and no route.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread
from fastapi import Request
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import HeadraceError
from shared_schemas.numbers import whole_number
from shared_schemas.replies import StoredFile
from shared_schemas.store.files import ArtifactCorrupt, ArtifactMissing, ArtifactStore, FileState, Upload
from starlette.requests import ClientDisconnect

from gateway.edge.problems import CLOSE, ProblemError, internal, problem_of
from gateway.intake.body import check_encoding
from gateway.settings import GatewaySettings

# RFC 9110, section 14.5: a PUT with Content-Range sends a part of the contents.
_RANGE = re.compile(rb"bytes ([0-9]{1,20})-([0-9]{1,20})/([0-9]{1,20})", re.IGNORECASE)
# Bytes that are written at once, in a thread.
_PIECE_BYTES = 1 << 20
# Files that are hashed at a time. More would only take the threads from other requests.
_HASHED_AT_ONCE = 2
# Files of which the gateway remembers that they are whole.
_MOST_VERIFIED = 1024


class _Span(NamedTuple):
    """Which bytes of the file the body has. end: after the last one. total: of the file. Both are
    None if the body says so only by its end."""

    start: int
    end: int | None
    total: int | None


class Files:
    """The artifact store, as far as requests use it. Nothing is opened before the first request, because a
    gateway may run without a store."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._hashing, self._renewing = anyio.CapacityLimiter(_HASHED_AT_ONCE), anyio.CapacityLimiter(1)
        # By sha256. A file that has changed since is hashed again.
        self._verified: dict[str, FileState] = {}

    async def received(self, sha256: str) -> StoredFile | None:
        """StoreUnwritable."""
        found = await to_thread.run_sync(lambda: self._store().received(sha256))
        return None if found is None else StoredFile(sha256=sha256, n_bytes=found[0], is_complete=found[1])

    async def path(self, ref: ArtifactRef) -> Path:
        """ArtifactMissing, StoreUnwritable."""
        return await to_thread.run_sync(lambda: self._store().path(ref))

    async def renew(self, ref: ArtifactRef) -> bool:
        """Keep the file for another grace period. -> whether it is here. StoreUnwritable."""
        before, is_here, after = await to_thread.run_sync(self._renew, ref, limiter=self._renewing)
        if after is not None and before is not None and self._verified.get(ref.sha256) == before:
            self._verified[ref.sha256] = after
        return is_here

    async def receive(self, request: Request, headers: Mapping[bytes, bytes], sha256: str) -> StoredFile:
        """Take the body, which is the file or a part of it. headers: by names in lower case. -> what is
        there now. ProblemError 400, 408, 409, 413, 415, 422, 503, 507."""
        try:
            check_encoding(headers)
            _check_one_range(request)
            span = self._span(headers)
            found = await self.received(sha256)
            if found is not None and found.is_complete:
                ref = ArtifactRef(sha256=sha256, n_bytes=found.n_bytes)
                if await self._is_whole(ref):
                    return await self._received_again(request, ref)
            return await self._receive(request, sha256, span)
        except (HeadraceError, ProblemError) as error:
            problem = problem_of(error) or internal()
            # The rest of the body has not been read.
            problem.headers.update(CLOSE)
            raise problem from error

    async def _receive(self, request: Request, sha256: str, span: _Span) -> StoredFile:
        async with self._opened(sha256, span.start) as upload:
            unwritten = bytearray()
            try:
                async for chunk in self._chunks(request, span):
                    unwritten += chunk
                    if len(unwritten) >= _PIECE_BYTES:
                        await _write(upload, unwritten)
            except ProblemError as error:
                if error.status == 408:
                    await _write(upload, unwritten)
                else:
                    # Nobody knows what this part was. Those before it stay.
                    await to_thread.run_sync(upload.begin_at, span.start)
                raise
            except (ClientDisconnect, asyncio.CancelledError):
                # What has arrived need not be sent again.
                with anyio.CancelScope(shield=True):
                    await _write(upload, unwritten)
                raise
            await _write(upload, unwritten)
            if span.total is not None and upload.n_bytes < span.total:
                return StoredFile(sha256=sha256, n_bytes=upload.n_bytes, is_complete=False)
            # What came in several parts is read again.
            ref = await to_thread.run_sync(upload.finish, limiter=None if upload.is_hashed else self._hashing)
        return StoredFile(sha256=ref.sha256, n_bytes=ref.n_bytes, is_complete=True)

    async def _received_again(self, request: Request, ref: ArtifactRef) -> StoredFile:
        """The file is complete already. Read the body to its end, so that the next request can follow."""
        async for _ in self._chunks(request, _Span(0, None, None)):
            pass
        await self.renew(ref)
        return StoredFile(sha256=ref.sha256, n_bytes=ref.n_bytes, is_complete=True)

    async def _chunks(self, request: Request, span: _Span) -> AsyncIterator[bytes]:
        """The body as it arrives. ProblemError 408, 413, 400 if it is longer than it says."""
        n_bytes, stream = span.start, aiter(request.stream())
        while True:
            try:
                async with asyncio.timeout(self._settings.body_timeout_s):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ProblemError(408, "body_timeout", "nothing of the file arrived for too long") from None
            n_bytes += len(chunk)
            if span.end is not None and n_bytes > span.end:
                raise _malformed_range()
            self._check_size(n_bytes)
            yield chunk

    @asynccontextmanager
    async def _opened(self, sha256: str, start: int) -> AsyncIterator[Upload]:
        receiving = await to_thread.run_sync(lambda: self._store().receive(sha256, offset=start))
        upload = await to_thread.run_sync(receiving.__enter__)
        try:
            yield upload
        finally:
            receiving.__exit__(None, None, None)

    def _span(self, headers: Mapping[bytes, bytes]) -> _Span:
        declared = headers.get(b"content-length")
        n_bytes = None if declared is None else whole_number(declared)
        given = headers.get(b"content-range")
        if given is None:
            self._check_size(n_bytes or 0)
            return _Span(0, n_bytes, n_bytes)
        match = _RANGE.fullmatch(given.strip())
        if match is None:
            raise _malformed_range()
        start, last, total = map(int, match.groups())
        if not start <= last < total or n_bytes not in (None, last + 1 - start):
            raise _malformed_range()
        self._check_size(total)
        return _Span(start, last + 1, total)

    def _check_size(self, n_bytes: int) -> None:
        most = self._settings.max_file_bytes
        if n_bytes > most:
            raise ProblemError(413, "file_too_large", f"a file may have at most {most} bytes")

    async def _is_whole(self, ref: ArtifactRef) -> bool:
        """Whether the file has the contents that it is named by. If not, an upload mends it."""
        state = await to_thread.run_sync(self._verify, ref, limiter=self._hashing)
        if state is None:
            return False
        self._verified[ref.sha256] = state
        if len(self._verified) > _MOST_VERIFIED:
            del self._verified[next(iter(self._verified))]
        return True

    def _verify(self, ref: ArtifactRef) -> FileState | None:
        """The state in which the file is whole. It is read only if it has changed."""
        store = self._store()
        state = store.state(ref.sha256)
        if state is None or state == self._verified.get(ref.sha256):
            return state
        try:
            store.verify(ref)
        except (ArtifactCorrupt, ArtifactMissing):
            return None
        return state

    def _renew(self, ref: ArtifactRef) -> tuple[FileState | None, bool, FileState | None]:
        """-> the state before, whether the file is here, the state after"""
        store = self._store()
        return store.state(ref.sha256), store.renew(ref), store.state(ref.sha256)

    def _store(self) -> ArtifactStore:
        return ArtifactStore(Path(self._settings.artifacts_root))


async def _write(upload: Upload, unwritten: bytearray) -> None:
    """Write what is there, and leave nothing of it."""
    if unwritten:
        piece = bytes(unwritten)
        unwritten.clear()
        await to_thread.run_sync(upload.write, piece)


def _check_one_range(request: Request) -> None:
    """Of two, nobody can know which one is meant. ProblemError."""
    if sum(name == b"content-range" for name, _ in request.scope["headers"]) > 1:
        raise _malformed_range()


def _malformed_range() -> ProblemError:
    return ProblemError(
        400, "malformed_request", "Content-Range is bytes FIRST-LAST/TOTAL, and the body has those bytes"
    )
