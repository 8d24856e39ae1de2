"""Families of tasks without end: what their numbers mean, and that each task is what its parameters say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from small import SPEC

from generator.curricula import families, tasks
from generator.curricula.families import FAMILIES
from generator.curricula.families.fields import averaged, field
from generator.curricula.families.mixture import Mixture
from generator.curricula.families.sequence import Elements, Sequence, pattern
from generator.curricula.families.teacher import Teacher
from generator.curricula.families.texture import Texture
from generator.curricula.recent import Recent
from generator.curricula.reference import accuracy, reference
from generator.errors import RequestError
from generator.keys import stream
from generator.spec import spec

EACH = pytest.mark.parametrize("family", FAMILIES)
BYTES = {  # of number 7, rounded to a thousandth
    "mixture": "c0872cdd1f77db54",
    "teacher": "0f7f91135ed7ae3f",
    "texture": "174933a08936fa0b",
    "sequence": "cda9856768d143b8",
}


def of_classes(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    return [images[labels == label] for label in range(labels.max() + 1)]


@EACH
def test_a_number_gives_the_same_bytes_on_any_day(family: str) -> None:
    x, y, *_ = FAMILIES[family].draw(7).load(16)
    found = blake2b(np.round(x[:64] * 1000).astype("<i4").tobytes() + y.astype("<i4").tobytes(), digest_size=8)
    assert found.hexdigest() == BYTES[family]
    again, other = FAMILIES[family].draw(7).load(16), FAMILIES[family].draw(8).load(16)
    np.testing.assert_array_equal(x, again[0])
    assert x.shape != other[0].shape or not np.allclose(x, other[0])


@EACH
def test_parts_do_not_overlap_and_classes_are_about_as_frequent_as_each_other(family: str) -> None:
    for number in (1, 2):
        task, about = FAMILIES[family].draw(number), tasks.info(f"{family}:{number}")
        for pixels in (8, 16):
            train, train_y, test, test_y = task.load(pixels)
            shape = (about.channels, pixels, pixels)
            assert (train.shape, test.shape) == ((about.train, *shape), (about.test, *shape))
            assert len({one.tobytes() for one in np.concatenate([train, test])}) == about.train + about.test
            for labels in (train_y, test_y):
                counts = np.bincount(labels, minlength=about.classes) * about.classes / len(labels)
                assert len(counts) == about.classes
                assert counts.min() > 0.5
                assert counts.max() < 1.6


@EACH
def test_what_is_known_of_a_task_needs_no_data(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAMILIES[family], "world", None)
    tasks.info.cache_clear()
    about, drawn = tasks.info(f"{family}:3"), tasks.parameters(f"{family}:3")
    assert (about.classes, about.channels, about.train) == (drawn["classes"], drawn["channels"], drawn["train"])
    assert about.test >= 512
    assert set(about.sides) == {8, 16, 32}
    assert not tasks.parameters("digits")


@EACH
def test_parameters_stay_in_their_ranges_and_fill_them(family: str) -> None:
    drawn = [FAMILIES[family].draw(number).parameters() for number in range(400)]
    for name, law in FAMILIES[family].laws().items():
        values = np.array([each[name] for each in drawn])
        assert law.low <= values.min()
        assert values.max() <= law.high
        if law.whole and law.high < 30:
            assert set(values) == set(range(int(law.low), int(law.high) + 1, law.step))
        elif law.log:
            assert abs(np.median(np.log(values)) - np.log(law.low * law.high) / 2) < 0.1 * np.log(law.high / law.low)
        else:
            assert abs(np.median(values) - (law.low + law.high) / 2) < 0.1 * (law.high - law.low)
    assert {FAMILIES["mixture"].draw(number).channels for number in range(50)} == {1, 3}


@pytest.mark.parametrize("number", ["", "01", "+1", "-1", "1000000", "1.0", "1 ", "1\n", "１", "a", ":1"])
def test_what_is_no_number_of_a_task_is_told_what_is(number: str) -> None:
    with pytest.raises(RequestError, match=r"in grid block 2: .* from mixture:0 to mixture:999999, in digits alone"):
        tasks.info(f"mixture:{number}", "grid block 2")


def test_what_is_no_family_is_told_the_families() -> None:
    with pytest.raises(
        RequestError, match=r"unknown task 'mixtures:1'.*did you mean 'mixture:<number>'.*texture:<number>"
    ):
        tasks.info("mixtures:1")
    with pytest.raises(RequestError, match="numbered"):
        tasks.info("mixture")
    assert tasks.info("mixture:999999").classes >= 2


def test_the_task_is_part_of_what_a_network_is() -> None:
    def networks(**axes: Any) -> list[Any]:
        return spec.of(
            SPEC | {"probe": 32, "grid": [{"architecture": "knet4", "rule": "fa", "epochs": 2, **axes}]}
        ).networks

    first, second = networks(task=["mixture:3", "mixture:4"])
    assert first.network_id != second.network_id
    assert (first.task, first.pixels) == ("mixture:3", 16)
    assert networks(task="mixture:3", pixels=16)[0].network_id == first.network_id
    with pytest.raises(RequestError, match="can be had at 16, 8 or 32 pixels, not at 24"):
        networks(task="mixture:3", pixels=24)


def test_nothing_that_is_stored_is_read_and_nothing_large_imported() -> None:
    code = (
        "import sys\nfrom generator.curricula import tasks\n"
        "for family in tasks.families.FAMILIES: tasks.load(f'{family}:1', 8)\n"
        "opened = []\nsys.addaudithook(lambda event, found: event == 'open' and opened.append(found[0]))\n"
        "for family in tasks.families.FAMILIES: tasks.load(f'{family}:2', 8)\n"
        "assert not opened, opened\n"
        "assert not {'sklearn', 'skimage', 'pandas', 'torch', 'scipy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5, 4.0])
def test_power_falls_with_frequency_as_the_exponent_says(exponent: float) -> None:
    drawn = field(stream("test", "slope"), (600, 1), 32, exponent)[:, 0]
    down, across = np.meshgrid(*[np.fft.fftfreq(32, 1 / 32)] * 2, indexing="ij")
    radius, power = np.hypot(down, across), (np.abs(np.fft.fft2(drawn)) ** 2).mean(0)
    inside = (radius >= 1) & (radius < 15)
    slope = np.polyfit(np.log(radius[inside]), np.log(power[inside]), 1)[0]
    assert abs(slope + exponent) < 0.03
    native = field(stream("test", "variance"), (4000, 1), 16, exponent)
    assert abs(native.var() - 1) < 0.05
    if exponent != 1.0:  # between white and smooth, averaging takes some of what a finer field has more
        assert abs(averaged(drawn, 16).var() / native.var() - 1) < 0.1


def test_colour_says_how_much_channels_differ() -> None:
    for colour in (0.0, 0.3, 1.0):
        drawn = field(stream("test", "colour"), (2000, 3), 8, 1.0, colour)
        found = np.corrcoef(drawn.transpose(1, 0, 2, 3).reshape(3, -1))
        np.testing.assert_allclose(found[np.triu_indices(3, 1)], 1 - colour, atol=0.02)


def test_without_noise_a_mixture_is_its_prototypes_at_any_side() -> None:
    task = replace(Mixture.draw(5), classes=6, prototypes=1, noise=0.0, skew=0.7, train=200)
    (fine, labels), (coarse, others) = (next(task.parts(pixels)) for pixels in (32, 16))
    classes = of_classes(fine, labels)
    assert max(np.ptp(each, axis=0).max() for each in classes) == 0
    prototypes = np.stack([each[0] for each in classes])
    distance = np.square(averaged(np.log1p(0.7 * prototypes), 16)[None] - np.log1p(0.7 * coarse)[:, None]).sum(
        (2, 3, 4)
    )
    assert (distance.argmin(1) == others).all()
    assert distance.min(1).max() < 1e-9


def test_sparsity_blanks_its_share_of_a_prototype() -> None:
    world = replace(Mixture.draw(5), sparsity=0.7, prototypes=3).world(stream("test"))
    blank = np.isclose(world, world.min(axis=(2, 3, 4), keepdims=True)).mean((2, 3, 4))
    np.testing.assert_allclose(blank, 0.7, atol=0.01)


def test_a_teacher_labels_what_a_plain_network_says() -> None:
    task = replace(Teacher.draw(4), depth=2, width=9, classes=5, channels=3, label_noise=0.0)
    network = task.world(stream("test"))
    for pixels in (32, 8):
        images, labels = task.stimuli(network, 60, pixels, stream("test", pixels))
        for image, label in zip(images, labels, strict=True):
            scale = pixels // 8
            seen = [image[c, i : i + scale, j : j + scale].mean() for c, i, j in np.ndindex(3, pixels, pixels)
                    if i % scale == j % scale == 0]  # fmt: skip
            x = np.array(seen) / network.scale
            for weight, bias in zip(network.weights, network.biases, strict=True):
                reached = np.array([sum(w * v for w, v in zip(column, x, strict=True)) for column in weight.T]) + bias
                x = np.tanh(reached)
            assert reached.argmax() == label
    noisy = replace(task, label_noise=0.3).stimuli(network, 20_000, 8, stream("test", 8))[1]
    clean = task.stimuli(network, 20_000, 8, stream("test", 8))[1]
    assert abs((noisy != clean).mean() - 0.3 * 4 / 5) < 0.01


@pytest.fixture(scope="module")
def texture() -> Any:
    task = replace(Texture.draw(2), classes=4, bands=1, channels=1, train=6000, contrast=0.9, skew=0.6, noise=0.1)
    return task, task.load(16)


def test_no_pixel_of_a_texture_tells_its_class(texture: Any) -> None:
    _, (x, y, test, truth) = texture
    groups = of_classes(x[:, 0], y)
    for power, name in ((1, "mean"), (2, "variance")):
        means = np.array([(each**power).mean(0) for each in groups])
        errors = np.array([(each**power).std(0) / np.sqrt(len(each)) for each in groups])
        z = (means - means.mean(0)) / (errors * np.sqrt(3 / 4))
        assert z.std() < 1.3, name  # neighbouring pixels vary together
        assert np.abs(z).max() < 5, name
    assert abs(x.var() - 1.01) < 0.02
    flat, flat_test = x.reshape(len(x), -1), test.reshape(len(test), -1)
    assert abs(accuracy(flat, y, flat_test, truth) - 0.25) < 0.08
    assert accuracy(Texture.reading(x), y, Texture.reading(test), truth) > 0.6


def test_the_spectrum_and_the_skewness_of_a_texture_are_its_class(texture: Any) -> None:
    task, (x, y, *_) = texture
    world = task.world(stream("task", "texture", 2, "classes"))
    down, across = np.meshgrid(*[np.fft.fftfreq(16, 1 / 16)] * 2, indexing="ij")
    for label, images in enumerate(of_classes(x[:, 0], y)):
        power = (np.abs(np.fft.fft2(images)) ** 2).mean(0)
        power[0, 0] = 0
        place, angle = world.place[label, 0], np.arctan2(*world.place[label, 0])
        peak = np.unravel_index(power.argmax(), power.shape)
        found = np.array([down[peak], across[peak]])
        assert min(np.hypot(*(found - place)), np.hypot(*(found + place))) < 1, angle
        third = (images**3).mean() / images.std() ** 3
        s = np.exp(world.skew[label] ** 2)
        assert abs(third - np.sign(world.skew[label]) * (s + 2) * np.sqrt(s - 1)) < 0.25  # of a lognormal


def test_a_sequence_said_at_another_time_and_pitch_is_the_same_pattern_moved() -> None:
    task = replace(Sequence.draw(3), classes=8, elements=3)
    world = task.world(stream("test"))
    still, one = np.zeros(8), np.ones((8, 3))
    first = pattern(world, still, still, one, 32)
    moved = pattern(world, still + 4 / 32, still + 2 / 32, one, 32)
    np.testing.assert_allclose(moved[:, 2:, 4:], first[:, :-2, :-4], atol=1e-12)
    assert first.max() > 0.3
    alike = np.corrcoef(averaged(first, 16).reshape(8, -1), pattern(world, still, still, one, 16).reshape(8, -1))[
        :8, 8:
    ]
    assert (alike.argmax(1) == np.arange(8)).all()
    assert alike.diagonal().min() > 0.99


def test_a_sequence_stays_within_its_jitter_and_noise_adds_energy() -> None:
    quiet = replace(
        Sequence.draw(3),
        classes=4,
        elements=2,
        noise=0.0,
        compression=1.0,
        time_jitter=0.125,
        pitch_jitter=0.0,
        gain_jitter=0.0,
    )
    world = quiet.world(stream("test"))
    images, labels = quiet.stimuli(world, 200, 16, stream("test", "part"))
    steps = np.linspace(-0.125, 0.125, 201)
    for label in range(4):
        same = Elements(*(np.repeat(trait[label][None], 201, 0) for trait in world))
        shifted = pattern(same, steps, np.zeros(201), np.ones((201, 2)), 16)
        nearest = np.abs(images[labels == label] - shifted).max((2, 3)).min(1)
        assert nearest.max() < 0.02
    loud, _ = replace(quiet, noise=0.5, noise_exponent=1.0).stimuli(world, 200, 16, stream("test", "part"))
    added = loud**2 - images**2
    assert abs(added.mean() - 0.25) < 0.02
    assert added.min() > -1e-12


def test_the_reference_is_what_two_gaussians_allow() -> None:
    draw, distance = stream("test", "reference"), 2.0
    y = np.arange(8000) % 2
    x = draw.standard_normal((8000, 10))
    x[:, 3] += distance * y
    found = accuracy(x[:4000], y[:4000], x[4000:], y[4000:])
    assert abs(found - 0.8413) < 0.015  # Φ(1)
    assert abs(accuracy(x[:4000], draw.permutation(y[:4000]), x[4000:], y[4000:]) - 0.5) < 0.12


def test_the_reference_knows_what_to_read() -> None:
    assert reference("mixture:3", 8) > 0.5
    chance = 1 / tasks.info("texture:0").classes
    assert reference("texture:0", 16) > 1.5 * chance
    assert reference("digits") > 0.9


def test_tasks_are_kept_while_they_are_small() -> None:
    made: list[tuple[str, int]] = []

    def make(name: str, size: int) -> int:
        made.append((name, size))
        return size

    kept = Recent(make, few=2, most=100, size=lambda size: size)
    for name in "abcdefghab":
        assert kept(name, 12) == 12  # eight of these are few enough bytes
    assert len(made) == 8
    kept("large", 1000)  # leaves itself and the last one
    kept("b", 12)
    assert len(made) == 9
    kept("a", 12)
    assert len(made) == 10
    kept.cache_clear()
    kept("b", 12)
    assert len(made) == 11


def test_a_worker_that_goes_round_many_tasks_makes_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks.load.cache_clear()
    made: list[int] = []
    whole = Mixture.load
    monkeypatch.setattr(Mixture, "load", lambda task, pixels: made.append(task.number) or whole(task, pixels))  # type: ignore[func-returns-value]
    tasks.info.cache_clear()
    for number in [*range(8)] * 3:
        tasks.load(f"mixture:{number}", 8)
    assert made == [*range(8)]
    tasks.load.cache_clear()
    tasks.info.cache_clear()


def test_every_family_has_a_name_of_its_own() -> None:
    assert list(families.FAMILIES) == [one.name for one in families.FAMILIES.values()]
    assert not set(FAMILIES) & set(tasks.TASKS)
