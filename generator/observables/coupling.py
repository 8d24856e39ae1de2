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

Of a layer with more than 128 recorded units that many are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables import pairs
from generator.observables.contract import Observable, Reading, alike, side_by_side
from generator.observables.signals import Outputs

RIDGE = 0.1
MOST = 128  # units of a layer that are looked at
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
SECONDS_PER_NETWORK = 1.5e-4  # some sixty calls
SECONDS_PER_ELEMENT = 70e-9
SECONDS_PER_PAIR = 0.14e-9  # of units, and stimulus: seven products of matrices and a regression


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
        """Of one reading."""
        return self.reduce_all([reading])[0]

    def reduce_all(self, readings: Sequence[Reading]) -> list[Float[Tensor, "k 7"]]:
        """Networks with as many units in both layers together.

        Remembers the responses, the Gram matrices of Y and V̂, and the first and the last D.
        """
        found = [
            each.scene.units.new_full((len(each.scene.units), len(MEANINGS)), torch.nan, dtype=torch.float64)
            for each in readings
        ]
        there = [i for i, each in enumerate(readings) if each.picked[Behind] is not None and each.followed]
        tables = {i: [_some(readings[i].picked[kind]) for kind in (Outputs, Behind)] for i in there}
        memories = {i: readings[i].memory[self.name] for i in there}
        keys = [(*(x.shape[1:] for x in tables[i]), *sorted(memories[i])) for i in there]
        for places in alike(keys):
            some = [there[place] for place in places]
            y, z = (side_by_side([tables[i][of] for i in some]) for of in (0, 1))
            known = {name: side_by_side([memories[i][name] for i in some]) for name in memories[some[0]]}
            values, kept = together(y, z, known)
            sizes = [len(tables[i][0]) for i in some]
            for name, value in values.items():
                for i, part in zip(some, value.split(sizes), strict=True):
                    found[i][:, list(MEANINGS).index(name)] = part
            for name, value in kept.items():
                for i, part in zip(some, value.split(sizes), strict=True):
                    memories[i][name] = part
        return found

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every response of the units that are paired, and of its products with those of the others."""
        units = min(MOST, electrode.count(size.units))
        return SECONDS_PER_NETWORK + units * probe * (SECONDS_PER_ELEMENT + units * SECONDS_PER_PAIR)


def _some(outputs: Float[Tensor, "k b units"]) -> Float[Tensor, "k b n"]:
    """Those of the units that are paired, in float64, less each unit's mean: exactly 0 where a unit does not vary."""
    x = outputs[:, :, pairs.some(outputs.shape[2], MOST).to(outputs.device)]
    varies = (x != x[:, :1]).any(1, keepdim=True)
    x = x.double()
    return torch.where(varies, x - x.mean(1, keepdim=True), 0.0)


def together(
    y: Float[Tensor, "k b n"], z: Float[Tensor, "k b m"], known: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The statistics of each network that are defined, (k,) each, and what is to be remembered."""
    own, between, behind = y.mT @ y, y.mT @ z, z.mT @ z
    found = {"shared": _cka(own, between, behind)}
    kept = {"y": y, "z": z, "own": own, "readout": pairs.gram(_regression(own, between, y.shape[1]))}
    if "y" in known:
        change, of_next = y - known["y"], z - known["z"]
        d = change.mT @ change
        moved, of_pairs = pairs.moved(d, known["readout"], known.get("last"), known.get("first"))
        found |= of_pairs
        found["own"] = pairs.cosine(moved, pairs.apart(known["own"]))
        found["next"] = _cka(d, change.mT @ of_next, of_next.mT @ of_next)
        kept |= {"last": moved, "first": known.get("first", moved)}
    return found, kept


def _cka(
    own: Float[Tensor, "k n n"], between: Float[Tensor, "k n m"], other: Float[Tensor, "k m m"]
) -> Float[Tensor, " k"]:
    """‖YᵀZ‖² / ‖YᵀY‖ ‖ZᵀZ‖."""
    return pairs.size(between).square() / (pairs.size(own) * pairs.size(other))


def _regression(own: Float[Tensor, "k n n"], between: Float[Tensor, "k n m"], stimuli: int) -> Float[Tensor, "k n m"]:
    """V̂ = (YᵀY + λ)⁻¹ YᵀZ; NaN where nothing varies."""
    ridge = RIDGE * own.diagonal(dim1=1, dim2=2).sum(1) / stimuli
    root, failed = torch.linalg.cholesky_ex(own + torch.diag_embed(ridge[:, None].expand(-1, own.shape[1])))
    found = torch.cholesky_solve(between, root)
    return torch.where((failed == 0)[:, None, None], found, torch.nan)
