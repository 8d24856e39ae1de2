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
and the one that reads it are passed over. Of a layer with more than 128 recorded units that many are paired. Through an
electrode the weights are those between recorded units, as of `balance`.
"""

from __future__ import annotations

from collections.abc import Iterator

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
SECONDS_PER_NETWORK = 3.5e-4  # some forty calls
SECONDS_PER_ELEMENT = 6e-9


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
        if wires is not None and reading.followed:
            for network, (into, out) in enumerate(_recorded(wires)):
                kept = pairs.Kept(memory, network)
                before, behind, began = kept.last("into", into), kept.last("out", out), kept.first("out", out)
                if before is not None and behind is not None:
                    d = into - before
                    gram, of_pairs = pairs.moved(d, behind, kept)
                    of_pairs["drift"] = pairs.cosine(gram, pairs.products(behind - began))
                    found[network] = torch.stack([of_pairs[name] for name in MEANINGS])
        return found

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every weight of a recorded unit, as an incoming and as an outgoing one."""
        seen = electrode.count(size.units) / size.units
        return SECONDS_PER_NETWORK + 2 * size.weights * seen * SECONDS_PER_ELEMENT


def _recorded(wires: Wires) -> Iterator[tuple[Float[Tensor, "units _"], Float[Tensor, "units _"]]]:
    """Of each network the recorded incoming and outgoing weights of the units that are paired, in float64."""
    for i, recorded in enumerate(wires.recorded):
        units = recorded.nonzero()[:, 0]
        units = units[pairs.some(len(units)).to(units.device)]
        into, out = (
            weights[i][units][:, seen[i, 0] > 0].double()
            for weights, seen in ((wires.into, wires.seen_into), (wires.out, wires.seen_out))
        )
        yield into, out
