"""`surfaces`: which of eight grey pictures of surfaces does a patch come from? Pictures shipped with scikit-image.

None of them is among `photos`. They are cut as those are: the right-hand quarter of a picture is for testing, and a patch covers
64×64 pixels, averaged down to the side asked for, less its own mean and over its own contrast. [ours]
"""

from __future__ import annotations

import numpy as np

from generator.curricula.embedded import installed
from generator.curricula.photos import TEST_PATCHES, TRAIN_PATCHES, patches

PICTURES = ("brick.png", "cell.png", "coins.png", "grass.png", "gravel.png", "moon.png", "page.png", "text.png")


def load(pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Patches (n, 1, pixels, pixels) and labels of the training and the test part."""
    from PIL import Image

    folder = installed("skimage") / "data"
    train, test = [], []
    for name in PICTURES:
        picture = np.asarray(Image.open(folder / name).convert("L"), np.float64)[:, :, None] / 255.0
        border = picture.shape[1] * 3 // 4
        train.append(patches(picture[:, :border], TRAIN_PATCHES, pixels, ("surfaces", name, "train")))
        test.append(patches(picture[:, border:], TEST_PATCHES, pixels, ("surfaces", name, "test")))
    labels = np.arange(len(PICTURES))
    return np.concatenate(train), labels.repeat(TRAIN_PATCHES), np.concatenate(test), labels.repeat(TEST_PATCHES)
