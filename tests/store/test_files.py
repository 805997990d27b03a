"""The artifact store: files appear whole or not at all, and what a dead writer left does not stay."""

import os
import time
from pathlib import Path

import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.store.files import ArtifactCorrupt, ArtifactMissing, ArtifactStore


def test_a_file_is_found_by_its_contents(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)

    first, again = store.put_bytes(b"weights"), store.put_bytes(b"weights")

    assert first == again
    assert store.verify(first).read_bytes() == b"weights"
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_file_that_is_not_there_or_not_whole_is_told_apart(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    damaged = store.put_bytes(b"weights")
    store.path(damaged).write_bytes(b"weighty")

    with pytest.raises(ArtifactCorrupt):
        store.verify(damaged)
    with pytest.raises(ArtifactMissing):
        store.verify(ArtifactRef(sha256="a" * 64, n_bytes=1))


def test_what_a_dead_writer_left_is_swept_and_what_is_being_written_stays(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    left, fresh = tmp_path / "incoming" / "left", tmp_path / "incoming" / "fresh"
    for path in (left, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - 3601
    os.utime(left, (long_ago, long_ago))

    assert store.sweep(older_than_s=3600) == 1

    assert list((tmp_path / "incoming").iterdir()) == [fresh]
