"""The embedded tasks: the libraries' own data, found without importing the libraries."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import skimage.io
from sklearn.datasets import load_digits

from generator.curricula import digits, photos, surfaces
from generator.curricula.embedded import installed
from generator.keys import stream


def test_digits_are_scikit_learns() -> None:
    data = load_digits()
    order = stream("split", "digits").permutation(len(data.images))
    train_x, train_y, test_x, test_y = digits.load(8)
    np.testing.assert_array_equal(np.concatenate([train_x, test_x])[:, 0] * 16, data.images[order])
    np.testing.assert_array_equal(np.concatenate([train_y, test_y]), data.target[order])


def test_photographs_are_read_as_scikit_image_reads_them() -> None:
    from PIL import Image

    for name in photos.PHOTOGRAPHS:
        file = installed("skimage") / "data" / name
        image = skimage.io.imread(file)
        assert image.ndim == 3
        assert image.shape[2] == 3
        np.testing.assert_array_equal(np.asarray(Image.open(file)), image)


def test_surfaces_are_patches_of_grey_pictures_that_are_no_photographs() -> None:
    x, y = surfaces.load(8)[2:]
    assert not set(surfaces.PICTURES) & set(photos.PHOTOGRAPHS)
    for label, name in enumerate(surfaces.PICTURES):
        image = skimage.io.imread(installed("skimage") / "data" / name) / 255
        region, draw = image[:, image.shape[1] * 3 // 4 :], stream("patches", "surfaces", name, "test")
        top, left = (draw.integers(0, size - 63, 64)[0] for size in region.shape)
        whole = region[top : top + 64, left : left + 64]
        small = np.array([[whole[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].mean() for j in range(8)] for i in range(8)])
        expected = (small - small.mean()) / (small.std() + photos.CONTRAST_FLOOR)
        np.testing.assert_allclose(x[y == label][0, 0], expected, atol=1e-12)


def test_a_worker_that_loads_them_waits_for_no_large_import() -> None:
    code = (
        "import sys\nfrom generator.curricula import tasks\ntasks.load('digits', 8), tasks.load('photos', 16)\n"
        "assert not {'sklearn', 'skimage', 'pandas', 'torch'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
