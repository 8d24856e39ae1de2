"""`step`: the displacement d of the same synapses and units since the previous checkpoint, as a chronic implant would see it.

Of synapses d = w(t) − w(t−1); of outputs d = y(t) − y(t−1) for one stimulus, and the statistic is averaged over the stimuli (a
plain mean). Sign-like updates move all synapses alike, gradient-like ones a few of them far: their kurtosis differs.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables.contract import Observable, Reading
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
SECONDS_PER_ELEMENT = 14e-9


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
        outputs, memory = reading.picked[Outputs], reading.memory[self.name]
        if not reading.followed:
            return outputs.new_full((len(outputs), len(self.statistics)), torch.nan, dtype=torch.float64)
        synapses = [one[None] for block in reading.picked[Synapses].blocks for one in block]
        found = [
            [_moved(x, memory, f"{kind}{i}") for i, x in enumerate(of_kind)]  # one by one, which bounds the copies
            for kind, of_kind in (("weight", synapses), ("activation", outputs))
        ]
        return torch.cat([torch.stack(of_kind) for of_kind in found], dim=1)

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every recorded weight and output."""
        return (electrode.count(size.weights) + probe * electrode.count(size.units)) * SECONDS_PER_ELEMENT


def _moved(x: Float[Tensor, "b n"], memory: dict[str, Tensor], name: str) -> Float[Tensor, " 4"]:
    """The four statistics of the rows' displacements, averaged over b; remembers the rows and their displacement."""
    last, before = memory.get(f"{name}.last"), memory.get(f"{name}.displacement")
    memory[f"{name}.last"] = x.clone()
    if last is None:
        return x.new_full((len(MEANINGS),), torch.nan, dtype=torch.float64)
    d = memory[f"{name}.displacement"] = x - last
    long = d.double()
    norm = long.norm(dim=1)
    deviation = (long - long.mean(1, keepdim=True)).square_()
    kurtosis = deviation.square().mean(1) / deviation.mean(1).square()  # of what moves as one 0/0: undefined
    cosine = torch.full_like(norm, torch.nan)
    if before is not None:
        earlier = before.double()
        cosine = (long * earlier).sum(1) / (norm * earlier.norm(dim=1))
    flipped = (x.sign() != last.sign()).double().mean(1)
    return torch.stack([norm, kurtosis, cosine, flipped], dim=1).mean(0)
