"""`coupling`: whether a layer's activity changes as the next layer reads it. Of outputs alone: no weight is seen.

How the next layer reads a unit is estimated from both layers' responses to the probe stimuli. With Y (stimuli × units) the
outputs of the layer and Z those of the next, each less its mean over stimuli, ridge regression of Z on Y gives
V̂ = (YᵀY + λ)⁻¹ YᵀZ, λ a tenth of ‖Y‖² / stimuli [ours]. Then, with d_i the change of unit i's responses since the previous
checkpoint, v_i its row of V̂ there, D and V their Gram matrices over pairs of units i ≠ j, as for `transport` (`transport.py`
says why):

- similarity: the cosine of D and V;
- size: the correlation of log ‖d_i‖² and log ‖v_i‖² over units;
- kept: the cosine of D and the D before it;
- held: the cosine of D and the first D;
- own: the cosine of D and the Gram matrix of Y at the previous checkpoint;
- next: linear CKA of the changes of both layers (Kornblith et al. 2019, 1905.00414);
- shared: linear CKA of the responses of both layers;
- alike: the cosine of V and the Gram matrix of Y, both at this checkpoint: units that respond alike are read alike.

What a unit changes by from one checkpoint to the next is small beside a recording's noise. So the same is asked of e_i, the
change since the first checkpoint, with E its Gram matrix, and V₀ and Y₀ those of the first checkpoint:

- far_similarity, far_size: as above, of e and V₀;
- far_now: the cosine of E and V at this checkpoint;
- far_own: the cosine of E and the Gram matrix of Y₀;
- far_next: linear CKA of the changes of both layers since the first checkpoint;
- far_drift: the cosine of E and the Gram matrix of how far V̂ is from where it was at the first checkpoint;
- stays: the cosine of V at this checkpoint and V₀.

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
    "alike": "cosine, over pairs of units, of the Gram matrices of v and of the responses, both at this checkpoint",
    "far_similarity": "cosine, over pairs of units, of the Gram matrices of e and of v at the first checkpoint",
    "far_size": "correlation of log ‖e‖² and log ‖v‖² at the first checkpoint over units",
    "far_now": "cosine, over pairs of units, of the Gram matrices of e and of v at this checkpoint",
    "far_own": "cosine, over pairs of units, of the Gram matrices of e and of the responses at the first checkpoint",
    "far_next": "linear CKA of the changes since the first checkpoint of this layer's responses and of the next one's",
    "far_drift": "cosine, over pairs of units, of the Gram matrices of e and of how far v is from where it began",
    "stays": "cosine, over pairs of units, of the Gram matrices of v at this checkpoint and at the first",
}
OF = (
    "d: change of a unit's responses to the probe stimuli since the previous checkpoint; e: the same since the first; v: how the "
    "next layer's responses follow from it, at the previous checkpoint if nothing else is said, by ridge regression"
)
SECONDS_PER_NETWORK = 2.2e-4  # some hundred calls
SECONDS_PER_ELEMENT = 86e-9
SECONDS_PER_PAIR = 0.3e-9  # of units, and stimulus: eleven products of matrices and a regression


class Behind(Outputs):
    """Outputs of the recorded units of the next layer; None in the last one."""

    behind = True


class Coupling(Observable):
    """Whether a layer's activity changes as the next layer reads it.

    Undefined in the last layer, and where other units are met each time; all but shared and alike at the first checkpoint, and
    kept and held at the second.
    """

    name = "coupling"
    statistics = tuple(
        Statistic(f"coupling_{name}", "coupling", "activation", name, f"{meaning} ({OF})")
        for name, meaning in MEANINGS.items()
    )
    signals = (Outputs, Behind)
    remembers = True

    def reduce(self, reading: Reading) -> Float[Tensor, "k 15"]:
        """Of one reading."""
        return self.reduce_all([reading])[0]

    def reduce_all(self, readings: Sequence[Reading]) -> list[Float[Tensor, "k 15"]]:
        """Networks with as many units in both layers together.

        Remembers the responses and the Gram matrices of Y and V̂, the last and the first, and V̂ and D.
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
    """The statistics of each network that are defined, (k,) each, and what is to be remembered anew."""
    own, between, behind = y.mT @ y, y.mT @ z, z.mT @ z
    found = {"shared": _cka(own, between, behind)}
    v = _regression(own, between, y.shape[1])
    read = pairs.gram(v)
    found["alike"] = pairs.cosine(pairs.apart(read), pairs.apart(own))
    now = {"y": y, "z": z, "own": own, "read": read}
    start = {f"first {name}": known.get(f"first {name}", value) for name, value in (now | {"v": v}).items()}
    kept = now | start
    if "y" in known:
        moved, of_last, found["own"], found["next"] = _since(now, known, "", known.get("last"), known.get("first"))
        far, of_first, found["far_own"], found["far_next"] = _since(now, start, "first ", None, None)
        found |= of_last | {f"far_{name}": value for name, value in of_first.items()}
        found["far_now"] = pairs.cosine(far, pairs.apart(read))
        found["far_drift"] = pairs.cosine(far, pairs.apart(pairs.gram(v - start["first v"])))
        found["stays"] = pairs.cosine(pairs.apart(read), pairs.apart(start["first read"]))
        kept |= {"last": moved, "first": moved}
    return found, {name: value for name, value in kept.items() if not (name.startswith("first") and name in known)}


def _since(
    now: Mapping[str, Tensor], then: Mapping[str, Tensor], when: str, last: Tensor | None, first: Tensor | None
) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
    """What the change since then has to do with how the layer was read, what it answered, and how the next one changed.

    Args:
        when: what the names of what was then begin with.

    Returns:
        As `pairs.moved`; and own and next.
    """
    y, z = now["y"] - then[f"{when}y"], now["z"] - then[f"{when}z"]
    d = y.mT @ y
    moved, found = pairs.moved(d, then[f"{when}read"], last, first)
    return moved, found, pairs.cosine(moved, pairs.apart(then[f"{when}own"])), _cka(d, y.mT @ z, z.mT @ z)


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
