"""Sets in a cache that `datasets` itself writes. Nothing may ask the network."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from real_sets import picture, prepare, tone, write

from generator.curricula import hub
from generator.curricula.decoding import Pictures, Sounds
from generator.curricula.hub import Known, info
from generator.errors import RequestError

REPOSITORY = Path(hub.__file__).parents[2]
pytestmark = pytest.mark.usefixtures("alone")


@pytest.mark.parametrize("test", ["test", "validation"])
def test_what_datasets_has_cached_is_read(tiny: Callable[..., str], test: str) -> None:
    name = tiny(test)
    found = info(name)
    assert (found.channels, found.classes, found.train, found.test) == (3, 3, 5, 2)
    assert found.missing() == ""
    assert info(f"{name}/plain").missing() == ""
    train, held_out = found.open(24)
    assert isinstance(train, Pictures)
    np.testing.assert_array_equal(train.labels, [2, 0, 1, 1, 0])
    np.testing.assert_array_equal(held_out.labels, [1, 2])
    for part, seeds in ((train, range(5)), (held_out, range(5, 7))):
        expected = np.stack([np.asarray(picture(24, 24, seed), "f4").transpose(2, 0, 1) / 255 for seed in seeds])
        np.testing.assert_array_equal(part.read(np.arange(len(seeds))), expected)


def test_shards_are_read_in_their_order(tiny: Callable[..., str]) -> None:
    name = tiny(max_shard_size=2500)
    assert len(list(Path(os.environ["HF_HOME"]).rglob("tiny-train-*-of-*.arrow"))) > 1
    train, _ = info(name).open(24)
    np.testing.assert_array_equal(train.labels, [2, 0, 1, 1, 0])
    np.testing.assert_array_equal(
        train.read(np.array([4]))[0].transpose(1, 2, 0), np.asarray(picture(24, 24, 4), "f4") / 255
    )


def test_datasets_itself_finds_the_same_in_this_cache_and_from_the_repository_root(tiny: Callable[..., str]) -> None:
    """There, a folder is called `datasets` too."""
    tiny()
    code = (
        "import sys; sys.path.insert(0, ''); import datasets, numpy as np; from generator.curricula import hub\n"
        "rows = datasets.load_dataset('someone/Tiny', split='train')\n"
        "part = hub.info('hub:someone/Tiny').open(24)[0]\n"
        "assert rows['label'][:] == part.labels.tolist()\n"
        "own = np.stack([np.asarray(row['img'], 'f4').transpose(2, 0, 1) / 255 for row in rows])\n"
        "assert (own == part.read(np.arange(5))).all()\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_names_are_spelled_in_the_cache_as_datasets_spells_them() -> None:
    from datasets.naming import camelcase_to_snakecase

    for data in ("Tiny", "FashionMNIST", "MNISTLike", "cifar10", "imagenet-1k", "A_bC", "v2Set"):
        folder = hub._cache() / f"someone___{camelcase_to_snakecase(data)}" / "default" / "0.0.0" / "0"
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
        assert hub._copies(f"someone/{data}", "") == [folder]


def test_the_newest_copy_is_read_and_configurations_are_told_apart(tiny: Callable[..., str]) -> None:
    name = tiny()
    found = info(name)
    old = next(hub._cache().glob("*/plain/0.0.0/*/"))
    tiny(commit="4567")
    os.utime(old, (1, 1))
    assert [copy.name for copy in hub._copies("someone/Tiny", "")] == ["0123abcd", "4567"]
    (hub._cache() / "someone___tiny/fine/0.0.0/0").mkdir(parents=True)
    (hub._cache() / "someone___tiny/fine/0.0.0/0/dataset_info.json").write_text("{}")
    with pytest.raises(RequestError, match="in several configurations: say which, hub:someone/Tiny/fine"):
        info(name)
    assert info(f"{name}/plain").train == 5
    assert "in several configurations" in found.missing()


def test_sounds_from_the_cache(tmp_path: Path) -> None:
    from datasets import Audio, ClassLabel

    waves = [tone(500, 0.4, 16_000), tone(3000, 0.4, 16_000)]
    cells = []
    for wave in waves:
        file = BytesIO()
        soundfile.write(file, wave, 16_000, format="WAV")
        cells.append({"bytes": file.getvalue(), "path": "some.wav"})
    kinds = {"audio": Audio(sampling_rate=16_000), "label": ClassLabel(names=["low", "high"])}
    prepare("someone/tones", "v1", {"audio": (cells, cells[:1]), "label": ([0, 1], [0])}, kinds)
    found = info("hub:someone/tones/v1")
    assert (found.channels, found.classes, found.train, found.test) == (1, 2, 2, 1)
    train, _ = found.open(16)
    assert isinstance(train, Sounds)
    assert train.seconds == 0.4
    file = write(tmp_path / "low.wav", waves[0], 16_000)
    same = Sounds(lambda i: ("low", file), train.labels, "train", 0.4, (), 16)
    np.testing.assert_allclose(train.mixture(0), same.mixture(0), atol=1e-3)  # 16 bits against floating point


def test_rows_that_are_broken_or_without_labels(tiny: Callable[..., str]) -> None:
    train, _ = info(tiny(broken=3)).open(8)
    with pytest.raises(RequestError, match=r"cannot read a stimulus \(row 3 of train of hub:someone/Tiny\)"):
        train.read(np.arange(5))
    with pytest.raises(RequestError, match="part test of hub:someone/Tiny is empty or has stimuli without a label"):
        info(tiny(labels=([2, 0, 1, 1, 0], [1, -1]), commit="4567"))


def test_a_pipe_that_a_row_points_to_is_named_and_not_waited_for(tmp_path: Path) -> None:
    from datasets import ClassLabel
    from datasets import Image as Encoded

    files = [tmp_path / f"{i}.png" for i in range(3)]
    for seed, file in enumerate(files):
        picture(8, 8, seed).save(file)
    cells = [{"bytes": None, "path": str(file)} for file in files]
    kinds = {"img": Encoded(), "label": ClassLabel(names=["a", "b"])}
    prepare("someone/pointing", "x", {"img": (cells[:2], cells[2:]), "label": ([0, 1], [0])}, kinds)
    train, test = info("hub:someone/pointing").open(8)
    assert train.read(np.arange(2)).shape == (2, 3, 8, 8)
    files[2].unlink()
    os.mkfifo(files[2])
    with pytest.raises(RequestError, match=r"2.png is no file, but a folder, a pipe or a device"):
        test.read(np.array([0]))


def test_a_table_without_images_or_labels() -> None:
    from datasets import ClassLabel, Value

    prepare("a/words", "x", {"text": (["a"], ["b"])}, {"text": Value("string")})
    with pytest.raises(RequestError, match="hub:a/words has no column of images or sounds: it has text"):
        info("hub:a/words")
    prepare("a/numbers", "x", {"label": ([0], [0])}, {"label": ClassLabel(names=["a"])}, test="other")
    with pytest.raises(RequestError, match="hub:a/numbers has no part test or validation"):
        info("hub:a/numbers")


def command(sentence: str) -> list[str]:
    """The arguments of `load_dataset` in the command that a sentence ends with."""
    words = shlex.split(sentence.split(" run ")[1])
    assert words[:2] == ["python", "-c"]
    assert len(words) == 3
    call = ast.parse(words[2]).body[-1].value  # type: ignore[attr-defined]
    assert call.func.id == "load_dataset"
    return [argument.value for argument in call.args]


def test_known_sets_are_planned_before_they_are_there() -> None:
    for name, size, arguments in (
        ("hub:cifar10", (3, 10, 50_000, 10_000), ["uoft-cs/cifar10"]),
        ("hub:uoft-cs/cifar10", (3, 10, 50_000, 10_000), ["uoft-cs/cifar10"]),
        ("hub:imagenet-1k", (3, 1000, 1_281_167, 50_000), ["ILSVRC/imagenet-1k"]),
        ("hub:speech_commands", (1, 36, 84_848, 4_890), ["beeneptune/speech_commands", "v0.02"]),
        ("hub:speech_commands/v0.02", (1, 36, 84_848, 4_890), ["beeneptune/speech_commands", "v0.02"]),
    ):
        found = info(name)
        assert (found.channels, found.classes, found.train, found.test) == size
        assert command(found.missing()) == arguments
        assert str(hub._cache()) in found.missing()
        assert ("accept its terms at" in found.missing()) == ("imagenet" in name)
        with pytest.raises(RequestError, match=r"^hub:(cifar10|imagenet-1k|speech_commands) is not in"):
            found.open(8)


def test_the_papers_audio_is_planned_before_it_is_there(tmp_path: Path) -> None:
    found = info(f"folder:{tmp_path}/word-speaker-noise")
    assert (found.channels, found.classes, found.train, found.test) == (1, 793, 230_356, 40_650)
    for words in ("ask the authors", f"{tmp_path}/word-speaker-noise/train/<class>/", "background noise at …/noise/"):
        assert words in found.missing()


def test_an_unknown_set_has_to_be_there() -> None:
    with pytest.raises(RequestError, match="hub:a/b/c is not in") as error:
        info("hub:a/b/c")
    assert command(str(error.value)) == ["a/b", "c"]


def test_known_sizes_are_compared(birds: Path, tiny: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    right = Known("", "", "test", 3, 2, 5, 2)
    monkeypatch.setitem(hub.KNOWN, "folder:birds", right)
    assert info(f"folder:{birds}").open(8)[0].read(np.array([0])).shape == (1, 3, 8, 8)
    for wrong in ({"classes": 3}, {"train_size": 6}, {"test_size": 3}, {"seconds": 1.0}):
        monkeypatch.setitem(hub.KNOWN, "folder:birds", right._replace(**wrong))
        with pytest.raises(RequestError, match="it has images, 2 classes, 5 to train and 2 to test, not"):
            info(f"folder:{birds}").open(8)
    tiny()
    monkeypatch.setitem(hub.KNOWN, "hub:tiny", Known("someone/Tiny", "", "test", 3, 3, 5, 4))
    with pytest.raises(RequestError, match="hub:tiny is not what it is known to be"):
        info("hub:tiny").open(8)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tones: Path) -> None:
    code = "from importlib.util import find_spec; assert find_spec('datasets').origin is None"
    assert subprocess.run([sys.executable, "-S", "-c", code], cwd=REPOSITORY).returncode == 0
    real = hub.find_spec

    class Namespace:
        origin = None  # what this repository's folder `datasets` is, from its root, without the package

    for absent, found in (("datasets", Namespace()), ("soundfile", None)):
        monkeypatch.setattr(
            hub, "find_spec", lambda name, absent=absent, found=found: found if name == absent else real(name)
        )
        sentence = f"the package {absent} is not installed: pip install {absent}"
        assert info("hub:cifar10").missing() == sentence
        with pytest.raises(RequestError, match="pip install"):
            info("hub:someone/unknown")
    with pytest.raises(RequestError, match="soundfile"):
        info(f"folder:{tones}").open(8)


def test_known_sets_are_planned_without_a_slow_import() -> None:
    code = (
        "import sys\nfrom generator.curricula import hub\nhub.info('hub:cifar10').missing()\n"
        "assert not {'datasets', 'torch', 'soundfile', 'PIL', 'scipy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
