"""Records with electrodes: some units and synapses of each network, and the noise that comes with them.

Every network is a subject of its own: which units an electrode meets, and its noise, are keyed by the network's identity, the
electrode's seed and the layer. All electrodes of a checkpoint share one forward pass; each costs what it records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from generator.architectures.layers import WeightLayer
from generator.dataset.electrodes import Electrode
from generator.keys import stream
from generator.observables.statistics import Recording, activity_change, units, whole

MOST_SPIKES = 1e6  # expected of a unit in a window; only a network that has diverged comes near

Found = Int64[Tensor, "_ _"]  # (networks, recorded): which are recorded, in ascending order
Places = Found | None  # None: all of them
Normal = Callable[[str, int, tuple[int, ...], int], Tensor]  # of an observable, seed, shape and network


class Site(NamedTuple):
    """Where an electrode is in one layer: the units recorded before and behind it, and the synapses, per network or of all."""

    inputs: Places
    outputs: Places
    synapses: Places | list[Found]


class Scales(NamedTuple):
    """What noise is relative to, per network: pooled over the units and stimuli of one layer at the first checkpoint.

    Standard deviations of the weights, of the output and of the terms of the activity change; the mean output above 0.
    """

    weight: Float[Tensor, " k"]
    activation: Float[Tensor, " k"]
    change: Float[Tensor, " k"]
    drive: Float[Tensor, " k"]


class Recorder:
    """The electrodes in one stack of networks.

    Args:
        electrodes: each of them is in every layer of every network.
        networks: the networks' identities, in stacking order.
        layers: the stack's weight layers.

    Attributes:
        scales: of each layer, (4, k), what noise is relative to, set at the first checkpoint; empty if no electrode needs it.
    """

    def __init__(self, electrodes: Sequence[Electrode], networks: Sequence[str], layers: Sequence[WeightLayer]) -> None:
        self.electrodes, self.networks = tuple(electrodes), networks
        noisy = any(electrode.noise_mode != "none" for electrode in electrodes)
        shape = (len(Scales._fields), len(networks))
        self.scales = {each.name: each.weight.new_zeros(shape, dtype=torch.float64) for each in layers if noisy}
        self._chronic: dict[tuple[Electrode, str], Site] = {}

    def record(self, layer: WeightLayer, x: Tensor, y: Tensor, checkpoint: int) -> Iterator[Recording]:
        """What each electrode records of a layer that read x (k, b, …) and wrote y (k, b, …)."""
        everything = whole(layer, x, y)
        if self.scales and checkpoint == 0:
            self.scales[layer.name].copy_(torch.stack(_scales(layer, x, everything)))
        quiet = {electrode.quiet: everything for electrode in self.electrodes}
        sites = {electrode: self._site(electrode, layer, x, y, checkpoint) for electrode in quiet}
        partial = {electrode: site for electrode, site in sites.items() if any(each is not None for each in site)}
        responses = _responses(layer, x, [site.inputs for site in partial.values()])
        for (electrode, site), response in zip(partial.items(), responses, strict=True):
            outputs = _at(site.outputs, everything.units)
            change = activity_change(layer, outputs, _at(site.outputs, response))
            quiet[electrode] = Recording(_synapses(site.synapses, everything.weights[0]), outputs, change)

        @cache
        def normal(observable: str, seed: int, shape: tuple[int, ...], network: int) -> Tensor:
            drawn = stream(f"noise {observable}", seed, self.networks[network], layer.name, checkpoint)
            return torch.from_numpy(drawn.standard_normal(shape, np.float32)).to(y.device, y.dtype)

        for electrode in self.electrodes:
            recording = quiet[electrode.quiet]
            match electrode.noise_mode:
                case "poisson":
                    drive = Scales(*self.scales[layer.name]).drive
                    gain = torch.where(drive > 0, electrode.noise / drive, 0)
                    key = (electrode.seed, layer.name, checkpoint)
                    streams = [stream("spikes", network, *key) for network in self.networks]
                    yield recording._replace(units=_spikes(recording.units, gain, streams))
                case "relative":
                    yield _noisy(recording, electrode.noise * self.scales[layer.name], electrode.seed, normal)
                case "absolute":
                    same = torch.full_like(self.scales[layer.name], electrode.noise)
                    yield _noisy(recording, same, electrode.seed, normal)
                case _:
                    yield recording

    def _site(self, electrode: Electrode, layer: WeightLayer, x: Tensor, y: Tensor, checkpoint: int) -> Site:
        if (known := self._chronic.get((electrode, layer.name))) is not None:
            return known
        when = (checkpoint,) if electrode.redraw else ()

        def places(what: str, size: int) -> Places:
            if (count := electrode.count(size)) == size:
                return None
            keys = [(electrode.seed, network, layer.name, *when) for network in self.networks]
            chosen = [np.sort(stream(f"recorded {what}", *key).permutation(size)[:count]) for key in keys]
            return torch.from_numpy(np.stack(chosen)).to(y.device)

        inputs, outputs = (places(what, t[0, 0].numel()) for what, t in (("inputs", x), ("outputs", y)))
        if electrode.synapses == "single":
            site = Site(inputs, outputs, places("synapses", layer.weight[0].numel()))
        else:
            site = Site(inputs, outputs, _between(layer, x, y, inputs, outputs))
        if not electrode.redraw:
            self._chronic[electrode, layer.name] = site
        return site


def _at(places: Places, values: Float[Tensor, "k b n"]) -> Float[Tensor, "k b recorded"]:
    return values if places is None else values.gather(2, places[:, None].expand(-1, values.shape[1], -1))


def _mask(places: Places, like: Tensor) -> Tensor:
    """1 at the places and 0 elsewhere, in the shape of one stimulus of `like`: (k, 1, …)."""
    if places is None:
        return torch.ones_like(like[:, :1])
    one = like[:, :1] if like.ndim == 3 else like[:, :1].movedim(2, -1)
    mask = one.new_zeros(len(one), one[0].numel()).scatter_(1, places, 1.0).view(one.shape)
    return mask if like.ndim == 3 else mask.movedim(-1, 2)


def _responses(layer: WeightLayer, x: Tensor, inputs: Sequence[Places]) -> Sequence[Float[Tensor, "k 1 units"]]:
    """For each choice of inputs, W applied to an input of ones at these and zeros elsewhere."""
    if not inputs:
        return ()
    masks = torch.cat([_mask(places, x) for places in inputs], dim=1)
    return units(layer.forward(masks, layer.weight, None)).split(1, dim=1)


def _between(layer: WeightLayer, x: Tensor, y: Tensor, inputs: Places, outputs: Places) -> Places | list[Found]:
    """The weights that connect some recorded input with some recorded output, at any position; None if all are recorded."""
    if inputs is None and outputs is None:
        return None
    connections = layer.correlate(_mask(inputs, x), _mask(outputs, y)).flatten(1)
    return [torch.nonzero(of_one > 0.5).T for of_one in connections]


def _synapses(places: Places | list[Found], weights: Float[Tensor, "k n"]) -> list[Float[Tensor, "networks synapses"]]:
    if isinstance(places, list):
        return [weights[i : i + 1].gather(1, each) for i, each in enumerate(places)]
    return [weights if places is None else weights.gather(1, places)]


def _scales(layer: WeightLayer, x: Tensor, everything: Recording) -> Scales:
    response = units(layer.ones_response(x))
    found = []
    for of_one, r in zip(everything.units, response, strict=True):  # in float64, network by network
        y = of_one.double()
        terms = layer.phi.slope(y) * r
        found.append(torch.stack([y.std(correction=0), terms.std(correction=0), y.clamp(min=0).mean()]))
    return Scales(everything.weights[0].double().std(1, correction=0), *torch.stack(found, dim=1))


def _noisy(recording: Recording, sizes: Float[Tensor, "4 k"], seed: int, normal: Normal) -> Recording:
    """With independent Gaussian noise on every weight, on every output and on every term of the activity change."""
    change = Scales(*sizes).change
    weight, activation, *_ = sizes.to(recording.units.dtype)
    k, b, n = recording.units.shape
    if len(recording.weights) == 1:
        (block,) = recording.weights
        drawn = torch.stack([normal("weight", seed, (block.shape[1],), i) for i in range(k)])
        weights = [torch.addcmul(block, drawn, weight[:, None])]
    else:
        weights = [
            block + weight[i] * normal("weight", seed, block.shape, i) for i, block in enumerate(recording.weights)
        ]
    outputs = torch.stack([normal("activation", seed, (b, n), i) for i in range(k)])
    mean_of_terms = torch.stack([normal("change", seed, (b,), i) for i in range(k)]).double() / n**0.5
    return Recording(
        weights,
        outputs.mul_(activation[:, None, None]).add_(recording.units),
        recording.change + change[:, None] * mean_of_terms,
    )


def _spikes(
    outputs: Float[Tensor, "k b units"], gain: Float[Tensor, " k"], streams: Sequence[np.random.Generator]
) -> Float[Tensor, "k b units"]:
    """Numbers of spikes, Poisson, of a mean proportional to what of the output is above 0."""
    expected = (outputs.clamp(min=0).double() * gain[:, None, None]).nan_to_num(nan=0.0).clamp(max=MOST_SPIKES)
    counts = [drawn.poisson(mean) for drawn, mean in zip(streams, expected.cpu().numpy(), strict=True)]
    return torch.from_numpy(np.stack(counts)).to(outputs)
