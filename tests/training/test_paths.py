"""A data_path names a file under the data root, and no other."""

import os
import socket
import threading
from pathlib import Path

import pytest
from shared_schemas.errors import DataRejected
from training_worker.paths import open_data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sets").mkdir(parents=True)
    (root / "sets" / "train.csv").write_text("x\n1\n")
    (tmp_path / "secret.csv").write_text("x\n1\n")
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "out").symlink_to(tmp_path)
    (root / "circle.csv").symlink_to(root / "circle.csv")
    (root / "inside.csv").symlink_to(root / "sets" / "train.csv")
    (root / "newest").symlink_to("sets")
    (root / "sets" / "other.csv").symlink_to("../sets/../newest/train.csv")
    (root / "sets" / "up.csv").symlink_to("../../root/sets/train.csv")
    (root / "etc.csv").symlink_to("/etc/passwd")
    (root / "here").symlink_to(".")
    (root / "file").symlink_to("sets/train.csv")
    return root


def contents_of(written: str, root: Path) -> bytes:
    with open_data(written, root) as file:
        return file.read()


@pytest.mark.parametrize("written", ["sets/train.csv", "/data/sets/train.csv", "./sets//train.csv"])
def test_a_path_may_be_written_with_or_without_the_root(root: Path, written: str) -> None:
    assert contents_of(written, root) == b"x\n1\n"


@pytest.mark.parametrize("written", ["inside.csv", "newest/train.csv", "newest/other.csv", "here/here/sets/train.csv"])
def test_a_link_that_stays_under_the_root_is_followed(root: Path, written: str) -> None:
    assert contents_of(written, root) == b"x\n1\n"


def test_the_configured_root_is_accepted_in_front(root: Path) -> None:
    assert contents_of(f"{root}/sets/train.csv", root) == b"x\n1\n"


def test_a_root_that_is_a_link_is_what_it_leads_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mounted").symlink_to(root)

    assert contents_of("inside.csv", tmp_path / "mounted") == b"x\n1\n"
    assert contents_of(f"{tmp_path}/mounted/sets/train.csv", tmp_path / "mounted") == b"x\n1\n"


@pytest.mark.parametrize(
    "written",
    [
        "../secret.csv",
        "sets/../../secret.csv",
        "sets/../sets/train.csv",
        "/data/../secret.csv",
        "/etc/passwd",
        "/etc/there-is-no-such-file",
        "/database/train.csv",
        "link.csv",
        "out/secret.csv",
        "out/there-is-no-such-file.csv",
        "circle.csv",
        "sets/up.csv",
        "etc.csv",
        "here/../../secret.csv",
        "sets/train.csv\0.txt",
        "..\\secret.csv",
        "/data",
        ".",
        "x" * 300,
    ],
)
def test_every_path_that_could_lead_out_of_the_root_is_refused_with_the_same_message(root: Path, written: str) -> None:
    with pytest.raises(DataRejected) as caught:
        open_data(written, root)

    assert caught.value.data_code == "path_not_allowed"
    assert str(caught.value) == "the path must name a file under the data root"


@pytest.mark.parametrize(
    "written", ["absent.csv", "sets", "newest", "here", "sets/train.csv/more", "file/more", "/data/absent.csv"]
)
def test_a_file_that_is_not_there_is_not_found(root: Path, written: str) -> None:
    with pytest.raises(DataRejected) as caught:
        open_data(written, root)

    assert caught.value.data_code == "data_not_found"


def test_a_path_that_names_no_regular_file_is_not_found_and_does_not_block(root: Path) -> None:
    os.mkfifo(root / "pipe.csv")
    (root / "null.csv").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "s.csv"))
        for written in ("pipe.csv", "s.csv"):
            with pytest.raises(DataRejected) as caught:
                open_data(written, root)
            assert caught.value.data_code == "data_not_found"
    with pytest.raises(DataRejected) as caught:
        open_data("null.csv", root)
    assert caught.value.data_code == "path_not_allowed"


def test_a_root_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    with pytest.raises(DataRejected) as caught:
        open_data("train.csv", tmp_path / "absent")

    assert caught.value.data_code == "data_not_found"


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_that_replaces_a_file_or_folder_meanwhile_is_never_followed(
    root: Path, tmp_path: Path, swapped: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "train.csv").write_text("secret")
    place = root / "sets" if swapped == "folder" else root / "sets" / "train.csv"
    kept, link, is_over = tmp_path / "kept", tmp_path / "link", threading.Event()
    link.symlink_to(outside if swapped == "folder" else outside / "train.csv")

    def swap() -> None:
        while not is_over.is_set():
            place.rename(kept)
            link.rename(place)
            place.rename(link)
            kept.rename(place)

    swapping = threading.Thread(target=swap)
    swapping.start()
    read, codes = set(), set()
    try:
        for _ in range(5000):
            try:
                read.add(contents_of("sets/train.csv", root))
            except DataRejected as refusal:
                codes.add(refusal.data_code)
    finally:
        is_over.set()
        swapping.join()

    assert read == {b"x\n1\n"}
    assert codes <= {"data_not_found", "path_not_allowed"}


def test_the_file_that_was_opened_is_the_file_that_is_read(root: Path) -> None:
    file = open_data("sets/train.csv", root)
    (root / "new.csv").write_text("x\n2\n")
    (root / "new.csv").replace(root / "sets" / "train.csv")

    assert file.read() == b"x\n1\n"
    file.close()


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for written in ("newest/other.csv", "out/secret.csv", "circle.csv", "absent.csv", "sets"):
        try:
            open_data(written, root).close()
        except DataRejected:
            continue

    assert len(os.listdir("/proc/self/fd")) == before
