"""`coupling`: whether a layer's activity changes as the next layer reads it. Of outputs alone: no weight is seen.

How the next layer reads a unit is estimated from both layers' responses to the probe stimuli. With Y (stimuli × units) the
outputs of the layer and Z those of the next, each less its mean over stimuli, ridge regression of Z on Y gives
V̂ = (YᵀY + λ)⁻¹ YᵀZ, λ a tenth of ‖Y‖² / stimuli [ours]. Then, with d_i the change of unit i's responses since the previous
checkpoint, v_i its row of V̂ there, D and V their Gram matrices over pairs of units, as for `transport` (`transport.py` says
why):

- similarity: the cosine of D and V;
- size: the correlation of log ‖d_i‖² and log ‖v_i‖² over units;
- kept: the cosine of D and the D before it;
- held: the cosine of D and the first D;
- own: the cosine of D and the Gram matrix of Y at the previous checkpoint;
- next: linear CKA of the changes of both layers (Kornblith et al. 2019, 1905.00414);
- shared: linear CKA of the responses of both layers.

Of a layer with more than 128 recorded units that many are paired; all are read from.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables import pairs
from generator.observables.contract import Observable, Reading
from generator.observables.signals import Outputs

RIDGE = 0.1
MEANINGS = {
    "similarity": "cosine, over pairs of units, of the Gram matrices of d and of v",
    "size": "correlation of log ‖d‖² and log ‖v‖² over units",
    "kept": "cosine, over pairs of units, of the Gram matrix of d and the one before it",
    "held": "cosine, over pairs of units, of the Gram matrix of d and the first one",
    "own": "cosine, over pairs of units, of the Gram matrices of d and of the responses at the previous checkpoint",
    "next": "linear CKA of the changes of this layer's responses and of the next one's",
    "shared": "linear CKA of this layer's responses and the next one's",
}
OF = (
    "d: change of a unit's responses to the probe stimuli since the previous checkpoint; v: how the next layer's responses "
    "follow from it there, by ridge regression"
)
SECONDS_PER_NETWORK = 8e-4  # some sixty calls, a third of them on matrices of stimuli × stimuli
SECONDS_PER_ELEMENT = 20e-9
FLOPS_PER_SECOND = 45e9


class Behind(Outputs):
    """Outputs of the recorded units of the next layer; None in the last one."""

    behind = True


class Coupling(Observable):
    """Whether a layer's activity changes as the next layer reads it.

    Undefined in the last layer, and where other units are met each time; all but `shared` at the first checkpoint, and kept and
    held at the second.
    """

    name = "coupling"
    statistics = tuple(
        Statistic(f"coupling_{name}", "coupling", "activation", name, f"{meaning} ({OF})")
        for name, meaning in MEANINGS.items()
    )
    signals = (Outputs, Behind)
    remembers = True

    def reduce(self, reading: Reading) -> Float[Tensor, "k 7"]:
        """Remembers the responses, V̂, and the first and the last D."""
        here, behind, memory = reading.picked[Outputs], reading.picked[Behind], reading.memory[self.name]
        found = here.new_full((len(here), len(MEANINGS)), torch.nan, dtype=torch.float64)
        if behind is not None and reading.followed:
            for network, (y, z) in enumerate(zip(here, behind, strict=True)):
                for name, value in of_one(y, z, pairs.Kept(memory, network)).items():
                    found[network, list(MEANINGS).index(name)] = value
        return found

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every output of two layers that are about as large: both Gram matrices of stimuli, the regression, the pairs."""
        units = electrode.count(size.units)
        flops = 2 * probe * (4 * min(probe, units) + 3 * min(pairs.MOST, units)) + probe**2
        return SECONDS_PER_NETWORK + units * (probe * SECONDS_PER_ELEMENT + flops / FLOPS_PER_SECOND)


def of_one(y: Float[Tensor, "b units"], z: Float[Tensor, "b behind"], kept: pairs.Kept) -> dict[str, Tensor]:
    """The statistics of one network, those that are defined."""
    before, behind = kept.last("outputs", y.clone()), kept.last("behind", z.clone())
    units = pairs.some(y.shape[1]).to(y.device)
    now, after = _centred(y.double()), _centred(z.double())
    gram, of_next = now @ now.mT, after @ after.mT
    readout = kept.last("readout", _regression(now[:, units], gram, after))
    found = {"shared": pairs.cosine(gram, of_next)}
    if before is not None and behind is not None and readout is not None:
        last = _centred(before.double())
        change, of_change = now - last, after - _centred(behind.double())
        d = change[:, units].mT.contiguous()
        of_d, of_pairs = pairs.moved(d, readout, kept)
        found |= of_pairs
        found["own"] = pairs.cosine(of_d, pairs.products(last[:, units].mT))
        found["next"] = pairs.cosine(change @ change.mT, of_change @ of_change.mT)
    return found


def _centred(x: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Less each unit's mean over the stimuli; exactly 0 where a unit does not vary."""
    return torch.where((x != x[:1]).any(0), x - x.mean(0), 0.0)


def _regression(
    units: Float[Tensor, "b n"], gram: Float[Tensor, "b b"], behind: Float[Tensor, "b m"]
) -> Float[Tensor, "n m"]:
    """V̂ = Yᵀ (Y Yᵀ + λ)⁻¹ Z, the same as (YᵀY + λ)⁻¹ YᵀZ, for some units; NaN where nothing varies."""
    ridge = torch.diag_embed((RIDGE * gram.diagonal().mean()).expand(len(gram)))
    root, failed = torch.linalg.cholesky_ex(gram + ridge)
    if failed:
        return units.new_full((units.shape[1], behind.shape[1]), torch.nan)
    return units.mT @ torch.cholesky_solve(behind, root)
