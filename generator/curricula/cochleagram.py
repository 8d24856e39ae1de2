"""Cochleagrams: a sound as the ear passes it on, one envelope per frequency band over time, for the paper's audio curriculum.

Half-cosine filters equally spaced on the ERB scale, Hilbert envelopes, a low-pass to the envelopes' own rate and a power law:
McDermott & Simoncelli, Neuron 71 (2011); Kell et al., Neuron 98 (2018). Conventions are those of the public packages
pycochleagram and tfcochleagram; the paper's released code gives its parameters and calls a copy of the second.

The bank. Centres lie strictly between `low` and `high`; a filter reaches from the centre of one neighbour to that of the
other, so that the lowest begins at `low` and the highest ends at `high`. There is nothing below and above: the low-pass and
high-pass that make pycochleagram's bank invertible are left off, as in the released code. That code sets filters of the same
widths four times as densely, `overcomplete=4`, which makes 203 of its "50"; one of each is [ours].

Otherwise [ours]: the low-pass weighs the samples near an end to a sum of one, where tfcochleagram fades into zeros, and
envelopes have the signal's amplitude, where its real transform gives half of it. As there, filtering is circular.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from generator.errors import RequestError

RATE = 20_000  # samples per second
BANDS, LOW, HIGH = 50, 20.0, 8000.0  # filters; Hz at which the lowest begins and the highest ends
ENVELOPE_RATE = 200  # frames per second
EXPONENT = 0.3

ERB_QUALITY, ERB_MINIMUM = 9.265, 24.7  # the ERB is minimum + frequency / quality, in Hz
LOBES, KAISER = 5, 5.0  # the low-pass: frames it reaches to either side, and its window's β
DENSE = 1 << 23  # weights of a low-pass as one matrix, at most: those of 2.5 seconds
OVERSAMPLING = 4  # a band's envelope is first sampled at no less than this times the band's width [ours]


def erb_number(hertz: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """How many equivalent rectangular bandwidths lie below a frequency (Glasberg & Moore, Hear. Res. 47, 1990)."""
    return ERB_QUALITY * torch.log1p(hertz / (ERB_QUALITY * ERB_MINIMUM))


def centres(
    bands: int = BANDS, low: float = LOW, high: float = HIGH, overcomplete: int = 1
) -> Float64[Tensor, " filters"]:
    """Centre frequencies in Hz of the overcomplete × (bands + 1) − 1 filters."""
    first, last = erb_number(torch.tensor([low, high], dtype=torch.float64)).tolist()
    numbers = torch.linspace(first, last, overcomplete * (bands + 1) + 1, dtype=torch.float64)[1:-1]
    return ERB_QUALITY * ERB_MINIMUM * torch.expm1(numbers / ERB_QUALITY)


def filters(
    samples: int, rate: int = RATE, bands: int = BANDS, low: float = LOW, high: float = HIGH, overcomplete: int = 1
) -> Float64[Tensor, "filters bins"]:
    """Gain of every filter at the frequencies of `rfft`; where neighbours overlap, the squares sum to one."""
    return torch.stack([*_filters(samples, rate, bands, low, high, overcomplete)])


def _filters(
    samples: int, rate: int, bands: int, low: float, high: float, overcomplete: int
) -> Iterator[Float64[Tensor, " bins"]]:
    """The same one by one, for those of a long sound are large."""
    reach = erb_number(torch.tensor([low, high], dtype=torch.float64)).diff() / (bands + 1)
    places = erb_number(torch.arange(samples // 2 + 1, dtype=torch.float64) * (rate / samples))
    for centre in erb_number(centres(bands, low, high, overcomplete)):
        distance = (places - centre) / reach
        yield torch.where(distance.abs() < 1, torch.cos(distance * (math.pi / 2)), 0.0) / math.sqrt(overcomplete)


def cochleagram(
    waveforms: Float[Tensor, "n samples"],
    rate: int = RATE,
    bands: int = BANDS,
    low: float = LOW,
    high: float = HIGH,
    envelope_rate: int = ENVELOPE_RATE,
    exponent: float = EXPONENT,
    overcomplete: int = 1,
) -> Float[Tensor, "n filters frames"]:
    """Compressed envelopes, lowest band first; frame i is the time (i + ½) / envelope_rate.

    The positive frequencies within a band, transformed back alone, are its analytic signal. Moved down to begin at zero they
    leave its magnitude as it is, and few samples hold them, the fewer the narrower the band: this is what makes it quick.
    """
    n, samples = waveforms.shape
    frames = samples * envelope_rate // rate
    spectrum = torch.fft.rfft(waveforms)
    out = waveforms.new_empty(n, overcomplete * (bands + 1) - 1, frames)
    for band, response in enumerate(_filters(samples, rate, bands, low, high, overcomplete)):
        inside = response.nonzero()
        if not len(inside):
            raise RequestError(f"{samples} samples at {rate} Hz are too short a sound for {bands} bands from {low} Hz")
        begin, end = int(inside[0]), int(inside[-1]) + 1
        size = 1 << (OVERSAMPLING * max(end - begin, frames) - 1).bit_length()
        analytic = torch.fft.ifft(spectrum[:, begin:end] * response[begin:end].to(waveforms), n=size)
        envelope = (analytic.real.square() + analytic.imag.square()).sqrt_()  # three times as fast as abs
        smooth = _dense if size * frames <= DENSE else _banded
        smoothed = smooth(envelope, frames, samples / rate * envelope_rate, 2 * size / samples)
        out[:, band] = smoothed.clamp_(min=0).pow_(exponent)
    return out


def _dense(envelope: Float[Tensor, "n size"], frames: int, duration: float, scale: float) -> Float[Tensor, "n frames"]:
    """Frames of an envelope, × `scale`, by one matrix product."""
    return envelope @ (_lowpass(envelope.shape[1], frames, duration) * scale).to(envelope)


def _banded(envelope: Float[Tensor, "n size"], frames: int, duration: float, scale: float) -> Float[Tensor, "n frames"]:
    """The same tap by tap: of a long sound the matrix is nearly all zeros."""
    size = envelope.shape[1]
    out, (first, weights) = envelope.new_zeros(len(envelope), frames), _taps(size, frames, duration)
    for tap, weight in enumerate(weights):
        out += envelope[:, (first + tap).clamp(0, size - 1)] * (weight * scale).to(envelope)
    return out


@lru_cache(maxsize=8)
def _lowpass(size: int, frames: int, duration: float) -> Float64[Tensor, "size frames"]:
    """Weights that turn `size` samples of an envelope into frames. `duration` is in frames."""
    samples = torch.arange(size, dtype=torch.float64) * (duration / size)
    weights = _kernel(torch.arange(frames, dtype=torch.float64) + 0.5 - samples[:, None])
    return weights / weights.sum(0)


@lru_cache(maxsize=8)
def _taps(size: int, frames: int, duration: float) -> tuple[Int64[Tensor, " frames"], Float64[Tensor, "taps frames"]]:
    """The first sample that enters each frame, and the weights of those from it on; what is no sample has none."""
    middle = torch.arange(frames, dtype=torch.float64) + 0.5
    first = ((middle - LOBES) * (size / duration)).floor().long()
    place = first + torch.arange(math.ceil(2 * LOBES * size / duration) + 2)[:, None]
    weights = _kernel(middle - place.double() * (duration / size)) * ((place >= 0) & (place < size))
    return first, weights / weights.sum(0)


def _kernel(lag: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """The low-pass: a sinc in a Kaiser window, `lag` frames from its middle."""
    window = torch.special.i0(KAISER * (1 - (lag / LOBES) ** 2).clamp(min=0).sqrt())
    return torch.where(lag.abs() < LOBES, torch.sinc(lag) * window, 0.0)


def add_noise(
    waveform: Float[Tensor, "n samples"], noise: Float[Tensor, "n samples"], snr_db: float | Float[Tensor, " n"]
) -> Float[Tensor, "n samples"]:
    """The waveform with as much of the noise as gives a ratio of powers, over the whole stimulus, of `snr_db` decibels."""
    powers = [sound.square().mean(1, keepdim=True) for sound in (waveform, noise)]
    for name, power in zip(("signal", "noise"), powers, strict=True):
        if not bool((power > 0).all()):
            raise RequestError(f"no signal-to-noise ratio can be had with a silent {name}")
    ratio = 10 ** (torch.as_tensor(snr_db, dtype=waveform.dtype, device=waveform.device).reshape(-1, 1) / 10)
    return waveform + noise * (powers[0] / (powers[1] * ratio)).sqrt()


def image(cochleagrams: Float[Tensor, "n filters frames"], pixels: int) -> Float[Tensor, "n 1 pixels pixels"]:
    """Square pictures for networks that take such [ours]: the first row is the lowest band, the first column the beginning.

    Linear resampling: an average under a triangle as wide as the scale where it shrinks, interpolation where it grows.
    """
    return F.interpolate(cochleagrams[:, None], (pixels, pixels), mode="bilinear", antialias=True)
