"""The sample data is real, the same everywhere, and can be learned from."""

from collections import Counter
from pathlib import Path

from headrace_local.samples import write_samples
from recipe_kit.tables import read_table

FEATURES = [
    "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
    "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280_od315", "proline",
]  # fmt: skip


def test_the_samples_are_tables_that_can_be_trained_on(tmp_path: Path) -> None:
    paths = write_samples(tmp_path / "data")

    assert [path.name for path in paths] == ["train.csv", "topics.csv", "wine.csv"]
    train, topics, wine = (read_table(path) for path in paths)
    counts = Counter(train.labels("label"))
    assert train.columns == ["text", "label"]
    assert train.height > 1000
    assert 4 <= len(counts) <= 6
    assert max(counts.values()) < train.height / 3
    assert min(counts.values()) > train.height / 20
    assert len(set(train.texts("text"))) == train.height
    assert topics.columns == ["text"]
    assert topics.height > 1000
    assert wine.columns == [*FEATURES, "cultivar"]
    assert Counter(wine.labels("cultivar")) == {"first": 59, "second": 71, "third": 48}
    assert all(len(wine.numbers(name)) == 178 for name in FEATURES)


def test_an_existing_sample_is_left_alone_and_a_missing_one_is_written(tmp_path: Path) -> None:
    (tmp_path / "wine.csv").write_text("mine\n")

    write_samples(tmp_path)
    written = (tmp_path / "train.csv").read_bytes()
    (tmp_path / "train.csv").unlink()
    write_samples(tmp_path)

    assert (tmp_path / "wine.csv").read_text() == "mine\n"
    assert (tmp_path / "train.csv").read_bytes() == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["topics.csv", "train.csv", "wine.csv"]
