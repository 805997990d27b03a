"""A data_path names a file under the data root, and no other."""

from pathlib import Path

import pytest
from shared_schemas.errors import DataRejected
from training_worker.paths import resolve


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
    return root


@pytest.mark.parametrize("written", ["sets/train.csv", "/data/sets/train.csv", "./sets//train.csv", "inside.csv"])
def test_a_path_may_be_written_with_or_without_the_root(root: Path, written: str) -> None:
    assert resolve(written, root) == root / "sets" / "train.csv"


def test_the_configured_root_is_accepted_in_front(root: Path) -> None:
    assert resolve(f"{root}/sets/train.csv", root) == root / "sets" / "train.csv"


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
        "sets/train.csv\0.txt",
        "..\\secret.csv",
        "/data",
        ".",
        "x" * 300,
    ],
)
def test_whatever_could_lead_out_is_refused_in_the_same_words(root: Path, written: str) -> None:
    with pytest.raises(DataRejected) as caught:
        resolve(written, root)

    assert caught.value.data_code == "path_not_allowed"
    assert str(caught.value) == "the path must name a file under the data root"


@pytest.mark.parametrize("written", ["absent.csv", "sets", "sets/train.csv/more", "/data/absent.csv"])
def test_a_file_that_is_not_there_is_not_found(root: Path, written: str) -> None:
    with pytest.raises(DataRejected) as caught:
        resolve(written, root)

    assert caught.value.data_code == "data_not_found"
