"""What gradient flow conserves, in float64, for a fixed time η·T: a finite step misses it by an error that halves with η.

For any loss, and every hidden relu or leaky relu unit without norm, backpropagation conserves ‖w_in‖² + b² − ‖w_out‖² (Du et al.
2018, 1806.00900; Kunin et al. 2021, 2012.04728). Feedback alignment, whose outgoing feedback weights b_out are fixed, conserves
‖w_in‖² + b² − 2 b_out·w_out in its place. Softmax conserves the sum of the read-out over classes, to rounding, at any step.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from oracles import member

from classifier.examples.trajectories import Examples
from generator.observables import statistics
from generator.training import loop
from generator.training.stack import Stack

RATE, UPDATES = 2.0, 120  # of the coarser of two runs: multiplier of the base rate, and updates on one batch
OBSERVED = ["weight", "balance"]
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"architecture": "mlp3", "width": 0.125},
    "leaky mlp": {"architecture": "mlp(depth=4)", "width": 0.125, "nonlinearity": "leaky_relu"},
    "max pools": {"architecture": "convnet(channels=8,depth=3,gain=0.5)"},
    "average pools": {"architecture": "convnet(channels=4,depth=3,kernel=5,pool=avg)", "nonlinearity": "leaky_relu"},
}
pytestmark = pytest.mark.unchecked
HALVES, STAYS = pytest.approx(2, abs=0.1), pytest.approx(1, abs=0.1)


class Parts(NamedTuple):
    """Of the hidden units of one layer, (units,): ‖w_in‖², b², ‖w_out‖² and, under fa, b_out·w_out."""

    incoming: np.ndarray
    bias: np.ndarray
    outgoing: np.ndarray
    fed_back: np.ndarray

    @property
    def of_backprop(self) -> np.ndarray:
        return self.incoming + self.bias - self.outgoing

    @property
    def of_feedback(self) -> np.ndarray:
        return self.incoming + self.bias - 2 * self.fed_back


def plain(tensor: torch.Tensor) -> np.ndarray:
    """That of the only network of a stack."""
    return tensor[0].detach().numpy().copy()


def parts(stack: Stack) -> list[Parts]:
    """Of every hidden layer. A channel's places in a flattened map lie together."""
    found = []
    for layer, after in zip(stack.network.layers, stack.network.layers[1:], strict=False):
        weight, out = plain(layer.weight), plain(after.weight)
        bias = np.zeros(len(weight)) if layer.bias is None else plain(layer.bias)
        back = np.zeros_like(out) if after.feedback is None else plain(after.feedback)
        out, back = (one.reshape(len(one), len(weight), -1) for one in (out, back))
        incoming = (weight.reshape(len(weight), -1) ** 2).sum(1)
        found.append(Parts(incoming, bias**2, (out**2).sum((0, 2)), (back * out).sum((0, 2))))
    return found


class Run(NamedTuple):
    """A network before and after: its hidden layers, the losses, and what was observed, (2, layers, statistics)."""

    before: list[Parts]
    after: list[Parts]
    losses: tuple[float, float]
    observed: np.ndarray

    def moved(self, what: str) -> float:
        """By how much, the root of the summed squares over hidden units."""
        each = [getattr(new, what) - getattr(old, what) for old, new in zip(self.before, self.after, strict=True)]
        return float(np.linalg.norm(np.concatenate(each)))


@cache
def run(pathway: str, name: str, halvings: int, biases: bool = True) -> Run:
    """Learn from one batch for a fixed time by plain gradient steps, which are halved so often."""
    rule = {"name": f"{pathway}+momentum", "momentum": 0.0}
    how = {"learning_rate": RATE / 2**halvings, "batch_size": 32, "weight_decay": 0.0, **NETWORKS[name]}
    stack = Stack([member(rule, **how)], dtype=torch.float64, observables=OBSERVED)
    if not biases:
        for layer in stack.network.layers:
            layer.bias = None
        stack.parameters = stack.network.parameters()
        stack.update = stack.first.rule.build_update(stack.parameters)
    batch, probe = stack.batch(0), stack.probe(16)
    before, seen = parts(stack), [loop.observe(stack, probe, checkpoint=0)[2]]
    losses = [float(stack.step(batch)) for _ in range(UPDATES * 2**halvings)]
    seen.append(loop.observe(stack, probe, checkpoint=1)[2])
    return Run(before, parts(stack), (losses[0], losses[-1]), torch.stack(seen)[:, 0, 0].numpy())


def halved(pathway: str, name: str, biases: bool = True) -> tuple[Run, Run]:
    """The same time in steps of one size, and of half of it."""
    return run(pathway, name, 0, biases), run(pathway, name, 1, biases)


def column(observed: np.ndarray, statistic: str) -> np.ndarray:
    """(2, layers) one of the statistics that were observed."""
    return observed[:, :, [one.name for one in statistics(OBSERVED)].index(statistic)]


