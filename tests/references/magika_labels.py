# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["magika==1.0.3"]
# ///
"""Writes the model of the package magika, which tells the type of a file, and what the package answers for files.

    uv run --script tests/references/magika_labels.py FOLDER

FOLDER gets model.onnx, and expected.json with the features and the answer for each file. The files are parts of the
packages and archives that are made of them.
"""

import gzip
import json
import shutil
import sys
import zipfile
from pathlib import Path

import magika
import onnxruntime
from magika import Magika


def files(folder: Path) -> list[Path]:
    source = Path(magika.__file__).parent
    model = source / "models" / "standard_v3_3"
    text = (source / "magika.py").read_bytes()
    (folder / "magika.py.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(folder / "magika.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("magika.py", text)
    (folder / "table.csv").write_text("".join(f"{i},{i * i},name {i}\n" for i in range(500)))
    library = next(Path(onnxruntime.__file__).parent.glob("capi/*pybind11_state*"))
    kept = [source / "magika.py", model / "README.md", model / "config.min.json", model / "model.onnx", library]
    return [*kept, folder / "magika.py.gz", folder / "magika.zip", folder / "table.csv"]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    known, expected = Magika(), []
    for path in files(folder):
        answer = known.identify_path(path)
        _, features = known._get_result_or_features_from_path(path)
        numbers = [*features.beg, *features.mid, *features.end]
        answered = {"label": str(answer.dl.label), "score": answer.score}
        expected.append({"name": path.name, "features": numbers, **answered})
    shutil.copyfile(Path(magika.__file__).parent / "models" / "standard_v3_3" / "model.onnx", folder / "model.onnx")
    labels = [str(label) for label in known._target_labels_space]
    (folder / "expected.json").write_text(json.dumps({"labels": labels, "files": expected}))


if __name__ == "__main__":
    main()
