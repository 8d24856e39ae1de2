"""What electrodes pick up: weights of synapses, outputs of units, and the terms of the activity change; and their noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import WeightLayer
from generator.dataset.electrodes import Electrode
from generator.kernels import in_pieces
from generator.observables.contract import Found, Normal, Places, Scene, Signal

MOST_SPIKES = 1e6  # expected of a unit in a window; only a network that has diverged comes near


class Weights(NamedTuple):
    """Weights of synapses: one block (networks, synapses) of all networks, or, where these have unequal numbers, one of each."""

    blocks: list[Float[Tensor, "_ _"]]
    apart: bool


class Synapses(Signal):
    """Weights."""

    name = "weight"

    def scales(self, scene: Scene) -> Float[Tensor, "1 k"]:
        """Standard deviation over the layer's weights."""
        return scene.weights.double().std(1, correction=0)[None]

    def pick(self, scene: Scene, electrode: Electrode) -> Weights:
        """Single synapses, or those between the recorded units."""
        places: Places | list[Found] = scene.implant(electrode).synapses
        if isinstance(places, list):
            return Weights([scene.weights[i : i + 1].gather(1, each) for i, each in enumerate(places)], True)
        return Weights([scene.weights if places is None else scene.weights.gather(1, places)], False)

    def noisy(self, picked: Weights, sizes: Float[Tensor, "1 k"], normal: Normal) -> Weights:
        """On every weight."""
        size = sizes[0].to(picked.blocks[0].dtype)
        if picked.apart:
            pairs = enumerate(picked.blocks)
            return Weights([block + size[i] * normal(self.name, tuple(block.shape), i) for i, block in pairs], True)
        (block,) = picked.blocks
        drawn = torch.stack([normal(self.name, (block.shape[1],), i) for i in range(len(block))])
        return Weights([torch.addcmul(block, drawn, size[:, None])], False)


class Outputs(Signal):
    """Outputs of units to every probe stimulus, (k, b, units)."""

    name = "activation"

    def scales(self, scene: Scene) -> Float[Tensor, "2 k"]:
        """Standard deviation over the layer's units and stimuli; the mean of what is above 0, which drives spikes."""
        found = []
        for of_one in scene.units:  # in float64, network by network
            y = of_one.double()
            found.append(torch.stack([y.std(correction=0), y.clamp(min=0).mean()]))
        return torch.stack(found, dim=1)

    def pick(self, scene: Scene, electrode: Electrode) -> Float[Tensor, "k b units"]:
        """The recorded units'."""
        return at(scene.implant(electrode).outputs, scene.units)

    def noisy(
        self, picked: Float[Tensor, "k b units"], sizes: Float[Tensor, "2 k"], normal: Normal
    ) -> Float[Tensor, "k b units"]:
        """On every unit and stimulus."""
        k, *shape = picked.shape
        drawn = torch.stack([normal(self.name, tuple(shape), i) for i in range(k)])
        return drawn.mul_(sizes[0].to(picked.dtype)[:, None, None]).add_(picked)

    def counted(
        self,
        picked: Float[Tensor, "k b units"],
        spikes: float,
        scales: Float[Tensor, "2 k"],
        poisson: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "k b units"]:
        """Numbers of spikes, Poisson, of a mean proportional to what of the output is above 0."""
        drive = scales[1]
        gain = torch.where(drive > 0, spikes / drive, 0)
        expected = (picked.clamp(min=0).double() * gain[:, None, None]).nan_to_num(nan=0.0).clamp(max=MOST_SPIKES)
        return poisson(expected).to(picked)


class Change(NamedTuple):
    """(1/n_out) Σ_i Σ_j ∂y_i/∂x_j per stimulus, or for one if it is the same for all; and of how many terms it is the mean."""

    values: Float[Tensor, "k changes"]
    terms: int
    stimuli: int


class ChangeTerms(Signal):
    """The terms φ′(a_i) r_i of the activity change, of which only the mean is kept."""

    name = "change"

    def scales(self, scene: Scene) -> Float[Tensor, "1 k"]:
        """Standard deviation of the terms over the layer's units and stimuli."""
        slope = scene.layer.phi.slope
        pairs = zip(scene.known, scene.response, strict=True)
        return torch.stack([(slope(of_one.double()) * r).std(correction=0) for of_one, r in pairs])[None]

    def pick(self, scene: Scene, electrode: Electrode) -> Change:
        """Over the recorded outputs and inputs."""
        outputs = scene.implant(electrode).outputs
        seen = at(outputs, scene.known)
        found = activity_change(scene.layer, seen, at(outputs, scene.response_to(electrode)))
        return Change(found, seen.shape[2], seen.shape[1])

    def noisy(self, picked: Change, sizes: Float[Tensor, "1 k"], normal: Normal) -> Change:
        """On every term; their mean has what is left of it."""
        drawn = torch.stack([normal(self.name, (picked.stimuli,), i) for i in range(sizes.shape[1])]).double()
        return picked._replace(values=picked.values + sizes[0][:, None] * (drawn / picked.terms**0.5))


def at(places: Places, values: Float[Tensor, "k b n"]) -> Float[Tensor, "k b recorded"]:
    """The values at these places."""
    return values if places is None else values.gather(2, places[:, None].expand(-1, values.shape[1], -1))


def activity_change(
    layer: WeightLayer, known: Float[Tensor, "k b units"], response: Float[Tensor, "k 1 units"]
) -> Float[Tensor, "k changes"]:
    """(1/n_out) Σ_i Σ_j ∂y_i/∂x_j, per stimulus or, if it is the same for all, once.

    With W applied to an all-ones input, the response r, this is mean_i φ′(a_i) r_i: no backward pass, and always the forward
    weights. φ′ follows from what is `known` of each unit (`Scene.known`).
    """
    slope = layer.phi.slope(known[:, :1] if layer.nonlinearity == "linear" else known)
    if in_pieces(slope):  # one by one, at equal places in memory: BLAS rounds by both
        pairs = zip(aligned(slope), aligned(response[:, 0]), strict=True)
        product = torch.stack([torch.mv(of_one, r) for of_one, r in pairs])
    else:
        product = torch.bmm(slope, response.mT)[..., 0]
    return product.double() / response.shape[-1]


def aligned(tensors: Sequence[Tensor] | Tensor) -> Iterator[Tensor]:
    """Each of some tensors at an address that allocation gives, a multiple of 64 bytes, as it would be alone."""
    return (each if each.data_ptr() % 64 == 0 else each.clone() for each in tensors)
