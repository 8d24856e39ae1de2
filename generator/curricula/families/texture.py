"""`texture:17`: of which texture is this a piece? Its spectrum and its skewness tell, and no pixel's mean or variance does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from generator.curricula.families.contract import Family, Labelled, integers, log_uniform, uniform
from generator.curricula.families.fields import field, filtered, frequencies, gain


class Textures(NamedTuple):
    """What tells the classes."""

    place: Float64[np.ndarray, "classes bands 2"]  # middle of each band: vertical and horizontal cycles per picture
    weight: Float64[np.ndarray, "classes bands"]  # share of the bands' power
    skew: Float64[np.ndarray, " classes"]


@dataclass(frozen=True, kw_only=True)
class Texture(Family):
    """Random textures, whose classes differ in spectrum, orientation and skewness, never in a pixel's mean. [ours]"""

    name = "texture"

    bands: int = integers(1, 3, "bands of frequency and orientation of each class")
    bandwidth: float = log_uniform(0.2, 1.0, "standard deviation of a band, in cycles per picture")
    frequency: float = uniform(1.5, 3.5, "the highest that a band's middle can be, in cycles per picture")
    contrast: float = uniform(0.3, 1.0, "share of the power that lies in the bands")
    exponent: float = uniform(0.0, 3.0, "spectral exponent of the other power, which is the same for all classes")
    colour: float = uniform(0.0, 1.0, "how much channels differ: 0 is grey")
    skew: float = uniform(0.0, 0.8, "most that a class is skewed, to either side")
    noise: float = log_uniform(0.05, 2.0, "standard deviation of white noise, in that of the texture")

    def world(self, draw: np.random.Generator) -> Textures:
        """Bands at random orientations. A frequency and its negative are one wave, so half a turn is enough."""
        shape = (self.classes, self.bands)
        angle, cycles = draw.uniform(0, np.pi, shape), draw.uniform(1, self.frequency, shape)
        place = np.stack([cycles * np.sin(angle), cycles * np.cos(angle)], -1)
        weight = draw.uniform(0.5, 1.5, shape)
        return Textures(place, weight / weight.sum(1, keepdims=True), self.skew * draw.uniform(-1, 1, self.classes))

    def stimuli(self, world: Textures, count: int, pixels: int, draw: np.random.Generator) -> Labelled:
        """White noise through a class's filter, skewed, and noise."""
        labels = self.labels(count, draw)
        white = field(draw, (count, self.channels), pixels, 0.0, self.colour)
        gains = self.gains(world, pixels) * (16 / pixels)
        images = skewed(filtered(white, gains[labels][:, None]), world.skew[labels][:, None, None, None])
        return images + self.noise * field(draw, (count, self.channels), pixels, 0.0, self.colour), labels

    def gains(self, world: Textures, pixels: int) -> Float64[np.ndarray, "classes side half"]:
        """Every class's filter, which leaves white noise its variance."""
        down, across = frequencies(pixels)
        rest = gain(pixels, self.exponent) ** 2
        rest[0, 0] = 0
        bands = np.zeros((self.classes, *rest.shape))
        for band in range(self.bands):
            for sign in (1, -1):
                middle = sign * world.place[:, band, :, None, None]
                distance = (down - middle[:, 0]) ** 2 + (across - middle[:, 1]) ** 2
                bump = np.exp(-distance / (2 * self.bandwidth**2))
                bands += world.weight[:, band, None, None] * bump
        bands[:, 0, 0] = 0
        power = self.contrast * bands / _mean(bands) + (1 - self.contrast) * rest / _mean(rest)
        return np.sqrt(power)

    @staticmethod
    def reading(images: Float[np.ndarray, "n channels side side"]) -> Float[np.ndarray, "n features"]:
        """The logarithm of the power at every frequency: the pixels tell a linear read-out nothing."""
        return np.log(np.abs(np.fft.rfft2(images)) ** 2 + 1e-3).reshape(len(images), -1)


def skewed(
    x: Float64[np.ndarray, "n channels side side"], skew: Float64[np.ndarray, "n 1 1 1"]
) -> Float64[np.ndarray, "n channels side side"]:
    """Gaussian numbers made lognormal, of mean zero and variance one as before; negative `skew` mirrors them, 0 leaves them."""
    spread = np.sign(skew) * np.sqrt(np.expm1(skew**2))
    return np.where(skew == 0, x, np.expm1(skew * x - skew**2 / 2) / np.where(skew == 0, 1, spread))


def _mean(power: Float64[np.ndarray, "*n side half"]) -> Float64[np.ndarray, "*n 1 1"]:
    """Its mean over all frequencies, of which rfft2 gives most once instead of twice."""
    total = power.sum((-2, -1), keepdims=True) + power[..., 1:-1].sum((-2, -1), keepdims=True)
    return total / power.shape[-2] ** 2
