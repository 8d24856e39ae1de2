"""Writes tiny sets of real files: pictures, tones, and what `datasets` itself puts into its cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image


def picture(height: int, width: int, seed: int, mode: str = "RGB") -> Image.Image:
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


def tone(hertz: float, seconds: float, rate: int, phase: float = 0.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate + phase)


def write(file: Path, wave: np.ndarray, rate: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, wave, rate, subtype="FLOAT" if file.suffix == ".wav" else None)
    return file


def prepare(
    repository: str,
    config: str,
    columns: dict[str, tuple[list, list]],
    kinds: dict,
    test: str = "test",
    commit: str = "0123abcd",
    max_shard_size: str | int = "1GB",
) -> None:
    """Let `datasets` itself put columns of a training and a test part into the cache, as `load_dataset` does."""
    import pyarrow as pa

    import datasets

    schema = datasets.Features(kinds).arrow_schema

    class Builder(datasets.ArrowBasedBuilder):
        BUILDER_CONFIGS = [datasets.BuilderConfig(name=config)]  # noqa: RUF012

        def _info(self) -> datasets.DatasetInfo:
            return datasets.DatasetInfo(features=datasets.Features(kinds))

        def _split_generators(self, _: object) -> list[datasets.SplitGenerator]:
            return [datasets.SplitGenerator(part, {"place": place}) for place, part in enumerate(("train", test))]

        def _generate_tables(self, place: int) -> Iterator[tuple[int, pa.Table]]:
            parts = [values[place] for values in columns.values()]
            for row, values in enumerate(zip(*parts, strict=True)):
                yield row, pa.table([[value] for value in values], schema=schema)

    data = repository.split("/")[-1]
    cache = Path(os.environ["HF_HOME"]) / "datasets"
    builder = Builder(str(cache), data, config, hash=commit, repo_id=repository, writer_batch_size=1)
    builder.download_and_prepare(max_shard_size=max_shard_size)


def encoded(scan: Image.Image) -> dict[str, object]:
    file = BytesIO()
    scan.save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}
