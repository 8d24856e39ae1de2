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

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables.contract import Observable, Reading
from generator.observables.signals import Outputs

MEANINGS = {
    "participation": "participation ratio of the covariance over probe stimuli",
    "correlation": "mean correlation over probe stimuli of all pairs of units that vary",
    "sparseness": "Treves–Rolls sparseness (mean |y|)² / mean y² over units, averaged over the stimuli that anything answers to",
    "separability": "share of the variance over probe stimuli that lies between the means of the classes",
    "similarity": "linear CKA with the responses at the first checkpoint",
}
SECONDS_PER_ELEMENT = 10e-9
FLOPS_PER_SECOND = 50e9


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
        """Network by network."""
        memory, labels = reading.memory[self.name], reading.scene.labels
        found = []
        for i, outputs in enumerate(reading.picked[Outputs]):
            y = outputs.double()
            varying = (outputs != outputs[:1]).any(0)
            centred = torch.where(varying, y - y.mean(0), 0.0)
            gram = centred @ centred.T
            first = memory.setdefault(f"gram{i}", gram)
            among = torch.nan if labels is None else _between_classes(gram, labels[i])
            cka = (first * gram).sum() / (first.norm() * gram.norm())
            parts = (gram.trace().square() / gram.square().sum(), _correlation(centred[:, varying]), _sparseness(y))
            found.append(torch.stack([*parts, torch.as_tensor(among).to(gram), cka]))
        return torch.stack(found)

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every recorded output, and of the stimuli's Gram matrix."""
        elements = probe * electrode.count(size.units)
        return elements * (SECONDS_PER_ELEMENT + 2 * probe / FLOPS_PER_SECOND)


def _correlation(centred: Float[Tensor, "b units"]) -> Float[Tensor, ""]:
    """Mean over pairs: the variance of the sum of standardised units tells the sum of all correlations."""
    count = centred.shape[1]
    if count < 2:
        return centred.new_tensor(torch.nan)
    together = (centred / centred.square().mean(0).sqrt()).sum(1).square().mean()
    return (together - count) / (count * (count - 1))


def _sparseness(y: Float[Tensor, "b units"]) -> Float[Tensor, ""]:
    """Treves and Rolls's, of the stimuli that anything answers to."""
    found = y.abs().mean(1).square() / y.square().mean(1)
    return found.nanmean()


def _between_classes(gram: Float[Tensor, "b b"], labels: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
    """Σ_c n_c ‖mean of class c‖² / Σ ‖y‖²."""
    member = torch.nn.functional.one_hot(labels).to(gram)
    count = member.sum(0)
    sums = ((gram @ member) * member).sum(0)
    return (sums / count.clamp(min=1)).sum() / gram.trace()