@pytest.mark.parametrize("name", NETWORKS)
def test_backpropagation_conserves_its_law_and_the_error_of_a_finite_step_halves_with_it(name: str) -> None:
    coarse, fine = halved("bp", name)
    assert fine.losses[1] < 0.8 * fine.losses[0]
    assert coarse.moved("of_backprop") / fine.moved("of_backprop") == HALVES
    assert fine.moved("of_backprop") < 0.05 * fine.moved("incoming")


@pytest.mark.parametrize("name", NETWORKS)
def test_feedback_alignment_breaks_it_however_small_the_step_and_conserves_its_own(name: str) -> None:
    coarse, fine = halved("fa", name)
    assert fine.losses[1] < 0.9 * fine.losses[0]
    assert coarse.moved("of_backprop") / fine.moved("of_backprop") == STAYS
    assert fine.moved("of_backprop") > 0.2 * fine.moved("incoming")
    assert coarse.moved("of_feedback") / fine.moved("of_feedback") == HALVES
    assert fine.moved("of_feedback") < 0.05 * fine.moved("incoming")


@pytest.mark.parametrize(("rule", "kept"), [("sgdm", True), ("fa", True), ("adam", False)])
def test_softmax_conserves_the_read_out_summed_over_classes(rule: str, kept: bool) -> None:
    """To rounding, with momentum; without decay. Under Adam it does not."""
    stack = Stack([member(rule, "mlp3", width=0.125, weight_decay=0.0, batch_size=64)], dtype=torch.float64)
    readout = [stack.network.layers[-1].weight, stack.network.layers[-1].bias]
    start = [plain(one) for one in readout]
    for step in range(40):
        stack.step(stack.batch(step % 20))
    end = [plain(one) for one in readout]
    assert all(np.abs(a - b).max() > 1e-2 for a, b in zip(start, end, strict=True))
    error = max(float(np.abs(b.sum(0) - a.sum(0)).max()) for a, b in zip(start, end, strict=True))
    assert error < 1e-13 if kept else error > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_balance_is_the_drift_in_ways_and_vanishes_with_the_step_under_backpropagation_alone(name: str) -> None:
    medians = {}
    for pathway in ("bp", "fa"):
        for size, one in zip(("coarse", "fine"), halved(pathway, name), strict=True):
            *found, last = column(one.observed, "balance_abs_median")[1]
            assert np.isnan(last)
            for value, old, new in zip(found, one.before, one.after, strict=True):
                way = np.abs(np.subtract(new[:3], old[:3])).sum(0)
                drift = np.abs(new.of_backprop - old.of_backprop)
                assert value == pytest.approx(np.median(drift[way > 0] / way[way > 0]), rel=1e-9)
            medians[pathway, size] = float(np.mean(found))
    assert medians["bp", "coarse"] / medians["bp", "fine"] == HALVES
    assert medians["fa", "coarse"] / medians["fa", "fine"] == STAYS
    assert medians["bp", "fine"] < 0.05 < 0.2 < medians["fa", "fine"]


def normchange_over_mean(observed: np.ndarray) -> np.ndarray:
    """(layers,) the feature that classifiers read, of what was observed at two checkpoints."""
    norms = column(observed, "weight_raw_norm")
    examples = Examples.from_arrays(norms.T[:, :, None], ["weight_raw_norm"], networks=["one"] * norms.shape[1])
    table = examples.features("normchange@over_mean")
    return table.iloc[:, ["norm" in name for name in table.columns].index(True)].to_numpy(dtype=float)


@pytest.mark.parametrize("name", NETWORKS)
def test_without_biases_all_layers_norms_change_alike_under_backpropagation_alone(name: str) -> None:
    """`normchange@over_mean` tends to 1 in every layer."""
    coarse, fine = (np.abs(normchange_over_mean(one.observed) - 1).max() for one in halved("bp", name, biases=False))
    assert coarse / fine == HALVES
    assert fine < 0.05
    coarse, fine = (np.abs(normchange_over_mean(one.observed) - 1).max() for one in halved("fa", name))
    assert coarse / fine == STAYS
    assert fine > 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_biases_take_their_share_of_it(name: str) -> None:
    """Δ‖W_l‖² tends to that of the read-out less the Δ‖b‖² of layer l and of all behind it but the read-out."""
    errors = []
    for one in halved("bp", name):
        biases = np.array([(new.bias - old.bias).sum() for old, new in zip(one.before, one.after, strict=True)])
        readout = (one.after[-1].outgoing - one.before[-1].outgoing).sum()
        expected = readout - np.append(biases[::-1].cumsum()[::-1], 0)
        found = normchange_over_mean(one.observed)
        errors.append(np.abs(found - expected / expected.mean()).max())
    assert errors[0] / errors[1] == HALVES
    assert errors[1] < np.abs(found - 1).max()
