"""The cochleagram against closed forms, scipy's Hilbert transform at the full rate, and Pillow's resampling."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from PIL import Image

from generator.curricula import cochleagram as cochleagrams
from generator.curricula.cochleagram import add_noise, centres, cochleagram, erb_number, filters, image
from generator.errors import RequestError

RATE, SAMPLES = 20_000, 10_000
TIME = np.arange(SAMPLES) / RATE


def tone(hertz: float, amplitude: float = 1.0) -> torch.Tensor:
    """A whole number of cycles, as the half second is a circle to the filters: (1, samples)."""
    return torch.from_numpy(amplitude * np.sin(2 * np.pi * round(hertz / 2) * 2 * TIME + 0.3))[None]


def test_erb_scale_is_glasberg_and_moores() -> None:
    hertz = torch.linspace(0, 10_000, 2001, dtype=torch.float64)
    numbers = erb_number(hertz)
    np.testing.assert_allclose(numbers, 21.4 * np.log10(1 + 4.37 * hertz.numpy() / 1000), rtol=4e-3)
    middle = (hertz[1:] + hertz[:-1]).numpy() / 2
    np.testing.assert_allclose(hertz.diff() / numbers.diff(), 24.7 * (4.37 * middle / 1000 + 1), rtol=1e-3)


def test_centres_are_equally_spaced_between_the_limits() -> None:
    places = erb_number(torch.cat([torch.tensor([20.0]), centres(), torch.tensor([8000.0])]).double())
    np.testing.assert_allclose(places.diff(), (places[-1] - places[0]) / 51)
    assert len(centres()) == 50


@pytest.mark.parametrize("overcomplete", [1, 2, 4])
def test_squared_filters_sum_to_one(overcomplete: int) -> None:
    bank, middle = filters(SAMPLES, overcomplete=overcomplete), centres(overcomplete=overcomplete)
    assert len(bank) == len(middle) == overcomplete * 51 - 1
    power, hertz = bank.square().sum(0).numpy(), np.fft.rfftfreq(SAMPLES, 1 / RATE)
    # Complete from the centre of the first filter of the plain bank to that of its last.
    inside = (hertz >= float(centres()[0])) & (hertz <= float(centres()[-1]))
    np.testing.assert_allclose(power[inside], 1, rtol=1e-12)
    assert (power[~inside] < 1).all()
    if overcomplete == 1:  # between the places of the plain bank, filters reach beyond its limits
        np.testing.assert_allclose(power[(hertz <= 20) | (hertz >= 8000)], 0, atol=1e-12)


@pytest.mark.parametrize("band", [1, 20, 48])
def test_a_filter_is_one_at_its_centre_and_zero_at_its_neighbours(band: int) -> None:
    """Seen at the first frequency of 2,000 samples, a 2,000th of the rate."""
    below, at, above = centres()[band - 1 : band + 2].tolist()
    between = float(np.sqrt((at + 228.8455) * (above + 228.8455)) - 228.8455)  # halfway on the scale; 24.7 × 9.265
    gains = [float(filters(2000, rate=round(2000 * hertz))[band, 1]) for hertz in (below, at, above, between)]
    np.testing.assert_allclose(gains, [0, 1, 0, np.sqrt(0.5)], atol=1e-4)


@pytest.mark.parametrize("band", [0, 1, 17, 33, 49])
def test_a_tone_at_a_centre_has_its_amplitude_in_that_band(band: int) -> None:
    middle = float(centres()[band])
    linear = cochleagram(tone(middle, 0.7), exponent=1.0)[0]
    assert linear.shape == (50, 100)
    assert (linear.argmax(0) == band).all()
    gains = filters(SAMPLES)[:, round(middle / 2)]
    assert gains[band] > 0.99  # a multiple of 2 Hz is near enough to the centre
    np.testing.assert_allclose(linear, (0.7 * gains)[:, None].expand(-1, 100), atol=1e-12)


@pytest.mark.parametrize("carrier", [400.0, 2000.0, 6000.0])
def test_envelope_of_a_modulated_tone(carrier: float) -> None:
    """Carrier and two side bands, weighed by the filter, beat at the modulation's 8 Hz."""
    depth, hertz = 0.6, 8.0
    wave = (1 + depth * np.cos(2 * np.pi * hertz * TIME)) * np.sin(2 * np.pi * carrier * TIME)
    linear = cochleagram(torch.from_numpy(wave)[None], exponent=1.0)[0].numpy()
    band = int(linear.sum(1).argmax())
    lower, at, upper = (float(filters(SAMPLES)[band, round((carrier + d) / 2)]) for d in (-hertz, 0, hertz))
    turn = np.exp(2j * np.pi * hertz * (np.arange(100) + 0.5) / 200)
    expected = np.abs(at + depth / 2 * (upper * turn + lower / turn))
    np.testing.assert_allclose(linear[band, 5:-5], expected[5:-5], rtol=2e-3)


