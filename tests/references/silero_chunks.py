# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["numpy==2.4.6", "onnxruntime==1.31.1", "silero-vad==6.2.3", "torch==2.15.0"]
# ///
"""Writes the model of the package silero-vad, which hears speech in a stream, and what the package answers.

    uv run --script tests/references/silero_chunks.py FOLDER

FOLDER gets model.onnx, and arrays.npz with the samples of each chunk and the probability of speech that the package
gives for it. Its model keeps a state from chunk to chunk. The samples are made here: vowels between noise.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import silero_vad
import torch

RATE, CHUNK, N_CHUNKS = 16_000, 512, 60
FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240))


def samples() -> np.ndarray:
    """Vowels with the formants of a voice, each for a fifth of a second, and noise before and after them."""
    rng = np.random.default_rng(0)
    time_s = np.arange(N_CHUNKS * CHUNK) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 15 * np.sin(2 * np.pi * 3 * time_s)) / RATE
    voice = np.zeros_like(time_s)
    for harmonic in range(1, 40):
        for which, formants in enumerate(FORMANTS):
            weight = sum(np.exp(-(((harmonic * 120 - formant) / 120) ** 2)) for formant in formants)
            voice += weight * np.sin(harmonic * phase) * ((time_s * 5).astype(int) % len(FORMANTS) == which)
    spoken = (time_s > 0.4) & (time_s < 1.4)
    signal = 0.2 * voice * spoken + 0.002 * rng.standard_normal(len(time_s))
    return np.clip(signal, -1, 1).astype(np.float32).reshape(N_CHUNKS, CHUNK)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model, chunks = silero_vad.load_silero_vad(onnx=True), samples()
    probabilities = [float(model(torch.from_numpy(chunk), RATE).item()) for chunk in chunks]
    shutil.copyfile(Path(silero_vad.__file__).parent / "data" / "silero_vad.onnx", folder / "model.onnx")
    np.savez(folder / "arrays.npz", chunks=chunks, probabilities=np.array(probabilities))


if __name__ == "__main__":
    main()
