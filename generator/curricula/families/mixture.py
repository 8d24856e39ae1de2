"""`mixture:17`: which class of prototypes, each a smooth random field, does a noisy picture come from?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from generator.curricula.families.contract import Family, Labelled, integers, log_uniform, uniform
from generator.curricula.families.fields import FINE, NATIVE, averaged, field

Prototypes = Float64[np.ndarray, "classes prototypes channels fine fine"]


@dataclass(frozen=True, kw_only=True)
class Mixture(Family):
    """Random prototypes of every class, smooth fields, in noise. [ours]"""

    name = "mixture"

    prototypes: int = integers(1, 24, "prototypes per class", log=True)
    exponent: float = uniform(0.0, 4.0, "spectral exponent of the prototypes: the larger, the smoother")
    sparsity: float = uniform(0.0, 0.9, "share of a prototype that is blank")
    colour: float = uniform(0.0, 1.0, "how much channels differ: 0 is grey")
    noise: float = log_uniform(0.5, 10.0, "standard deviation of the noise, in that of the prototypes")
    noise_exponent: float = uniform(0.0, 2.0, "spectral exponent of the noise")
    skew: float = uniform(0.0, 1.0, "how much brighter what is bright becomes: 0 leaves pixels as they are")

    def world(self, draw: np.random.Generator) -> Prototypes:
        """Prototypes of mean zero and, at the native side, variance one."""
        shape = (self.classes, self.prototypes, self.channels)
        found = field(draw, shape, FINE, self.exponent, self.colour)
        blank = np.quantile(found, self.sparsity, axis=(-3, -2, -1), keepdims=True)
        found = np.maximum(found - blank, 0)
        return (found - found.mean()) / averaged(found, NATIVE).std()

    def stimuli(self, world: Prototypes, count: int, pixels: int, draw: np.random.Generator) -> Labelled:
        """Prototypes in noise, of one scale whatever the noise, then skewed."""
        labels = self.labels(count, draw)
        which = draw.integers(0, self.prototypes, count)
        noise = field(draw, (count, self.channels), pixels, self.noise_exponent, self.colour)
        images = (averaged(world, pixels)[labels, which] + self.noise * noise) / np.hypot(1, self.noise)
        return np.expm1(self.skew * images) / self.skew if self.skew else images, labels
