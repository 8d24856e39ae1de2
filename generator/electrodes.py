"""Measurement conditions. The full, noiseless electrode is always there; it records every unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Electrode:
    """One measurement condition.

    Args:
        fraction: share of the units recorded.
        noise: standard deviation of the noise, in units of `noise_mode`.
        seed: of the units recorded and the noise.
    """

    name: str
    fraction: float = 1.0
    noise: float = 0.0
    noise_mode: str = "none"
    seed: int = 0


FULL = Electrode("full")
