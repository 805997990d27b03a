"""A sentence encoder in process: tokens, runs in buckets, pooled and normalised vectors. No queue and no JSON.

embedding_peer.py FOLDER THREADS TEXTS SECONDS BATCH …    prints {"per_s", "cpu_ms", "batch"} of the
                                                          batch with the most texts per second

FOLDER: as docs/examples/export_minilm.py writes it. TEXTS: a file with a list in JSON. The buckets
are those of Headrace: a text is padded to the next of 16, 24, 32, 48, 64, 96, … tokens.
"""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Encoder:
    def __init__(self, folder: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._longest = json.loads((folder / "embedding.json").read_text())["context_length"]
        self._tokenizer.enable_truncation(self._longest)

    def vectors(self, texts: list[str], batch: int) -> list[np.ndarray]:
        encoded = [each.ids for each in self._tokenizer.encode_batch_fast(texts)]
        buckets = defaultdict(list)
        for place, ids in enumerate(encoded):
            buckets[self._padded(len(ids))].append(place)
        found: dict[int, np.ndarray] = {}
        for length, places in buckets.items():
            for first in range(0, len(places), batch):
                self._run([(place, encoded[place]) for place in places[first : first + batch]], length, found)
        return [found[place] for place in range(len(texts))]

    def _run(self, rows: list[tuple[int, list[int]]], length: int, found: dict[int, np.ndarray]) -> None:
        ids = np.zeros((len(rows), length), dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        for row, (_, each) in enumerate(rows):
            ids[row, : len(each)] = each
            mask[row, : len(each)] = 1
        [states] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})
        for (place, each), state in zip(rows, states, strict=True):
            vector = state[: len(each)].mean(axis=0)
            found[place] = vector / np.linalg.norm(vector)

    def _padded(self, length: int) -> int:
        step = 16
        while step < length:
            if step * 3 // 2 >= length:
                step = step * 3 // 2
                break
            step *= 2
        return min(step, self._longest)


def main() -> None:
    _, folder, threads, file, seconds, *batches = sys.argv
    encoder, texts = Encoder(Path(folder), int(threads)), json.loads(Path(file).read_text())
    measured = []
    for batch in map(int, batches):
        encoder.vectors(texts[:batch], batch)
        n, began, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < float(seconds):
            encoder.vectors(texts, batch)
            n += len(texts)
        took_s, used_s = time.perf_counter() - began, time.process_time() - cpu
        measured.append({"per_s": n / took_s, "cpu_ms": used_s * 1000 / n, "batch": batch})
    print(json.dumps(max(measured, key=lambda each: each["per_s"])))


if __name__ == "__main__":
    main()
