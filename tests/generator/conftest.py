"""Sets of real files that several tests read, and a machine without a network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from real_sets import encoded, picture, prepare, tone, write


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache and no network."""

    def connect(*_: object) -> None:
        raise AssertionError("something asks the network")

    for variable in ("HF_DATASETS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Images of two classes, of several sizes, modes and formats, written in an odd order."""
    root = tmp_path / "birds"
    sizes = iter([(60, 40), (40, 60), (20, 20), (33, 50), (20, 20), (90, 21), (24, 24)])
    for seed, file in enumerate(
        ["train/owl/b.jpg", "train/owl/a.png", "train/auk/z.PNG", "test/owl/c.png", "test/auk/d.bmp"]
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        picture(*next(sizes), seed).save(root / file)
    picture(*next(sizes), 5, "L").save(root / "train/auk/grey.png")
    picture(*next(sizes), 6, "RGBA").save(root / "train/auk/alpha.webp", lossless=True)
    (root / "train/auk/.DS_Store").write_text("hidden")
    (root / "train/.cache").mkdir()
    return root


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Sounds of two classes at several rates and lengths; the middle duration of those to train on is half a second."""
    root = tmp_path / "tones"
    write(root / "train/low/a.wav", tone(500, 0.5, 16_000), 16_000)
    write(root / "train/low/b.flac", tone(500, 0.3, 44_100), 44_100)
    write(root / "train/high/c.wav", np.stack([tone(3000, 0.9, 20_000)] * 2, 1), 20_000)
    write(root / "validation/low/d.wav", tone(500, 0.5, 8_000), 8_000)
    write(root / "validation/high/e.wav", tone(3000, 0.5, 22_050), 22_050)
    return root


@pytest.fixture
def tiny() -> Callable[..., str]:
    """`hub:someone/Tiny`: five images to train on, two to test on, three classes."""
    from datasets import ClassLabel, Value
    from datasets import Image as Encoded

    def make(
        test: str = "test",
        labels: tuple[list, list] = ([2, 0, 1, 1, 0], [1, 2]),
        broken: int | None = None,
        **options: object,
    ) -> str:
        images = tuple([encoded(picture(24, 24, seed)) for seed in part] for part in (range(5), range(5, 7)))
        if broken is not None:
            images[0][broken] = {"bytes": b"no image", "path": None}
        texts = ([str(i) for i in range(5)], ["x", "y"])
        kinds = {"text": Value("string"), "img": Encoded(), "label": ClassLabel(names=["a", "b", "c"])}
        prepare("someone/Tiny", "plain", {"text": texts, "img": images, "label": labels}, kinds, test=test, **options)
        return "hub:someone/Tiny"

    return make
