"""Folders of images and sounds: how they are found, decoded, resampled and mixed with noise. Nothing may ask the network."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from real_sets import picture, tone, write

from generator.curricula import cochleagram as cochleagrams
from generator.curricula import decoding
from generator.curricula.cochleagram import cochleagram, image
from generator.curricula.decoding import Sounds, decode_image, decode_sound
from generator.curricula.hub import info, pinned
from generator.curricula.noise import RATE
from generator.errors import RequestError
from generator.keys import stream
from generator.spec.spec import parse

pytestmark = pytest.mark.usefixtures("alone")


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
        np.testing.assert_array_equal(info(f"folder:{root}").open(16)[0].read(np.arange(n)), once)
        assert train.read(np.array([], np.int64)).shape == (0, *once.shape[1:])


def test_a_sound_does_not_depend_on_those_it_is_read_with(tmp_path: Path) -> None:
    """Not in its last bit, however many there are."""
    files = [write(tmp_path / f"{i}.wav", tone(100 + 30 * i, 0.2, RATE), RATE) for i in range(40)]
    part = Sounds(lambda i: ("tone", files[i]), np.zeros(40, int), "train", 0.2, (), 16)
    together = part.read(np.arange(40))
    for order in (np.arange(40)[::-1], np.arange(3, 37), np.array([39]), np.random.default_rng(0).permutation(40)):
        np.testing.assert_array_equal(part.read(order), together[order])


@pytest.mark.parametrize(("seconds", "together"), [(0.5, 16), (4.0, 16), (5.0, 12), (60.0, 1), (600.0, 1)])
def test_of_long_sounds_fewer_are_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, together: int
) -> None:
    file, made = write(tmp_path / "x.wav", tone(500, 0.1, RATE), RATE), []

    def record(waves: torch.Tensor, rate: int) -> torch.Tensor:
        made.append(waves.shape)
        return waves[:, None, :8].float()

    monkeypatch.setattr(cochleagrams, "cochleagram", record)
    monkeypatch.setattr(Sounds, "mixture", lambda self, index: np.full(round(self.seconds * RATE), index, "f4"))
    read = Sounds(lambda i: ("tone", file), np.zeros(18, int), "train", seconds, (), 1).read(np.arange(18))
    assert set(made) == {(together, seconds * RATE)}
    assert len(made) == -(-18 // together)
    np.testing.assert_array_equal(read.ravel(), np.arange(18))


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
    assert info(f"folder:{tmp_path / 'g'}").channels == 3


def test_images_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    picture(8, 8, 0).save(tmp_path / "turned.png", exif=exif)
    straight = np.asarray(picture(8, 8, 0), "f4") / 255
    got = decode_image("x", tmp_path / "turned.png", 3, 8)
    np.testing.assert_array_equal(got.transpose(1, 2, 0), np.rot90(straight, -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_what_is_transparent_shows_white(tmp_path: Path, mode: str) -> None:
    """In quiet: Pillow warns of palettes with transparency. Of L and RGB one colour is clear."""
    opaque = picture(8, 8, 0, "L" if mode in ("L", "LA") else "RGB")
    opacity = np.repeat(np.arange(0, 256, 17, dtype=np.uint8), 4).reshape(8, 8)
    if mode in ("RGBA", "LA"):
        opaque.putalpha(Image.fromarray(opacity))
        opaque.save(tmp_path / "p.png")
        under = np.asarray(opaque.convert("RGB"), "f8")
    elif mode == "P":
        palette = opaque.quantize(16)
        opacity = 17 * np.asarray(palette)
        palette.save(tmp_path / "p.png", transparency=bytes(range(0, 256, 17)))
        under = np.asarray(palette.convert("RGB"), "f8")
    else:
        clear = opaque.getpixel((3, 5))
        under = np.asarray(opaque.convert("RGB"), "f8")
        opacity = 255 * (under != under[5, 3]).any(2)
        opaque.save(tmp_path / "p.png", transparency=clear)
    share = opacity[..., None] / 255
    expected = (share * under + (1 - share) * 255).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(decode_image("x", tmp_path / "p.png", 3, 8), expected, atol=1.01 / 255)
    grey = decode_image("x", tmp_path / "p.png", 1, 8)
    np.testing.assert_allclose(grey[0], expected.transpose(1, 2, 0) @ [0.299, 0.587, 0.114], atol=1.6 / 255)


def test_black_ink_on_a_clear_ground_can_be_seen(tmp_path: Path) -> None:
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[2:5, 3, 3] = 255
    Image.fromarray(ink).save(tmp_path / "ink.png")
    read = decode_image("x", tmp_path / "ink.png", 3, 8)
    np.testing.assert_array_equal(read[0], 1 - (ink[..., 3] == 255))
    assert (read == read[0]).all()


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


def test_other_noise_or_another_sound_is_another_task(tones: Path) -> None:
    found = set()
    for place in ("noise/hum.wav", next(tones.rglob("*.wav")).relative_to(tones)):
        for pitch in (1000, 1100):
            write(tones / place, tone(pitch, 3.0, 16_000), 16_000)
            found.add(pinned(f"folder:{tones}"))
    assert len(found) == 4


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


def classes(root: Path, counts: dict[str, int]) -> None:
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for i in range(count):
            picture(8, 8, len(label) * 1000 + i).save(root / label / f"{i:03}.png")


@pytest.mark.parametrize("inside", ["", "train"])
def test_a_fifth_of_each_class_is_held_out_of_a_folder_without_a_test_part(tmp_path: Path, inside: str) -> None:
    classes(tmp_path / "one" / inside, {"noise": 20, "a": 2, "bb": 11})
    if inside:
        write(tmp_path / "one/noise/hum.wav", tone(1000, 0.1, 16_000), 16_000)  # goes with sounds
    found = info(f"folder:{tmp_path}/one")
    assert (found.classes, found.train, found.test) == (3, 1 + 9 + 16, 1 + 2 + 4)
    train, test = found.open(8)
    np.testing.assert_array_equal(train.labels, np.repeat([0, 1, 2], [1, 9, 16]))
    np.testing.assert_array_equal(test.labels, np.repeat([0, 1, 2], [1, 2, 4]))
    images = [part.read(np.arange(len(part.labels))).reshape(len(part.labels), -1) for part in (train, test)]
    assert len(np.unique(np.concatenate(images), axis=0)) == 33  # each file once
    noise = sorted(stream("split", "folder", 2).permutation(20)[:4])
    for place, file in enumerate(noise):
        expected = np.asarray(picture(8, 8, 5000 + file), "f4").transpose(2, 0, 1).ravel() / 255
        np.testing.assert_array_equal(images[1][3 + place], expected)
    (tmp_path / "one").rename(tmp_path / "two")
    again = info(f"folder:{tmp_path}/two").open(8)[1]
    np.testing.assert_array_equal(again.read(np.arange(7)).reshape(7, -1), images[1])


def test_backgrounds_are_no_class_of_a_folder_without_parts(tones: Path) -> None:
    (tones / "train").rename(tones / "x")
    for label in "high", "low":
        (tones / "validation" / label).rename(tones / label)
        for file in (tones / "x" / label).iterdir():
            file.rename(tones / label / file.name)
        (tones / "x" / label).rmdir()
    (tones / "x").rmdir()
    (tones / "validation").rmdir()
    write(tones / "noise/hum.wav", tone(1000, 3.0, 16_000), 16_000)
    found = info(f"folder:{tones}")
    assert (found.channels, found.classes, found.train, found.test) == (1, 2, 3, 2)
    train, _ = found.open(8)
    assert isinstance(train, Sounds)
    assert [file.name for file in train.noise] == ["hum.wav"]


def test_a_class_too_small_to_hold_one_out_is_named(tmp_path: Path) -> None:
    classes(tmp_path / "one", {"a": 1, "b": 5})
    with pytest.raises(RequestError, match=r"class a of .*one has one file, too few to hold one out"):
        info(f"folder:{tmp_path}/one")


def test_names_that_look_alike_are_told_apart(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for part, label in (("train", composed), ("train", "tea"), ("test", decomposed), ("test", "tea")):
        classes(tmp_path / "one" / part, {label: 1})
    with pytest.raises(RequestError) as error:
        info(f"folder:{tmp_path}/one")
    assert str(error.value).endswith(f"only one of them has 'cafe\\u0301', {composed}")
    for part, label in (("train", decomposed), ("test", composed)):
        classes(tmp_path / "one" / part, {label: 1})
    with pytest.raises(RequestError) as error:
        info(f"folder:{tmp_path}/one")
    assert str(error.value).endswith(f"look alike: 'cafe\\u0301' and {composed}")


@pytest.mark.parametrize("place", ["train/owl/a.png", "test/auk/new.png"])
def test_a_pipe_in_place_of_an_image_is_named_and_not_waited_for(birds: Path, place: str) -> None:
    (birds / place).unlink(missing_ok=True)
    os.mkfifo(birds / place)
    with pytest.raises(RequestError, match=f"{birds / place} is no file, but a folder, a pipe or a device"):
        info(f"folder:{birds}")


@pytest.mark.parametrize("kind", ["dangling", "circle", "folder"])
def test_what_cannot_be_read_is_named(birds: Path, kind: str) -> None:
    odd = birds / "train/owl/odd.png"
    if kind == "folder":
        odd.mkdir()
    else:
        odd.symlink_to("nowhere" if kind == "dangling" else odd)
    sentence = {"dangling": "No such file", "circle": "symbolic links", "folder": "is no file, but a folder"}[kind]
    with pytest.raises(RequestError, match=f"{odd}.*{sentence}"):
        info(f"folder:{birds}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(birds: Path) -> None:
    for odd, sentence in ((birds / "train/owl/a.png", "Permission denied"), (birds / "train/owl", "Permission denied")):
        mode = odd.stat().st_mode
        odd.chmod(0)
        with pytest.raises(RequestError, match=f"cannot read {odd}: {sentence}"):
            info(f"folder:{birds}")
        odd.chmod(mode)


def test_a_file_in_place_of_a_folder_is_named(birds: Path) -> None:
    with pytest.raises(RequestError, match=r"z.PNG has to be a folder of classes, and is a file"):
        info(f"folder:{birds}/train/auk/z.PNG")
    (birds / "noise").write_text("")
    with pytest.raises(RequestError, match=r"birds/noise has to be a folder"):
        info(f"folder:{birds}")


def test_a_folder_in_nobodys_home_is_one_sentence() -> None:
    with pytest.raises(RequestError, match="'folder:~nobody-here/x' is in the home folder of a user who is not known"):
        info("folder:~nobody-here/x")


def test_a_malformed_name_is_said_of_a_spec() -> None:
    text = 'name = "x"\n[[grid]]\ntask = ["hub:", "digits"]\narchitecture = "mlp2"\nrule = "sgdm"\n'
    with pytest.raises(RequestError, match=r"^grid block 1: task: 'hub:' is not of the form"):
        parse(text)


@pytest.mark.parametrize(
    "name",
    [
        "hub:",
        "folder:",
        "hub:a/b/c/d",
        "hub:a b",
        "hub:/a",
        "hub:..",
        "hub:a/../b",
        "hub:#3-2-40-12-0123456789abcdef",
        "zip:a",
        "cifar10",
    ],
)
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
