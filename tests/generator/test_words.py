"""The synthetic words: what was asked of them, and that one hears what the voices and phones say."""

from __future__ import annotations

import numpy as np
import pytest

from generator.curricula import words
from generator.curricula.noise import RATE, pink
from generator.curricula.words import PHONES, WORDS, Voices, babble, part, speak, voices

Part = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def parts() -> dict[str, Part]:
    """Both parts at 16 pixels."""
    return {name: part(name, 16) for name in ("train", "test")}


def test_load_gives_both_parts(monkeypatch: pytest.MonkeyPatch, parts: dict[str, Part]) -> None:
    monkeypatch.setattr(words, "part", lambda name, pixels: parts[name])
    for found, expected in zip(words.load(16), (*parts["train"], *parts["test"]), strict=True):
        assert found is expected


def test_sizes_and_balance(parts: dict[str, Part]) -> None:
    for name, per_word in (("train", 175), ("test", 64)):
        images, labels = parts[name]
        assert images.shape == (8 * per_word, 1, 16, 16)
        assert np.isfinite(images).all()
        np.testing.assert_array_equal(np.bincount(labels), [per_word] * 8)
        assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_two_calls_give_equal_bytes_and_sides_the_same_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(words.PARTS, "test", (6, 2))
    (images, labels), (again, same) = part("test", 16), part("test", 16)
    assert images.tobytes() == again.tobytes()
    assert labels.tobytes() == same.tobytes()
    large, _ = part("test", 32)
    assert large.shape == (96, 1, 32, 32)
    halved = large.reshape(96, 16, 2, 16, 2).mean((2, 4))
    assert np.corrcoef(halved.ravel(), images.ravel())[0, 1] > 0.99


def test_no_voice_is_in_both_parts() -> None:
    train, test = voices("train"), voices("test")
    assert [len(np.unique(x.pitch)) for x in (train, test)] == [35, 16]
    for trait in Voices._fields:
        assert not np.intersect1d(getattr(train, trait), getattr(test, trait)).size


def test_linear_regression_on_pixels_hears_something_but_not_all(parts: dict[str, Part]) -> None:
    (train_x, train_y), (test_x, test_y) = ((x.reshape(len(x), -1), y) for x, y in (parts["train"], parts["test"]))
    mean, std = train_x.mean(), train_x.std()
    train_x, test_x = (np.c_[(x - mean) / std, np.ones(len(x))].astype(float) for x in (train_x, test_x))
    ridge = train_x.T @ train_x + 30 * np.eye(train_x.shape[1])
    weights = np.linalg.solve(ridge, train_x.T @ np.eye(8)[train_y])
    assert 0.4 < ((test_x @ weights).argmax(1) == test_y).mean() < 0.9


def speaker(count: int = 1, **traits: float) -> Voices:
    """One even, breathless adult man, or what is said otherwise; `count` of him."""
    plain = {"pitch": 125.0, "tract": 1.0, "tempo": 1.0, "jitter": 0.0, "breath": 0.0}
    return Voices(*(np.full(count, value) for value in (plain | traits).values()))


def spectrum(sounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, and the sounds' mean power in 20 Hz around them."""
    power = (np.abs(np.fft.rfft(sounds)[:, 1:5001]) ** 2).mean(0)
    return np.arange(500) * 20.0 + 11, power.reshape(-1, 10).sum(1)


@pytest.mark.parametrize("pitch", [100.0, 125.0, 200.0])
def test_a_voice_repeats_at_its_pitch(pitch: float) -> None:
    sound = speak("ɑ", speaker(pitch=pitch, tempo=0.3), np.random.default_rng(0))[0]
    assert sound.shape == (10_000,)
    middle = sound[3500:6500] * np.hanning(3000)
    cepstrum = np.fft.irfft(np.log(np.abs(np.fft.rfft(middle)) ** 2))[75:260]
    assert abs(RATE / (75 + cepstrum.argmax()) / pitch - 1) < 0.05


@pytest.mark.parametrize("tract", [0.9, 1.0, 1.2])
@pytest.mark.parametrize("phone", ["i", "ɑ", "ɔ"])
def test_a_vowel_is_loudest_at_its_formants(phone: str, tract: float) -> None:
    """Whispered, so that no harmonics stand in the way."""
    hertz, power = spectrum(speak(phone, speaker(40, tract=tract, tempo=0.3, breath=30.0), np.random.default_rng(0)))
    for formant in np.array(PHONES[phone].formants) * tract:
        near = np.flatnonzero(np.abs(hertz / formant - 1) < 0.15)
        assert abs(hertz[near[power[near].argmax()]] / formant - 1) < 0.08


def test_a_hiss_is_noise_around_its_frequency() -> None:
    for phone in ("s", "ʃ"):
        hertz, power = spectrum(speak(phone, speaker(5, tempo=0.3), np.random.default_rng(0)))
        centre = np.exp((power * np.log(hertz)).sum() / power.sum())
        assert abs(centre / PHONES[phone].hiss - 1) < 0.2


def test_phones_come_in_their_order() -> None:
    for phones in ("si", "is"):
        sound = speak(phones, speaker(tempo=0.75), np.random.default_rng(0))[0]
        power = np.abs(np.fft.rfft(sound.reshape(50, 200))) ** 2  # 10 ms by 100 Hz
        middles = [np.arange(50) @ x / x.sum() for x in (power[:, 40:70].sum(1), power[:, 1:6].sum(1))]
        heard = "".join(phone for _, phone in sorted(zip(middles, "si", strict=True)))
        assert heard == phones


def test_a_slow_speaker_takes_longer() -> None:
    lengths = []
    for tempo in (0.8, 1.25):
        sound = speak("jɛs", speaker(tempo=tempo), np.random.default_rng(0))[0]
        heard = np.flatnonzero(np.abs(sound) > 1e-3 * np.abs(sound).max())
        lengths.append(heard[-1] - heard[0])
    assert 1.3 < lengths[0] / lengths[1] < 1.7


def test_pink_noise_has_equal_power_per_octave() -> None:
    power = (np.abs(np.fft.rfft(pink(20, 10_000, np.random.default_rng(0)))) ** 2).mean(0)
    octaves = [power[low : 2 * low].sum() for low in (20, 80, 320, 1280)]
    np.testing.assert_allclose(octaves, np.mean(octaves), rtol=0.2)
    assert power[:10].max() < 1e-6 * power[10]  # 20 Hz
    assert pink(2, 4_001, np.random.default_rng(0)).shape == (2, 4_001)


def test_babble_is_made_of_other_words() -> None:
    """Word w is a constant sound of height 5 to the w: the digits of a sum in base 5 say who spoke how often."""
    powers = 5 ** np.arange(8)
    speech = powers[:, None, None].astype("f4") * np.ones((1, 5, 40), "f4")
    for label in range(8):
        total = babble(speech, label, 30, np.random.default_rng(label))
        counts = total[:, :1].astype(int) // powers % 5
        assert (counts.sum(1) == words.TALKERS).all()
        assert (counts[:, label] == 0).all()
        assert (counts.sum(0)[np.arange(8) != label] > 0).all()


def test_every_word_is_spelled_in_two_to_four_phones() -> None:
    assert len(set(WORDS.values())) == len(WORDS) == 8
    for phones in WORDS.values():
        assert 2 <= len(phones) <= 4
        assert set(phones) <= set(PHONES)
