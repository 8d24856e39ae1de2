"""`photos`: which of eight colour photographs does a patch come from? Patches of photographs shipped with scikit-image.

Each photograph is cut into a training and a test region that do not overlap: the right-hand quarter is for testing.
A patch covers 64×64 pixels, averaged down to the side asked for, and is normalised by its own mean and contrast (Coates et
al. 2011), without which one direction, brightness, carries most of the variance and bounds every learning rate. [ours]
"""

from __future__ import annotations

import numpy as np

from generator.curricula.embedded import installed
from generator.keys import stream

PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
WINDOW = 64
CONTRAST_FLOOR = 0.02  # keeps the grain of a dark patch from being blown up to full contrast
TRAIN_PATCHES, TEST_PATCHES = 175, 64


def load(pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Patches (n, 3, pixels, pixels) and labels of the training and the test part."""
    from PIL import Image

    folder = installed("skimage") / "data"
    train, test = [], []
    for name in PHOTOGRAPHS:
        image = np.asarray(Image.open(folder / name), np.float64) / 255.0
        border = image.shape[1] * 3 // 4
        train.append(patches(image[:, :border], TRAIN_PATCHES, pixels, ("photos", name, "train")))
        test.append(patches(image[:, border:], TEST_PATCHES, pixels, ("photos", name, "test")))
    labels = np.arange(len(PHOTOGRAPHS))
    return np.concatenate(train), labels.repeat(TRAIN_PATCHES), np.concatenate(test), labels.repeat(TEST_PATCHES)


def patches(region: np.ndarray, count: int, pixels: int, key: tuple[str, str, str]) -> np.ndarray:
    """`count` patches at random places of a region (h, w, channels), (count, channels, pixels, pixels). `key`: of the draws."""
    height, width, channels = region.shape
    draw = stream("patches", *key)
    tops = draw.integers(0, height - WINDOW + 1, count)
    lefts = draw.integers(0, width - WINDOW + 1, count)
    cut = np.stack([region[t : t + WINDOW, x : x + WINDOW] for t, x in zip(tops, lefts, strict=True)])
    scale = WINDOW // pixels
    small = cut.reshape(count, pixels, scale, pixels, scale, channels).mean(axis=(2, 4))
    mean, std = (statistic(axis=(1, 2, 3), keepdims=True) for statistic in (small.mean, small.std))
    return ((small - mean) / (std + CONTRAST_FLOOR)).transpose(0, 3, 1, 2)
