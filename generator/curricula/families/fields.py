"""Random fields: noise whose power falls with frequency, as in pictures of the world (Field, J. Opt. Soc. Am. A 4, 1987).

Frequencies are counted in cycles per picture, and a frequency has the same power at every side length. So a field of 16 pixels
is, about, one of 32 averaged down; the noise of a pixel is the larger, the smaller the pixel.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

NATIVE = 16  # pixels at which a field's variance is one
FINE = 32  # pixels at which classes are drawn


def frequencies(side: int) -> tuple[Float64[np.ndarray, "side 1"], Float64[np.ndarray, " half"]]:
    """Vertical and horizontal frequencies of `rfft2`, in cycles per picture."""
    return np.fft.fftfreq(side, 1 / side)[:, None], np.fft.rfftfreq(side, 1 / side)


def gain(side: int, exponent: float) -> Float64[np.ndarray, "side half"]:
    """What white noise is filtered with, frequency by frequency: power falls with frequency to the power `exponent`."""

    def falling(pixels: int) -> Float64[np.ndarray, "pixels half"]:
        return np.maximum(np.hypot(*frequencies(pixels)), 1) ** (-exponent / 2)

    doubled = falling(NATIVE)[:, 1:-1]  # frequencies that rfft2 gives once and fft2 twice
    power = (falling(NATIVE) ** 2).sum() + (doubled**2).sum()
    return falling(side) * (side / np.sqrt(power))


def filtered(
    white: Float64[np.ndarray, "*n side side"], gains: Float64[np.ndarray, "*m side half"]
) -> Float64[np.ndarray, "*n side side"]:
    """White noise filtered; what leaves the picture on one side enters it on the other."""
    return np.fft.irfft2(np.fft.rfft2(white) * gains, s=white.shape[-2:])


def field(
    draw: np.random.Generator, shape: tuple[int, ...], side: int, exponent: float, colour: float = 1.0
) -> Float64[np.ndarray, "*shape side side"]:
    """Fields of mean zero and, at the native side, variance one. `exponent` 0 is white noise.

    Args:
        shape: its last axis are channels.
        colour: 1 makes them independent of each other, 0 equal.
    """
    white = draw.standard_normal((*shape, side, side))
    count = shape[-1]
    if count > 1:
        grey = white.mean(-3, keepdims=True)
        common = np.sqrt(count - (count - 1) * colour)  # so that the variance stays one
        white = (white - grey) * np.sqrt(colour) + grey * common
    return filtered(white, gain(side, exponent)) if exponent else white * (side / NATIVE)


def averaged(images: Float64[np.ndarray, "*n fine fine"], side: int) -> Float64[np.ndarray, "*n side side"]:
    """Images with fewer pixels, each the mean of those that it covers."""
    scale = images.shape[-1] // side
    return images.reshape(*images.shape[:-2], side, scale, side, scale).mean((-3, -1))
