"""Learning from reward: the network guesses a class, and is told whether it was right, not which one was.

    reinforce    g = −⟨(r − r̄) e⟩ with the eligibility e = ξ / σ² xᵀ of a noisy unit, (onehot − p) xᵀ of the guess (Williams 1992)
    brain_prop   g = bp's for the error (q_s − r) at the guessed class s, and 0 at all others (Pozzi et al. 2020)

r is 1 for a right guess, else 0.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from generator import counters
from generator.architectures.layers import Draw, Pass
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Products, tuned
from generator.rules.pathways.backprop import Backpropagation
from generator.rules.pathways.perturbation import NodePerturbation
from generator.rules.pathways.products import gradients, one_hot


def guess(probabilities: Float[Tensor, "k b classes"], batch: Batch) -> Int64[Tensor, "k b"]:
    """A class of every stimulus, drawn with these probabilities."""
    assert batch.keys is not None
    drawn = counters.uniform(counters.derive(batch.keys, "guess"), probabilities.shape[1:2]).to(probabilities.dtype)
    below = probabilities.cumsum(-1) < drawn[..., None]
    return below.sum(-1).clamp_(max=probabilities.shape[-1] - 1)


class Reinforce(NodePerturbation):
    """Three-factor REINFORCE: a synapse remembers how its cell's noise met its input; a reward above the usual one keeps it.

    Hidden units have normal noise ξ of standard deviation σ, the guess is drawn from the softmax of the logits. r̄ is the running
    mean of the reward, which starts at chance.
    """

    family, source = "reward", "Williams 1992; Frémaux & Gerstner 2016"
    relative_rate = tuned()["reinforce"]["rate"]
    flops = Products(back=0)
    defaults: ClassVar[dict[str, float]] = {"sigma": 0.1, "memory": 0.99}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"sigma": (1e-6, 10), "memory": (0, 1)}

    def __init__(self, network: Network, draw: Draw, sigma: float, memory: float) -> None:
        super().__init__(network, draw, sigma)
        weight = network.layers[-1].weight
        self.memory, self.usual = memory, weight.new_full((len(weight),), 1 / weight.shape[1])
        with torch.no_grad():
            network.forward(network.sample(), run := Pass())
        self.shapes = [y.shape[2:] for y in run.outputs]

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward pass with noise, and a product per layer."""
        assert batch.keys is not None
        views, hidden = objective.views(batch), self.network.layers[:-1]
        with torch.no_grad():
            keys = [counters.derive(batch.keys, f"nudge {layer.name}") for layer in hidden]
            size = views.shape[1]
            drawn = [
                counters.normal(key, (size, *shape)).to(views.dtype)
                for key, shape in zip(keys, self.shapes, strict=False)
            ]
            nudges = [*(xi * self.sigma for xi in drawn), views.new_zeros(())]
            run = Pass(training=True, keys=batch.keys, nudges=nudges)
            outputs = self.network.forward(views, run)
            p = outputs.softmax(-1)
            chosen = guess(p, batch)
            better = (chosen == batch.y).to(p.dtype) - self.usual[:, None]
            self.usual.lerp_(self.usual + better.mean(1), 1 - self.memory)
            eligible = [*(xi.div_(self.sigma) for xi in drawn), one_hot(chosen, p) - p]
            errors = [e * better.view(*better.shape, *(1,) * (e.ndim - 2)) / -size for e in eligible]
            return Lesson(objective.loss(outputs, batch.y), gradients(self.network.layers, run.received, errors))


class BrainProp(Backpropagation):
    """BrainProp: the reward prediction error of the guessed class, which attends to what led to it, M = W from this class alone.

    Outputs q are the rewards that are expected. The guess is the largest, or with probability ε one drawn from their softmax.
    The authors' feedback weights learn as the forward ones do, and come to equal them; here they are W. [ours]
    """

    family, source, local = "reward", "Pozzi, Bohté & Roelfsema 2020", False
    relative_rate = tuned()["brain_prop"]["rate"]
    labelled = True
    defaults: ClassVar[dict[str, float]] = {"epsilon": 0.02}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"epsilon": (0, 1)}

    def __init__(self, network: Network, draw: Draw, epsilon: float) -> None:
        super().__init__(network, draw)
        self.epsilon = epsilon

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward and one backward pass."""
        assert batch.keys is not None
        q = self.network.forward(objective.views(batch), Pass(training=True, keys=batch.keys))
        with torch.no_grad():
            losses = objective.loss(q, batch.y)
            explores = counters.uniform(counters.derive(batch.keys, "explore"), q.shape[1:2]) < self.epsilon
            chosen = torch.where(explores, guess(q.softmax(-1), batch), q.argmax(-1))
            expected = q.gather(-1, chosen[..., None])[..., 0]
            error = (expected - (chosen == batch.y).to(q.dtype)) / q.shape[1]
            signal = one_hot(chosen, q) * error[..., None]
        return Lesson(losses, torch.autograd.grad(q, self.network.parameters(), signal))
