"""Backgrounds to hear sounds in."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

RATE = 20_000  # samples per second


def pink(count: int, samples: int, draw: np.random.Generator) -> Float32[np.ndarray, "count samples"]:
    """Gaussian noise whose power falls with 1/frequency, from 20 Hz on."""
    frequencies = np.fft.rfftfreq(samples, 1 / RATE)
    slope = np.where(frequencies >= 20, 1 / np.sqrt(np.maximum(frequencies, 20)), 0).astype("f4")
    real, imaginary = draw.standard_normal((2, count, len(frequencies)), np.float32)
    return np.fft.irfft((real + 1j * imaginary) * slope, samples).astype(np.float32)
