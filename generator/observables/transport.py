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
}
OF = "d: displacement of a hidden unit's incoming weights since the previous checkpoint; v: its outgoing weights there"
MOST = 64  # units of a layer that are paired
SECONDS_PER_NETWORK = 2e-4  # some forty calls
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

    def reduce(self, reading: Reading) -> Float[Tensor, "k 5"]:
        """Remembers the weights, where the outgoing ones began, and the first and the last D."""
        wires, memory, weights = reading.picked[Wiring], reading.memory[self.name], reading.scene.weights
        found = weights.new_full((len(weights), len(MEANINGS)), torch.nan, dtype=torch.float64)
        if wires is None or not reading.followed:
            return found
        into, out = _paired(wires, reading.electrode.count(reading.scene.units.shape[2]))
        if "into" in memory:
            v = memory["out"]
            d = pairs.gram(into - memory["into"])
            moved, of_pairs = pairs.moved(d, pairs.gram(v), memory.get("last"), memory.get("first"))
            of_pairs["drift"] = pairs.cosine(moved, pairs.apart(pairs.gram(v - memory["began"])))
            for name, value in of_pairs.items():
                found[:, list(MEANINGS).index(name)] = value
            memory["last"] = moved
            memory.setdefault("first", moved)
        memory["into"], memory["out"] = into, out
        memory.setdefault("began", out)
        return found

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every weight of a unit that is paired, as an incoming and as an outgoing one."""
        paired = min(MOST, electrode.count(size.units)) / size.units
        return SECONDS_PER_NETWORK + 2 * size.weights * min(1.0, paired) * SECONDS_PER_ELEMENT


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
