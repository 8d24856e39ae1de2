"""Real data: folders written here, and a cache that `datasets` itself writes. Nothing may ask the network."""

from __future__ import annotations

import ast
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from generator.curricula import decoding, hub
from generator.curricula.cochleagram import cochleagram, image
from generator.curricula.decoding import Pictures, Sounds, decode_image, decode_sound
from generator.curricula.hub import Known, info
from generator.curricula.noise import RATE
from generator.errors import RequestError
from generator.keys import stream

REPOSITORY = Path(hub.__file__).parents[2]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty cache and no network."""

    def connect(*_: object) -> None:
        raise AssertionError("something asks the network")

    for variable in ("HF_DATASETS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setattr(socket.socket, "connect", connect)
    hub._find.cache_clear()
    yield
    hub._find.cache_clear()


def picture(height: int, width: int, seed: int, mode: str = "RGB") -> Image.Image:
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


def tone(hertz: float, seconds: float, rate: int, phase: float = 0.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate + phase)


def write(file: Path, wave: np.ndarray, rate: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, wave, rate, subtype="FLOAT" if file.suffix == ".wav" else None)
    return file


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


def test_a_folder_of_images_is_described(birds: Path) -> None:
    found = info(f"folder:{birds}")
    assert (found.channels, found.classes, found.train, found.test, found.sides) == (3, 2, 5, 2, ())
    assert found.missing() == ""
    train, test = found.open(8)
    assert train.labels.dtype == np.int64
    np.testing.assert_array_equal(train.labels, [0, 0, 0, 1, 1])  # auk before owl
    np.testing.assert_array_equal(test.labels, [0, 1])


def test_images_are_what_pillow_makes_of_them_in_the_order_of_their_names(birds: Path) -> None:
    train, test = info(f"folder:{birds}").open(20)
    read = train.read(np.arange(5))
    assert (read.dtype, read.shape) == (np.float32, (5, 3, 20, 20))
    files = ["auk/alpha.webp", "auk/grey.png", "auk/z.PNG", "owl/a.png", "owl/b.jpg"]
    for got, file in zip(read, files, strict=True):
        scan = Image.open(birds / "train" / file).convert("RGB")
        width, height = scan.size
        if file == "owl/a.png":  # 40 high and 60 wide: halved, and five columns cut off at either side
            scan = scan.resize((30, 20), Image.Resampling.BICUBIC).crop((5, 0, 25, 20))
        elif file == "owl/b.jpg":
            scan = scan.resize((20, 30), Image.Resampling.BICUBIC).crop((0, 5, 20, 25))
        elif file == "auk/grey.png":  # 21 wide and 90 high
            scan = scan.resize((20, 20), Image.Resampling.BICUBIC, box=(0, 34.5, 21, 55.5))
        else:
            scan = scan.resize((20, 20), Image.Resampling.BICUBIC)
        expected = np.asarray(scan).astype("f4").transpose(2, 0, 1) / 255
        np.testing.assert_array_equal(got, expected, err_msg=f"{file} of {width}×{height}")
    np.testing.assert_array_equal(read[2], np.asarray(picture(20, 20, 2), "f4").transpose(2, 0, 1) / 255)
    np.testing.assert_array_equal(test.read(np.array([1]))[0, :, 0, 0], test.read(np.array([0, 1]))[1, :, 0, 0])


def test_what_is_read_depends_on_the_index_alone(birds: Path, tones: Path) -> None:
    for root in (birds, tones):
        train, _ = info(f"folder:{root}").open(16)
        n = len(train.labels)
        once = train.read(np.arange(n))
        assert len(np.unique(once.reshape(n, -1), axis=0)) == n
        order = np.array([n - 1, 0, 1, 1, n - 1])
        np.testing.assert_array_equal(train.read(order), once[order])
        hub._find.cache_clear()
        np.testing.assert_array_equal(info(f"folder:{root}").open(16)[0].read(np.arange(n)), once)
        assert train.read(np.array([], np.int64)).shape == (0, *once.shape[1:])


def test_a_sound_does_not_depend_on_those_it_is_read_with(tmp_path: Path) -> None:
    """Not in its last bit, however many there are."""
    files = [write(tmp_path / f"{i}.wav", tone(100 + 30 * i, 0.2, RATE), RATE) for i in range(40)]
    part = Sounds(lambda i: ("tone", files[i]), np.zeros(40, int), "train", 0.2, (), 16)
    together = part.read(np.arange(40))
    for order in (np.arange(40)[::-1], np.arange(3, 37), np.array([39]), np.random.default_rng(0).permutation(40)):
        np.testing.assert_array_equal(part.read(order), together[order])


def test_several_threads_read_the_same(birds: Path, tones: Path, tiny: Callable[..., str]) -> None:
    for name in (f"folder:{birds}", f"folder:{tones}", tiny()):
        train, _ = info(name).open(16)
        alone = [train.read(np.array([i])) for i in range(len(train.labels))]
        with ThreadPoolExecutor(8) as pool:
            order = list(range(len(alone))) * 8
            for which, together in zip(order, pool.map(train.read, [np.array([i]) for i in order]), strict=True):
                np.testing.assert_array_equal(together, alone[which])


def test_a_folder_without_colour_has_one_channel(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for label in "ab":
            (tmp_path / "g" / part / label).mkdir(parents=True)
            picture(9, 9, 0, "L").save(tmp_path / "g" / part / label / "x.png")
    grey = info(f"folder:{tmp_path / 'g'}")
    assert grey.channels == 1
    expected = np.asarray(picture(9, 9, 0, "L"), "f4")[None, None] / 255
    np.testing.assert_array_equal(grey.open(9)[1].read(np.array([0])), expected)
    picture(9, 9, 0).save(tmp_path / "g/train/b/y.png")
    hub._find.cache_clear()
    assert info(f"folder:{tmp_path / 'g'}").channels == 3


def test_images_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    picture(8, 8, 0).save(tmp_path / "turned.png", exif=exif)
    straight = np.asarray(picture(8, 8, 0), "f4") / 255
    got = decode_image("x", tmp_path / "turned.png", 3, 8)
    np.testing.assert_array_equal(got.transpose(1, 2, 0), np.rot90(straight, -1))


def test_palettes_with_transparency_are_read_in_quiet(tmp_path: Path) -> None:
    """Pillow warns of them."""
    palette = picture(8, 8, 0).quantize(16)
    palette.save(tmp_path / "p.png", transparency=bytes(range(16)))
    expected = np.asarray(palette.convert("RGB"), "f4").transpose(2, 0, 1) / 255
    np.testing.assert_array_equal(decode_image("x", tmp_path / "p.png", 3, 8), expected)


@pytest.mark.parametrize(("rate", "suffix"), [(8_000, "wav"), (16_000, "flac"), (20_000, "wav"), (44_100, "wav")])
def test_a_tone_is_the_same_tone_at_20_khz(tmp_path: Path, rate: int, suffix: str) -> None:
    file = write(tmp_path / f"tone.{suffix}", tone(440, 0.5, rate), rate)
    wave = decode_sound("tone", file, 1.0, 0.5)
    assert len(wave) == 10_000
    np.testing.assert_allclose(wave[500:-500], tone(440, 0.5, RATE)[500:-500], atol=2e-3)


def test_channels_are_averaged_and_excerpts_begin_where_they_should(tmp_path: Path) -> None:
    steps = (np.arange(20_000) / 20_000) ** 2  # of which no two excerpts are alike
    file = write(tmp_path / "stereo.wav", np.stack([steps, np.zeros(20_000)], 1), RATE)
    for place, begin in ((0.0, 0), (0.5, 7_500), (1.0, 15_000)):
        excerpt = steps[begin : begin + 5_000] / 2
        np.testing.assert_allclose(decode_sound("x", file, 0.25, place), excerpt - excerpt.mean(), atol=1e-6)


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.9])
def test_the_middle_of_a_sound_stays_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    click = np.zeros(round(seconds * RATE))
    click[len(click) // 2] = 1
    monkeypatch.setattr(decoding, "SNR_DB", (200.0, 200.0))
    file = write(tmp_path / "click.wav", click, RATE)
    part = Sounds(lambda i: ("click", file), np.array([0]), "train", 0.5, (), 8)
    mixture = part.mixture(0)
    assert len(mixture) == 10_000
    assert abs(int(mixture.argmax()) - 5_000) <= 1


def test_sounds_become_images_of_cochleagrams(tones: Path) -> None:
    found = info(f"folder:{tones}")
    assert (found.channels, found.classes, found.train, found.test) == (1, 2, 3, 2)
    train, test = found.open(32)
    assert isinstance(test, Sounds)
    assert test.seconds == 0.5  # the median of 0.5, 0.3 and 0.9
    np.testing.assert_array_equal(train.labels, [0, 1, 1])  # high before low
    read = test.read(np.arange(2))
    assert (read.dtype, read.shape) == (np.float32, (2, 1, 32, 32))
    for index in range(2):
        wave = torch.from_numpy(test.mixture(index))[None]
        np.testing.assert_allclose(read[index], image(cochleagram(wave, RATE), 32)[0], atol=1e-5)


def test_noise_stands_at_the_drawn_ratio(tones: Path) -> None:
    """A tone in the noise of another: what projects onto either has the powers of the drawn ratio."""
    write(tones / "noise/hum.wav", tone(1000, 3.0, 16_000), 16_000)
    train, _ = info(f"folder:{tones}").open(16)
    assert isinstance(train, Sounds)
    basis = np.exp(2j * np.pi * np.outer([3000, 1000], np.arange(10_000)) / RATE)
    mixture = train.mixture(0)
    powers = 2 * np.abs(basis @ mixture / 10_000) ** 2
    ratio = stream("background", "recordings", "train", 0).uniform(-10, 10)
    np.testing.assert_allclose(10 * np.log10(powers[0] / powers[1]), ratio, atol=0.05)
    np.testing.assert_allclose(np.square(mixture).mean(), 1, rtol=1e-4)


def test_excerpts_of_noise_come_from_everywhere_and_short_noise_is_repeated(tmp_path: Path) -> None:
    times = np.arange(40_000) / RATE
    noise = write(tmp_path / "sweep.wav", np.sin(2 * np.pi * (1000 + 1000 * times) * times), RATE)
    sound = write(tmp_path / "silent.wav", np.zeros(4_000), RATE)
    part = Sounds(lambda i: ("silent", sound), np.zeros(40, int), "train", 0.2, (noise,), 8)
    middle = np.array([np.abs(np.fft.rfft(part.mixture(i))).argmax() / 0.2 for i in range(40)])
    assert middle.min() < 1600  # the sweep's frequency rises from 1 to 5 kHz
    assert middle.max() > 4400
    short = write(tmp_path / "short.wav", tone(1000, 0.05, RATE), RATE)
    part = Sounds(lambda i: ("silent", sound), np.zeros(1, int), "train", 0.2, (short,), 8)
    np.testing.assert_allclose(part.mixture(0), np.tile(part.mixture(0)[:1000], 4), atol=1e-5)


def test_parts_and_indices_have_noise_of_their_own(tmp_path: Path) -> None:
    sound = write(tmp_path / "silent.wav", np.zeros(4_000), RATE)
    heard = [
        Sounds(lambda i: ("silent", sound), np.zeros(9, int), part, 0.2, (), 8).mixture(index)
        for part, index in (("train", 0), ("train", 1), ("test", 0), ("train", 0))
    ]
    np.testing.assert_array_equal(heard[0], heard[3])
    for other in heard[1:3]:
        assert abs(np.corrcoef(heard[0], other)[0, 1]) < 0.2


def test_silence_is_no_trouble(tmp_path: Path) -> None:
    silent = write(tmp_path / "silent.wav", np.full(4_000, 0.3), RATE)  # an offset cannot be heard
    loud = write(tmp_path / "loud.wav", tone(500, 0.2, RATE), RATE)
    both = Sounds(lambda i: ("silent", silent), np.zeros(1, int), "train", 0.2, (silent,), 8)
    assert not both.mixture(0).any()
    assert np.isfinite(both.read(np.array([0]))).all()
    alone = Sounds(lambda i: ("loud", loud), np.zeros(1, int), "train", 0.2, (silent,), 8)
    np.testing.assert_allclose(
        alone.mixture(0), np.sqrt(2) * np.sin(2 * np.pi * 500 * np.arange(4_000) / RATE), atol=1e-4
    )


def spoil(root: Path, change: str) -> None:
    """What can be wrong with a folder."""
    if change == "no train":
        (root / "train").rename(root / "training")
    elif change == "no test":
        (root / "test").rename(root / "held out")
    elif change == "empty part":
        for file in (root / "test").rglob("*.*"):
            file.unlink()
        for folder in (root / "test").iterdir():
            folder.rmdir()
    elif change == "empty class":
        (root / "train/emu").mkdir()
    elif change == "no classes":
        picture(8, 8, 0).save(root / "train/loose.png")
    elif change == "other classes":
        (root / "test/owl").rename(root / "test/emu")
    elif change == "text":
        (root / "train/owl/notes.txt").write_text("")
    elif change == "sound":
        write(root / "test/owl/hoot.wav", tone(500, 0.1, 8_000), 8_000)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("no train", "has to hold the folders train and test"),
        ("no test", "has to hold the folders train and test"),
        ("empty part", "test is empty"),
        ("empty class", "class .*train/emu is empty"),
        ("no classes", "train/loose.png has to be a folder"),
        ("other classes", "differ between train and test: only one of them has emu, owl"),
        ("text", "train/owl/notes.txt is neither image nor sound"),
        ("sound", "birds mixes images and sounds"),
    ],
)
def test_odd_folders(birds: Path, change: str, sentence: str) -> None:
    spoil(birds, change)
    with pytest.raises(RequestError, match=sentence):
        info(f"folder:{birds}")


@pytest.mark.parametrize("name", ["hub:", "folder:", "hub:a/b/c/d", "hub:a b", "hub:/a", "zip:a", "cifar10"])
def test_malformed_names(name: str) -> None:
    with pytest.raises(RequestError, match="is not of the form"):
        info(name)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nowhere is not there: put its files at .*/nowhere/train/<class>/"):
        info(f"folder:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    ("file", "content"), [("a.png", b"no image"), ("a.wav", b"no sound"), ("a.png", None), ("a.wav", None)]
)
def test_a_broken_file_is_named(tmp_path: Path, file: str, content: bytes | None) -> None:
    """Anything in a name's clothes, or cut off in the middle."""
    for part in ("train", "test"):
        for label in "ab":
            path = tmp_path / "set" / part / label / file
            path.parent.mkdir(parents=True)
            if file == "a.png":
                picture(64, 64, 0).save(path)
            else:
                write(path, tone(500, 0.2, RATE), RATE)
    train, _ = info(f"folder:{tmp_path / 'set'}").open(8)
    broken = tmp_path / "set/train/b" / file
    broken.write_bytes(broken.read_bytes()[:40] if content is None else content)
    with pytest.raises(RequestError, match=f"train/b/{file}"):
        train.read(np.array([1]))
    assert np.isfinite(train.read(np.array([0]))).all()


def test_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(RequestError, match=r"deep.png has more than 8 bits"):
        decode_image("deep.png", tmp_path / "deep.png", 1, 8)


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
    hub._find.cache_clear()
    with pytest.raises(RequestError, match="part test of hub:someone/Tiny is empty or has stimuli without a label"):
        info(tiny(labels=([2, 0, 1, 1, 0], [1, -1]), commit="4567"))


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
        with pytest.raises(RequestError, match=f"{name} is not in"):
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
        hub._find.cache_clear()
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
        sentence = f"the package {absent} is not installed: run pip install 'rulescope[hub]'"
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
