"""`digits`: scikit-learn's 1,797 scans of handwritten digits, 8×8 grey, ten classes; 1,400 to train (seeded split).

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), as shipped with scikit-learn.
"""

from __future__ import annotations

import numpy as np

from generator.curricula.embedded import installed
from generator.keys import stream


def load(pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, 1, pixels, pixels) and labels of the training and the test part; 16 and 32 px are bilinear upsampling of 8."""
    table = np.loadtxt(installed("sklearn") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    scans, labels = table[:, :64].reshape(-1, 8, 8), table[:, 64].astype(int)
    images = _upsample(scans / 16.0, pixels // 8)[:, None]
    order = stream("split", "digits").permutation(len(images))
    train, test = order[:1400], order[1400:]
    return images[train], labels[train], images[test], labels[test]


def _upsample(images: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear interpolation at pixel centres by a whole factor, edges repeated."""
    side = images.shape[-1]
    centres = np.clip((np.arange(side * factor) + 0.5) / factor - 0.5, 0, side - 1)
    low = np.floor(centres).astype(int)
    high, weight = np.minimum(low + 1, side - 1), centres - low
    rows = images[:, low] * (1 - weight)[:, None] + images[:, high] * weight[:, None]
    return rows[:, :, low] * (1 - weight) + rows[:, :, high] * weight
