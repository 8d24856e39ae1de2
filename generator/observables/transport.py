"""`transport`: whether units move as if their errors came through the weights that carry their outputs on.

Under backpropagation the error of a hidden unit i is φ′(a_i) Σ_j w_ji δ_j. So units whose outgoing weights v_i are alike get
errors that are alike, and their incoming weights move alike. Where errors come back through weights of their own they do not,
or only as far as the two kinds of weights have aligned (Lillicrap et al. 2016; "weight transport": Grossberg 1987). With d_i the
displacement of unit i's incoming weights since the previous checkpoint, v_i its outgoing weights there, and the Gram matrices
D_ij = d_i·d_j and V_ij = v_i·v_j of all pairs i ≠ j [ours]:

- similarity: the cosine of D and V, as vectors of pairs;
- size: the correlation of log ‖d_i‖² and log ‖v_i‖² over units, without those that stand still or lead nowhere;
- kept: the cosine of D and the D before it;
- held: the cosine of D and the first D;
- drift: the cosine of D and the Gram matrix of how far each v_i was from where it was at the first checkpoint.

Noise hides small displacements. So the same is asked of e_i, the displacement since the first checkpoint, with E its Gram matrix
and V₀ that of the v_i of the first checkpoint:

- far_similarity, far_size: as above, of e and V₀;
- far_now: the cosine of E and the Gram matrix of the v_i at this checkpoint;
- far_drift: the cosine of E and the Gram matrix of how far each v_i is from where it was at the first checkpoint;
- stays: the cosine of the Gram matrices of the v_i at this checkpoint and at the first.

All are free of scale. A unit of a convolution is a channel, with the weights of all taps. Norms, links and pools between a layer
and the one that reads it are passed over. Of a layer with more than 64 recorded units that many are paired. Through an
electrode the weights are those between recorded units, as of `balance`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables import pairs
from generator.observables.balance import Wires, Wiring
from generator.observables.contract import Observable, Reading

MEANINGS = {
    "similarity": "cosine, over pairs of units, of the Gram matrices of d and of v",
    "size": "correlation of log ‖d‖² and log ‖v‖² over units",
    "kept": "cosine, over pairs of units, of the Gram matrix of d and the one before it",
    "held": "cosine, over pairs of units, of the Gram matrix of d and the first one",
    "drift": "cosine, over pairs of units, of the Gram matrices of d and of how far v is from where it began",
    "far_similarity": "cosine, over pairs of units, of the Gram matrices of e and of v at the first checkpoint",
    "far_size": "correlation of log ‖e‖² and log ‖v‖² at the first checkpoint over units",
    "far_now": "cosine, over pairs of units, of the Gram matrices of e and of v at this checkpoint",
    "far_drift": "cosine, over pairs of units, of the Gram matrices of e and of how far v is by now from where it began",
    "stays": "cosine, over pairs of units, of the Gram matrices of v at this checkpoint and at the first",
}
OF = (
    "d: displacement of a hidden unit's incoming weights since the previous checkpoint; e: the same since the first; v: its "
    "outgoing weights, at the previous checkpoint if nothing else is said"
)
MOST = 64  # units of a layer that are paired
SECONDS_PER_NETWORK = 2.8e-4  # some seventy calls
SECONDS_PER_ELEMENT = 12e-9


class Transport(Observable):
    """Whether units move as if their errors came through the weights that carry their outputs on.

    Undefined at the first checkpoint (kept and held at the first two), in the last layer, and where other units are met each
    time.
    """

    name = "transport"
    statistics = tuple(
        Statistic(f"transport_{name}", "transport", "weight", name, f"{meaning} ({OF})")
        for name, meaning in MEANINGS.items()
    )
    signals = (Wiring,)
    remembers = True

    def reduce(self, reading: Reading) -> Float[Tensor, "k 10"]:
        """Remembers the weights and Gram matrices of the last checkpoint and the first."""
        wires, memory, weights = reading.picked[Wiring], reading.memory[self.name], reading.scene.weights
        found = weights.new_full((len(weights), len(MEANINGS)), torch.nan, dtype=torch.float64)
        if wires is None or not reading.followed:
            return found
        into, out = _paired(wires, reading.electrode.count(reading.scene.units.shape[2]))
        out_0 = memory.setdefault("first out", out)
        now = {"into": into, "v": pairs.gram(out), "drift": pairs.gram(out - out_0)}
        if "into" in memory:
            d, e = (pairs.gram(into - memory[then]) for then in ("into", "first into"))
            moved, of_pairs = pairs.moved(d, memory["v"], memory.get("last"), memory.get("first"))
            far, of_first = pairs.moved(e, memory["first v"], None, None)
            v = pairs.apart(now["v"])
            of_pairs |= {f"far_{name}": value for name, value in of_first.items()}
            of_pairs["drift"] = pairs.cosine(moved, pairs.apart(memory["drift"]))
            of_pairs["far_now"] = pairs.cosine(far, v)
            of_pairs["far_drift"] = pairs.cosine(far, pairs.apart(now["drift"]))
            of_pairs["stays"] = pairs.cosine(v, pairs.apart(memory["first v"]))
            for name, value in of_pairs.items():
                found[:, list(MEANINGS).index(name)] = value
            memory["last"] = moved
            memory.setdefault("first", moved)
        memory |= now
        for name in ("into", "v"):
            memory.setdefault(f"first {name}", now[name])
        return found

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every weight of a unit that is paired, as an incoming and as an outgoing one."""
        paired = min(MOST, electrode.count(size.units)) / size.units
        return SECONDS_PER_NETWORK + 2 * size.weights * paired * SECONDS_PER_ELEMENT


def _paired(wires: Wires, recorded: int) -> tuple[Float[Tensor, "k n fan_in"], Float[Tensor, "k n fan_out"]]:
    """Incoming and outgoing weights of the units that are paired, in float64; 0 where one is not recorded.

    A channel is recorded with any of its positions, so networks may differ in how many are: the rows behind them are 0.

    Args:
        recorded: how many units are, all positions of a channel counted.
    """
    networks, units = wires.recorded.shape
    rows = wires.recorded.new_zeros((networks, min(MOST, units, recorded)), dtype=torch.int64)
    there = wires.recorded.new_zeros((*rows.shape, 1))
    for network, of_one in enumerate(wires.recorded):
        found = of_one.nonzero()[:, 0]
        found = found[pairs.some(len(found), MOST).to(found.device)]
        rows[network, : len(found)], there[network, : len(found)] = found, True

    def taken(weights: Float[Tensor, "k units fan"], seen: Float[Tensor, "k 1 fan"]) -> Float[Tensor, "k n fan"]:
        chosen = weights.gather(1, rows[:, :, None].expand(-1, -1, weights.shape[2]))
        return torch.where(there & (seen > 0), chosen.double(), 0.0)

    return taken(wires.into, wires.seen_into), taken(wires.out, wires.seen_out)
