"""Random numbers made where they are used: a hash of key and position, the same on every device.

`keys.stream` gives numbers to a CPU; dropout and augmentation need millions per update, per network and on the device. Here
the i-th number of a key is the i-th output of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) seeded with it: integer
arithmetic modulo 2⁶⁴, so nothing depends on device, order or stack.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # as signed integers: torch multiplies those modulo 2⁶⁴
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)


def key(purpose: str, *parts: str | int) -> int:
    """A key for one purpose and everything it depends on, as `keys.stream` has them."""
    text = "\x1f".join([purpose, *map(str, parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def derive(keys: Int64[Tensor, " k"], purpose: str) -> Int64[Tensor, " k"]:
    """Keys for a purpose of its own, one from each."""
    return derive_each(keys, [purpose])[0]


def derive_each(keys: Int64[Tensor, " k"], purposes: Sequence[str]) -> Int64[Tensor, "purposes k"]:
    """The same for many purposes at once."""
    words = torch.tensor([key(purpose) for purpose in purposes], dtype=torch.int64, device=keys.device)
    return _mix(keys ^ words[:, None])


def uniform(keys: Int64[Tensor, " k"], shape: Sequence[int]) -> Float32[Tensor, "k ..."]:
    """Numbers from [0, 1), multiples of 2⁻²⁴: (k, *shape)."""
    count = torch.arange(1, math.prod(shape) + 1, device=keys.device)
    mixed = _mix(keys[:, None] + count * _GOLDEN)
    return (_shift(mixed, 40).float() * 2.0**-24).view(len(keys), *shape)


def normal(keys: Int64[Tensor, " k"], shape: Sequence[int]) -> Float32[Tensor, "k ..."]:
    """Standard normal numbers: (k, *shape), of a generator per key.

    The CPU makes them, three to ten times as fast as it would from `uniform`, and hands them to the device.
    """
    streams = [np.random.Generator(np.random.SFC64(key % 2**64)) for key in keys.tolist()]
    drawn = np.stack([each.standard_normal(tuple(shape), np.float32) for each in streams])
    return torch.from_numpy(drawn).to(keys.device)


def _mix(z: Int64[Tensor, "*any"]) -> Int64[Tensor, "*any"]:
    z = (z ^ _shift(z, 30)) * _FIRST
    z = (z ^ _shift(z, 27)) * _SECOND
    return z ^ _shift(z, 31)


def _shift(z: Int64[Tensor, "*any"], bits: int) -> Int64[Tensor, "*any"]:
    """A shift to the right that fills with zeros."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