def reference(wave: np.ndarray) -> np.ndarray:
    """Linear cochleagram (50, 100): full-rate subbands, scipy's Hilbert transform, 1,001 taps, every hundredth sample."""
    subbands = np.fft.irfft(np.fft.rfft(wave) * filters(SAMPLES).numpy())
    envelopes = np.abs(scipy.signal.hilbert(subbands))
    taps = scipy.signal.firwin(1001, 100, window=("kaiser", 5.0), fs=RATE)
    return np.stack([np.convolve(envelope, taps, "same")[50::100] for envelope in envelopes])


def test_envelopes_are_those_of_scipy_at_the_full_rate() -> None:
    draw = np.random.default_rng(5)
    pulses = (np.arange(SAMPLES) % 137 == 0) * 5.0  # a voice of 146 Hz
    for wave in (
        pulses + 0.1 * draw.standard_normal(SAMPLES),
        scipy.signal.chirp(TIME, 100, 0.5, 7000),
        draw.standard_normal(SAMPLES),
    ):
        linear = cochleagram(torch.from_numpy(wave)[None], exponent=1.0)[0].numpy()[:, 5:-5]
        expected = reference(wave).clip(min=0)[:, 5:-5]
        assert np.abs(linear - expected).max() < 0.01 * expected.max()


def test_what_the_low_pass_leaves_below_zero_is_cut_off() -> None:
    click = np.eye(1, SAMPLES, 5000)[0]
    expected = reference(click)
    assert expected.min() < -0.1 * expected.max()
    linear, compressed = (cochleagram(torch.from_numpy(click)[None], exponent=x)[0].numpy() for x in (1.0, 0.3))
    np.testing.assert_allclose(linear, expected.clip(min=0), atol=0.01 * expected.max())
    assert np.isfinite(compressed).all()


def test_envelopes_are_compressed() -> None:
    wave = torch.from_numpy(np.random.default_rng(1).standard_normal((2, SAMPLES)))
    plain, linear = cochleagram(wave), cochleagram(wave, exponent=1.0)
    np.testing.assert_allclose(plain, linear**0.3, rtol=1e-12)
    np.testing.assert_allclose(cochleagram(10 * wave), 10**0.3 * plain, rtol=1e-12)
    assert (plain >= 0).all()


def test_single_precision_is_near_double_and_stimuli_do_not_mix() -> None:
    wave = torch.from_numpy(np.random.default_rng(2).standard_normal((3, SAMPLES)))
    double, single = cochleagram(wave), cochleagram(wave.float())
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    np.testing.assert_allclose(single, double, atol=1e-4)
    np.testing.assert_allclose(cochleagram(wave[1:2])[0], double[1], rtol=1e-9)
    assert torch.equal(cochleagram(wave.float()), single)


@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES - 37])
def test_the_low_pass_of_long_sounds_is_that_of_short_ones(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = torch.from_numpy(np.random.default_rng(6).standard_normal((2, samples)))
    dense = cochleagram(wave, exponent=1.0)
    monkeypatch.setattr(cochleagrams, "DENSE", 0)
    monkeypatch.setattr(cochleagrams, "_lowpass", None)
    np.testing.assert_allclose(cochleagram(wave, exponent=1.0), dense, rtol=1e-9, atol=1e-12)


def test_a_sound_without_a_bin_in_every_band_is_refused() -> None:
    with pytest.raises(RequestError, match="200 samples at 20000 Hz are too short"):
        cochleagram(torch.ones(1, 200))


def test_noise_is_added_at_the_ratio_asked_for() -> None:
    draw = torch.Generator().manual_seed(3)
    wave, noise = (torch.randn(3, SAMPLES, generator=draw, dtype=torch.float64) for _ in range(2))
    for asked in (torch.tensor([-9.0, 0.0, 20.0], dtype=torch.float64), 6.0):
        added = add_noise(wave, 7 * noise, asked) - wave
        measured = 10 * np.log10((wave.numpy() ** 2).sum(1) / (added.numpy() ** 2).sum(1))
        np.testing.assert_allclose(measured, np.broadcast_to(asked, 3), atol=1e-9)
        np.testing.assert_allclose(added / added.norm(dim=1, keepdim=True), noise / noise.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("silent", ["signal", "noise"])
def test_silence_has_no_ratio(silent: str) -> None:
    sounds = {"signal": torch.ones(2, 4), "noise": torch.ones(2, 4)}
    sounds[silent][1] = 0
    with pytest.raises(RequestError, match=f"silent {silent}"):
        add_noise(sounds["signal"], sounds["noise"], 0.0)


@pytest.mark.parametrize("pixels", [16, 32, 128])
def test_images_are_pillows(pixels: int) -> None:
    values = np.random.default_rng(4).random((2, 50, 100), np.float32)
    expected = [np.asarray(Image.fromarray(x).resize((pixels, pixels), Image.Resampling.BILINEAR)) for x in values]
    found = image(torch.from_numpy(values), pixels)
    assert found.shape == (2, 1, pixels, pixels)
    np.testing.assert_allclose(found[:, 0], np.stack(expected), atol=1e-5)
