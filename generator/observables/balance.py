"""`balance`: how far hidden units drift from the law that gradient flow obeys.

A relu or leaky relu unit's incoming weights and bias may be scaled up, and its outgoing weights down, without any effect. So
under gradient flow of any loss F = ‖w_in‖² + b² − ‖w_out‖² stays what it was, whatever the data (Du et al. 2018, 1806.00900;
Kunin et al. 2021, 2012.04728). The drift F(t) − F(0) is counted in lengths of the way that its parts went, Σ |Δ‖w_in‖²| + |Δb²| +
|Δ‖w_out‖²| from checkpoint to checkpoint: 0 under gradient flow, ±1 where only one part moves, and steadily. A unit of a
convolution is a channel: pooling and flattening leave the law alone. Normalisation, residual links and other nonlinearities do
not; there it is undefined.

Through an electrode the sums run over the synapses between recorded units, whatever its `synapses`; a channel counts as recorded
if it is at any position. So is a vector unit if any component is; its b² is ‖b‖².
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables.contract import Normal, Observable, Places, Reading, Scene, Signal, mask

MEANING = "(F(t) − F(0)) / length of the way of its parts, F = ‖w_in‖² + b² − ‖w_out‖² of a hidden (leaky) relu unit or channel"
SECONDS_PER_ELEMENT = 7e-9


class Wires(NamedTuple):
    """The synapses of each unit, and which of them are recorded.

    Args:
        into, out: incoming and outgoing weights; `seen_into`, `seen_out`: 1 where one is recorded, else 0.
        recorded: which units are.
    """

    into: Float[Tensor, "k units fan_in"]
    seen_into: Float[Tensor, "k 1 fan_in"]
    bias: Float[Tensor, "k units components"]
    out: Float[Tensor, "k units fan_out"]
    seen_out: Float[Tensor, "k 1 fan_out"]
    recorded: Bool[Tensor, "k units"]


class Wiring(Signal):
    """Incoming and outgoing weights of every unit: `Wires`; None in the last layer, which no other reads."""

    name, looks_ahead = "balance", True

    def scales(self, scene: Scene) -> Float[Tensor, "2 k"]:
        """Standard deviations over the weights of this layer and of the one that reads it."""
        own = scene.weights.double().std(1, correction=0)
        following = own if scene.following is None else scene.following.weights.double().std(1, correction=0)
        return torch.stack([own, following])

    def pick(self, scene: Scene, electrode: Electrode) -> Wires | None:
        """Of all units; which are recorded stands beside them."""
        if scene.following is None:
            return None
        weight, after = scene.layer.weight, scene.following.layer.weight
        units = weight.shape[1]
        here, there = scene.implant(electrode), scene.following.implant(electrode)
        into = weight.flatten(2)
        seen_in = _channels(here.inputs, scene.x)
        taps = into.shape[2] // seen_in.shape[1]  # of a convolution's kernel
        reading = _channels(there.outputs, scene.following.y)  # units of the layer behind
        out = after.flatten(2).unflatten(2, (units, -1)).transpose(1, 2).flatten(2)
        taps_out = out.shape[2] // reading.shape[1]
        bias = scene.layer.bias
        return Wires(
            into,
            seen_in.repeat_interleave(taps, dim=1)[:, None],
            weight.new_zeros((*weight.shape[:2], 1)) if bias is None else bias.unflatten(1, (units, -1)),
            out,
            reading.repeat_interleave(taps_out, dim=1)[:, None],
            _channels(here.outputs, scene.y) > 0,
        )

    def noisy(self, picked: Wires | None, sizes: Float[Tensor, "2 k"], normal: Normal) -> Wires | None:
        """On every weight and bias."""
        if picked is None:
            return None

        def disturbed(x: Tensor, name: str, size: Tensor) -> Tensor:
            drawn = torch.stack([normal(f"{self.name} {name}", tuple(x.shape[1:]), i) for i in range(len(x))])
            return x + drawn * size.to(x.dtype).view(-1, *[1] * (x.ndim - 1))

        into, out = disturbed(picked.into, "into", sizes[0]), disturbed(picked.out, "out", sizes[1])
        return picked._replace(into=into, out=out, bias=disturbed(picked.bias, "bias", sizes[0]))


def _channels(places: Places, like: Tensor) -> Float[Tensor, "k channels"]:
    """1 for units, or channels at any position, among the places, else 0."""
    found = mask(places, like)[:, 0]
    return (found if found.ndim == 2 else found.flatten(2).amax(2)).expand(len(like), -1)


class Balance(Observable):
    """How far hidden units drift from the law that gradient flow obeys.

    Signed mean, and mean and median of the absolute value, over the recorded units that have moved.
    """

    name = "balance"
    statistics = (
        Statistic("balance_raw_mean", "balance", "raw", "mean", f"mean over units of {MEANING}"),
        Statistic("balance_abs_mean", "balance", "abs", "mean", f"mean over units of |{MEANING}|"),
        Statistic("balance_abs_median", "balance", "abs", "median", f"median over units of |{MEANING}|"),
    )
    signals = (Wiring,)
    remembers = of_rescalable = True

    def reduce(self, reading: Reading) -> Float[Tensor, "k 3"]:
        """Remembers the parts at the start and the last time, and the length of their way."""
        wires, memory = reading.picked[Wiring], reading.memory[self.name]
        if wires is None or not reading.scene.rescalable or not reading.followed:
            k = len(reading.scene.layer.weight)
            return reading.scene.weights.new_full((k, len(self.statistics)), torch.nan, dtype=torch.float64)
        incoming = (wires.into.double().square() * wires.seen_into).sum(2)
        outgoing = (wires.out.double().square() * wires.seen_out).sum(2)
        parts = torch.stack([incoming, wires.bias.double().square().sum(2), outgoing])
        start, last = memory.setdefault("start", parts), memory.get("last", parts)
        way = memory["way"] = memory.get("way", torch.zeros_like(incoming)) + (parts - last).abs().sum(0)
        memory["last"] = parts
        drift = (parts - start)[0] + (parts - start)[1] - (parts - start)[2]
        share = torch.where(wires.recorded & (way > 0), drift / way, torch.nan)
        return torch.stack([share.nanmean(1), share.abs().nanmean(1), share.abs().nanquantile(0.5, dim=1)], dim=1)

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every weight, recorded or not, as an incoming and as an outgoing one."""
        return 2 * size.weights * SECONDS_PER_ELEMENT
