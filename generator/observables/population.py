"""`population`: what the recorded units of a layer do together, over the probe stimuli.

With Y (stimuli × units), Yc the same less each unit's mean, K = Yc Ycᵀ, and λ the eigenvalues of the covariance:

- participation: the participation ratio (Σλ)² / Σλ² = (tr K)² / ‖K‖² (Gao et al. 2017, bioRxiv 214262);
- correlation: the mean over all pairs of units that vary;
- sparseness: ⟨|y|⟩² / ⟨y²⟩ over units, averaged over the stimuli that anything answers to; small is sparse (Treves & Rolls 1991);
- separability: the share of the variance that lies between the means of the classes (the correlation ratio η², Fisher 1925);
- similarity: linear CKA with the first checkpoint, ⟨K₀, K⟩ / ‖K₀‖‖K‖ (Kornblith et al. 2019, 1905.00414), which does
  not need the same units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables.contract import Observable, Reading, alike, portions, side_by_side
from generator.observables.signals import Outputs, aligned

MEANINGS = {
    "participation": "participation ratio of the covariance over probe stimuli",
    "correlation": "mean correlation over probe stimuli of all pairs of units that vary",
    "sparseness": "Treves–Rolls sparseness (mean |y|)² / mean y² over units, averaged over the stimuli that anything answers to",
    "separability": "share of the variance over probe stimuli that lies between the means of the classes",
    "similarity": "linear CKA with the responses at the first checkpoint",
}
SECONDS_PER_ELEMENT = 23e-9
FLOPS_PER_SECOND = 22e9


class Population(Observable):
    """What the recorded units do together, over the probe stimuli. Undefined where nothing varies."""

    name = "population"
    statistics = tuple(
        Statistic(f"population_{name}", "population", "raw", name, f"{meaning}, of the recorded units of a layer")
        for name, meaning in MEANINGS.items()
    )
    signals = (Outputs,)
    remembers = True

    def reduce(self, reading: Reading) -> Float[Tensor, "k 5"]:
        """Of one reading."""
        return self.reduce_all([reading])[0]

    def reduce_all(self, readings: Sequence[Reading]) -> list[Float[Tensor, "k 5"]]:
        """Networks with as many units together."""
        found: dict[int, Tensor] = {}
        memories = [reading.memory[self.name] for reading in readings]
        for places in alike(
            [(reading.picked[Outputs].shape[1:], reading.scene.labels is None) for reading in readings]
        ):
            some = [readings[place] for place in places]
            outputs = side_by_side([reading.picked[Outputs] for reading in some])
            labels = None if (known := some[0].scene.labels) is None else torch.cat([known] * len(some))
            start = [memories[place].get("first") for place in places]
            first = side_by_side([one for one in start if one is not None]) if start[0] is not None else None
            parts = [_together(*part) for part in portions(outputs, labels, first)]
            values, seen = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
            sizes = [len(reading.picked[Outputs]) for reading in some]
            found |= dict(zip(places, values.split(sizes), strict=True))
            if first is None:
                for place, kept in zip(places, seen.split(sizes), strict=True):
                    memories[place]["first"] = kept
        return [found[place] for place in range(len(readings))]

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every recorded output, and of the Gram matrix of the stimuli or the units, whichever are fewer."""
        units = electrode.count(size.units)
        return probe * units * (SECONDS_PER_ELEMENT + 2 * min(probe, units) / FLOPS_PER_SECOND)


def _together(
    outputs: Float[Tensor, "k b units"],
    labels: Int64[Tensor, "k b"] | None,
    first: Float[Tensor, "k b _"] | None,
) -> tuple[Float[Tensor, "k 5"], Float[Tensor, "k b _"]]:
    """The statistics of each network, and what is to be remembered: at the first checkpoint Yc, or K if there are more units.

    tr K and ‖K‖ are those of Ycᵀ Yc, and ⟨K₀, K⟩ = ‖Y₀cᵀ Yc‖², so the smaller of the two is made.
    """
    y = outputs.double()
    varying = (outputs != outputs[:, :1]).any(1)
    centred = torch.where(varying[:, None], y - y.mean(1, keepdim=True), 0.0)
    few = (y if first is None else first).shape[2] < y.shape[1]  # as at the first checkpoint, with as many units or not
    own = _products(centred, centred, few)
    kept = centred if few else own
    start = kept if first is None else first
    of_start = own if first is None else _products(start, start, few) if few else start
    shared = _products(start, centred, few).square() if few else start * own
    size, trace = _norm(own), own.diagonal(dim1=1, dim2=2).sum(1)
    among = torch.full_like(trace, torch.nan) if labels is None else _between_classes(centred, labels) / trace
    parts = (
        (trace / size).square(),
        _correlation(centred, varying),
        _sparseness(y),
        among,
        shared.flatten(1).sum(1) / (_norm(of_start) * size),
    )
    return torch.stack(parts, dim=1), kept


def _products(a: Float[Tensor, "k b n"], b: Float[Tensor, "k b m"], few: bool) -> Float[Tensor, "k _ _"]:
    """aᵀ b if there are few units, else a bᵀ: network by network and at equal places in memory, since BLAS rounds by both."""
    pairs = zip(aligned(a), aligned(b), strict=True)
    return torch.stack([x.mT @ y if few else x @ y.mT for x, y in pairs])


def _norm(gram: Float[Tensor, "k n n"]) -> Float[Tensor, " k"]:
    return gram.flatten(1).norm(dim=1)


def _correlation(centred: Float[Tensor, "k b units"], varying: Bool[Tensor, "k units"]) -> Float[Tensor, " k"]:
    """Mean over pairs: the variance of the sum of standardised units tells the sum of all correlations."""
    spread = torch.where(varying, centred.square().mean(1).sqrt(), 1.0)
    together = (centred / spread[:, None]).sum(2).square().mean(1)
    count = varying.sum(1)
    return torch.where(count < 2, torch.nan, (together - count) / (count * (count - 1)))


def _sparseness(y: Float[Tensor, "k b units"]) -> Float[Tensor, " k"]:
    """Treves and Rolls's, of the stimuli that anything answers to."""
    found = y.abs().mean(2).square() / y.square().mean(2)
    return found.nanmean(1)


def _between_classes(centred: Float[Tensor, "k b units"], labels: Int64[Tensor, "k b"]) -> Float[Tensor, " k"]:
    """Σ_c n_c ‖mean of class c‖²."""
    classes = int(labels.max()) + 1
    of = labels[:, :, None].expand_as(centred)
    sums = centred.new_zeros((len(centred), classes, centred.shape[2])).scatter_add_(1, of, centred)
    count = centred.new_zeros((len(centred), classes)).scatter_add_(1, labels, torch.ones_like(labels).to(centred))
    return (sums.square().sum(2) / count.clamp(min=1)).sum(1)
