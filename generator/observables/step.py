"""`step`: the displacement d of the same synapses and units since the previous checkpoint, as a chronic implant would see it.

Of synapses d = w(t) − w(t−1); of outputs d = y(t) − y(t−1) for one stimulus, and the statistic is averaged over the stimuli (a
plain mean). Sign-like updates move all synapses alike, gradient-like ones a few of them far: their kurtosis differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables.contract import Observable, Reading, alike, portions, side_by_side
from generator.observables.signals import Outputs, Synapses

MEANINGS = {
    "norm": "Euclidean norm of the displacement d since the previous checkpoint",
    "kurtosis": "mean fourth central moment / variance² of d",
    "cosine": "cosine between d and the displacement before it",
    "flipped": "share whose sign (−, 0 or +) is not what it was at the previous checkpoint",
}
OF = {
    "weight": "of the recorded synapses",
    "activation": "of the recorded units' outputs to one stimulus, averaged over the probe stimuli",
}
SECONDS_PER_ELEMENT = 32e-9


class Step(Observable):
    """How far synapses and units moved since the previous checkpoint.

    Undefined at the first checkpoint (the cosine at the first two), and where other units are met each time.
    """

    name = "step"
    statistics = tuple(
        Statistic(f"step_{kind}_{name}", "step", kind, name, f"{meaning}, {of}")
        for kind, of in OF.items()
        for name, meaning in MEANINGS.items()
    )
    signals = (Synapses, Outputs)
    remembers = True

    def reduce(self, reading: Reading) -> Float[Tensor, "k 8"]:
        """Synapses first."""
        return self.reduce_all([reading])[0]

    def reduce_all(self, readings: Sequence[Reading]) -> list[Float[Tensor, "k 8"]]:
        """Networks with as many stimuli and units, or synapses, together."""
        synapses, outputs = [], []
        for reading in (each for each in readings if each.followed):
            memory, at = reading.memory[self.name], 0
            for block in reading.picked[Synapses].blocks:
                synapses.append(_Followed(block[:, None], memory, f"weight{at}"))
                at += len(block)
            outputs.append(_Followed(reading.picked[Outputs], memory, "activation"))
        of_synapses, of_outputs = iter(_moved(synapses)), iter(_moved(outputs))
        found = []
        for reading in readings:
            if reading.followed:
                of_blocks = [next(of_synapses) for _ in reading.picked[Synapses].blocks]
                found.append(torch.cat([torch.cat(of_blocks), next(of_outputs)], dim=1))
            else:
                y = reading.picked[Outputs]
                found.append(y.new_full((len(y), len(self.statistics)), torch.nan, dtype=torch.float64))
        return found

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every recorded weight and output."""
        return (electrode.count(size.weights) + probe * electrode.count(size.units)) * SECONDS_PER_ELEMENT


class _Followed(NamedTuple):
    """What was picked up of some networks, and where it was the last time."""

    x: Float[Tensor, "k b n"]
    memory: dict[str, Tensor]
    name: str


def _moved(followed: Sequence[_Followed]) -> list[Float[Tensor, "k 4"]]:
    """The four statistics of each one's displacements, averaged over b; remembers x and its displacement."""
    found: dict[int, Tensor] = {}
    for places in alike([(each.x.shape[1:], *_known(each)) for each in followed]):
        some = [followed[place] for place in places]
        x = some[0].x.clone() if len(some) == 1 else torch.cat([each.x for each in some])
        last, before = (
            side_by_side([each.memory[f"{each.name}.{what}"] for each in some]) if known else None
            for what, known in zip(("last", "displacement"), _known(some[0]), strict=True)
        )
        d = None if last is None else x - last
        parts = [_statistics(*part) for part in portions(x, last, d, before)]
        sizes = [len(each.x) for each in some]
        for each, moved in zip(some, x.split(sizes), strict=True):
            each.memory[f"{each.name}.last"] = moved
        for each, moved in zip(some, [] if d is None else d.split(sizes), strict=d is not None):
            each.memory[f"{each.name}.displacement"] = moved
        found |= dict(zip(places, torch.cat(parts).split(sizes), strict=True))
    return [found[place] for place in range(len(followed))]


def _known(followed: _Followed) -> tuple[bool, bool]:
    """Whether the last place, and the displacement before it, are remembered."""
    return (f"{followed.name}.last" in followed.memory, f"{followed.name}.displacement" in followed.memory)


def _statistics(
    x: Float[Tensor, "k b n"], last: Tensor | None, d: Tensor | None, before: Tensor | None
) -> Float[Tensor, "k 4"]:
    if last is None or d is None:
        return x.new_full((len(x), len(MEANINGS)), torch.nan, dtype=torch.float64)
    long = d.double()
    norm = long.norm(dim=2) if long.shape[2] else torch.full_like(long.sum(2), torch.nan)  # of nothing: undefined
    deviation = (long - long.mean(2, keepdim=True)).square_()
    kurtosis = deviation.square().mean(2) / deviation.mean(2).square()  # of what moves as one 0/0: undefined
    cosine = torch.full_like(norm, torch.nan)
    if before is not None:
        earlier = before.double()
        cosine = (long * earlier).sum(2) / (norm * earlier.norm(dim=2))
    flipped = (x.sign() != last.sign()).double().mean(2)
    return torch.stack([norm, kurtosis, cosine, flipped], dim=2).mean(1)
