"""`sequence:17`: which pattern over frequency and time is this, said at another time and pitch, in noise?

Frequency runs down a picture's rows and time along its columns, both from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from generator.curricula.families.contract import Family, Labelled, integers, log_uniform, uniform
from generator.curricula.families.fields import field


class Kind(NamedTuple):
    """A kind of element: ranges of what is drawn of it."""

    width: tuple[float, float]  # standard deviation over frequency
    seconds: tuple[float, float]  # how long it lasts
    sweep: float  # most that its frequency moves
    ripple: float  # 1: harmonics, 0: none


KINDS = (
    Kind(width=(0.06, 0.12), seconds=(0.25, 0.6), sweep=0.5, ripple=0.0),  # a formant that glides
    Kind(width=(0.25, 0.5), seconds=(0.08, 0.15), sweep=0.0, ripple=0.0),  # an onset, or a burst
    Kind(width=(0.25, 0.5), seconds=(0.2, 0.5), sweep=0.15, ripple=1.0),  # harmonics
)


class Elements(NamedTuple):
    """What each class is made of, an entry per class and element."""

    begin: Float64[np.ndarray, "classes elements"]
    seconds: Float64[np.ndarray, "classes elements"]
    low: Float64[np.ndarray, "classes elements"]  # frequency at its beginning
    rise: Float64[np.ndarray, "classes elements"]  # and what it gains until its end
    width: Float64[np.ndarray, "classes elements"]
    ripple: Float64[np.ndarray, "classes elements"]
    spacing: Float64[np.ndarray, "classes elements"]  # between harmonics
    gain: Float64[np.ndarray, "classes elements"]


@dataclass(frozen=True, kw_only=True)
class Sequence(Family):
    """Glides, onsets and harmonics over frequency and time, as in speech, at random time and pitch in noise. [ours]"""

    name = "sequence"

    channels: int = integers(1, 1, "colour channels")
    elements: int = integers(1, 5, "elements of each class")
    time_jitter: float = uniform(0.0, 0.3, "most that a stimulus is shifted in time, where the whole lasts 1")
    pitch_jitter: float = uniform(0.0, 0.2, "most that it is shifted in pitch, where the whole range is 1")
    gain_jitter: float = uniform(0.0, 0.6, "standard deviation of the logarithm of each element's loudness")
    noise: float = log_uniform(0.2, 2.5, "amplitude of the noise, in the loudest element's")
    noise_exponent: float = uniform(0.0, 2.0, "spectral exponent of the noise")
    compression: float = uniform(0.3, 1.0, "power to which amplitudes are raised")

    def world(self, draw: np.random.Generator) -> Elements:
        """The elements of every class."""
        shape = (self.classes, self.elements)
        kind = draw.integers(0, len(KINDS), shape)

        def between(ranges: list[tuple[float, float]]) -> Float64[np.ndarray, "classes elements"]:
            low, high = np.array(ranges).T
            return low[kind] + (high - low)[kind] * draw.random(shape)

        seconds = between([one.seconds for one in KINDS])
        return Elements(
            begin=(1 - seconds) * draw.random(shape),
            seconds=seconds,
            low=draw.uniform(0.1, 0.9, shape),
            rise=between([(-one.sweep, one.sweep) for one in KINDS]),
            width=between([one.width for one in KINDS]),
            ripple=np.array([one.ripple for one in KINDS])[kind],
            spacing=draw.uniform(0.25, 0.4, shape),
            gain=draw.uniform(0.4, 1, shape),
        )

    def stimuli(self, world: Elements, count: int, pixels: int, draw: np.random.Generator) -> Labelled:
        """The energies of pattern and noise add up."""
        labels = self.labels(count, draw)
        time = draw.uniform(-self.time_jitter, self.time_jitter, count)
        pitch = draw.uniform(-self.pitch_jitter, self.pitch_jitter, count)
        loud = np.exp(self.gain_jitter * draw.standard_normal((count, self.elements)))
        clean = pattern(Elements(*(each[labels] for each in world)), time, pitch, loud, pixels)
        noise = self.noise * field(draw, (count,), pixels, self.noise_exponent)
        return np.power(clean**2 + noise**2, self.compression / 2)[:, None], labels


def pattern(
    each: Elements,
    time: Float64[np.ndarray, " n"],
    pitch: Float64[np.ndarray, " n"],
    loud: Float64[np.ndarray, "n elements"],
    pixels: int,
) -> Float64[np.ndarray, "n frequencies times"]:
    """Amplitudes without noise, shifted in time and pitch; `each` has a row per stimulus."""
    axis = (np.arange(pixels) + 0.5) / pixels
    total = np.zeros((len(time), pixels, pixels))
    for i in range(each.begin.shape[1]):
        one = Elements(*(trait[:, i, None] for trait in each))
        passed = (axis - time[:, None] - one.begin) / one.seconds  # from 0 to 1 while it lasts
        envelope = one.gain * loud[:, i, None] * np.exp(-((2 * passed - 1) ** 4))
        middle = one.low + one.rise * passed.clip(0, 1) + pitch[:, None]
        off = axis[:, None] - middle[:, None]  # n, frequencies, times
        shape = np.exp(-0.5 * (off / one.width[..., None]) ** 2)
        ripples = one.ripple[:, 0] > 0
        shape[ripples] *= 0.5 + 0.5 * np.cos(2 * np.pi * off[ripples] / one.spacing[ripples][..., None])
        total += envelope[:, None] * shape
    return total
