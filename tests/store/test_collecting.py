"""Files of the store that nothing refers to go once they are old, and no other."""

import os
import threading
import time
from pathlib import Path

from shared_schemas.artifacts import ArtifactRef, References
from shared_schemas.store.collecting import collect, has_any, identify, identity_of, is_empty
from shared_schemas.store.files import ArtifactMissing, ArtifactStore

GRACE_S = 3600.0
NOTHING = References(kept=frozenset())


def aged(store: ArtifactStore, data: bytes) -> ArtifactRef:
    ref = store.put_bytes(data)
    then = time.time() - 2 * GRACE_S
    os.utime(store.path(ref), (then, then))
    return ref


def is_there(store: ArtifactStore, ref: ArtifactRef) -> bool:
    try:
        store.path(ref)
    except ArtifactMissing:
        return False
    return True


def test_what_nothing_refers_to_goes_once_it_is_old(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    used, old, superseded = aged(store, b"used"), aged(store, b"old"), aged(store, b"superseded")
    fresh = store.put_bytes(b"fresh")
    known = References(kept=frozenset({used.sha256}), superseded=frozenset({superseded.sha256}))

    plan = collect(tmp_path, known, grace_s=GRACE_S, dry_run=True)
    assert all(is_there(store, ref) for ref in (used, old, superseded, fresh))
    done = collect(tmp_path, known, grace_s=GRACE_S, dry_run=False)

    assert {(file.sha256, file.why, file.n_bytes) for file in done.collected} == {
        (old.sha256, "unreferenced", 3),
        (superseded.sha256, "superseded", 10),
    }
    assert (done.kept, done.waiting, done.n_bytes) == (1, 1, 13)
    assert [(file.sha256, file.why) for file in plan.collected] == [(file.sha256, file.why) for file in done.collected]
    assert [is_there(store, ref) for ref in (used, fresh, old, superseded)] == [True, True, False, False]


def test_a_file_that_is_found_there_again_is_young_again(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    aged(store, b"weights")
    again = store.put_bytes(b"weights")

    done = collect(tmp_path, NOTHING, grace_s=GRACE_S, dry_run=False)

    assert (done.collected, done.waiting) == ((), 1)
    assert store.verify(again)


def test_a_file_that_is_put_again_while_it_is_removed_is_there_afterwards(tmp_path: Path) -> None:
    store, is_over, n_collected = ArtifactStore(tmp_path), threading.Event(), 0

    def remove() -> None:
        nonlocal n_collected
        while not is_over.is_set():
            n_collected += len(collect(tmp_path, NOTHING, grace_s=GRACE_S, dry_run=False).collected)

    removing = threading.Thread(target=remove)
    removing.start()
    try:
        for _ in range(300):
            # Old, and so the other thread's, until it is put again.
            path, then = store.path(store.put_bytes(b"weights")), time.time() - 2 * GRACE_S
            os.utime(path, (then, then))
            assert store.verify(store.put_bytes(b"weights"))
    finally:
        is_over.set()
        removing.join()


def test_what_is_no_file_of_the_store_stays(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    folder = store.path(store.put_bytes(b"x")).parent
    for name in ("notes.txt", "a" * 63, "A" * 64):
        (folder / name).write_text("")
        os.utime(folder / name, (0, 0))

    collect(tmp_path, NOTHING, grace_s=GRACE_S, dry_run=False)

    assert {path.name for path in folder.iterdir()} >= {"notes.txt", "a" * 63, "A" * 64}


def test_a_kept_checkpoint_keeps_what_its_header_names(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    part, other = aged(store, b"part"), aged(store, b"other")
    header = b'{"__metadata__":{"rest":"{parts:[' + part.sha256.encode() + b']}"}}'
    checkpoint = aged(store, len(header).to_bytes(8, "little") + header + other.sha256.encode())
    known = frozenset({checkpoint.sha256})

    collect(tmp_path, References(kept=known, checkpoints=known), grace_s=GRACE_S, dry_run=False)

    assert [is_there(store, ref) for ref in (checkpoint, part, other)] == [True, True, False]


def test_a_store_knows_whose_it_is(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert (identity_of(tmp_path), is_empty(tmp_path)) == (None, True)

    identify(tmp_path, "one")
    ref = store.put_bytes(b"x")

    assert (identity_of(tmp_path), is_empty(tmp_path)) == ("one", False)
    assert has_any(tmp_path, frozenset({ref.sha256, "a" * 64}))
    assert not has_any(tmp_path, frozenset({"a" * 64}))
