"""Randomness from identity: a draw is keyed by what it depends on, never by worker, order, clock or device.

`stream("init", root, model_seed, architecture, layer)` gives the same numbers everywhere. The generator is Philox, a
counter-based one (Salmon et al., SC 2011), keyed with a hash of the parts; every purpose names itself first.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(purpose: str, *parts: str | int) -> np.random.Generator:
    """The random stream of one purpose and everything it depends on."""
    text = "\x1f".join([purpose, *map(str, parts)])
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def digest(text: str, size: int = 8) -> str:
    """A short hexadecimal name for a text, 2 × size characters long."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
