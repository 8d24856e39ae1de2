"""Rules that compare two phases of a network that also runs downwards.

    s_l ← φ(W_l s_{l−1} + b_l + γ W_{l+1}ᵀ s_{l+1})

`equilibrium_propagation` nudges the last hidden layer by ±β W_Lᵀ (y* − p), p the softmax of the logits (Scellier & Bengio 2017,
1602.05179; Laborieux et al. 2021, 2006.03824):

    g_l = −γ^(l−L+1) / 2β ⟨s⁺_l s⁺_{l−1}ᵀ − s⁻_l s⁻_{l−1}ᵀ⟩,   g_L = ⟨(p − y*) s_{L−1}ᵀ⟩ without nudge

`contrastive_hebbian` has the output p without the label, and y* with it (Movellan 1991; Xie & Seung 2003):

    g_l = −γ^(l−L) ⟨š_l š_{l−1}ᵀ − ŝ_l ŝ_{l−1}ᵀ⟩

Both weigh a layer's energy by γ^l, which is what weak feedback γ means. As γ and β go to 0 both are the gradient. Networks are
measured as γ = 0 has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor

from generator.architectures.layers import Draw, Pass
from generator.architectures.network import Network
from generator.curricula.contract import Batch
from generator.rules.contract import Products
from generator.rules.pathways.chain import Chain, down, error
from generator.rules.pathways.products import gradients, one_hot

STEPS = 20


class ContrastiveHebbian(Chain):
    """Contrastive Hebbian learning: Hebbian with the label at the output, anti-Hebbian without it."""

    family, source, local = "settling", "Movellan 1991; Xie & Seung 2003", True
    flops = Products(forward=1 + 2 * STEPS, back=2 * STEPS, correlate=2)
    defaults: ClassVar[dict[str, float]] = {"gamma": 0.1, "steps": float(STEPS)}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"gamma": (0.001, 10), "steps": (1, 1001)}

    def __init__(self, network: Network, draw: Draw, gamma: float, steps: float) -> None:
        super().__init__(network, draw)
        self.gamma, self.steps = gamma, int(steps)

    def teach(self, run: Pass, outputs: Tensor, batch: Batch) -> Sequence[Tensor]:
        """Contrast of the phases with and without the label."""
        top = self.network.layers[-1]
        label = one_hot(batch.y, outputs)
        free = self.settled(run, run.outputs[:-1], lambda s: down(top, self.output(s)).mul_(self.gamma))
        clamped = self.settled(run, free, lambda s: down(top, label).mul_(self.gamma))
        x = run.received[0]
        without = [x, *free, self.output(free[-1] if free else x)]
        return self.contrast([x, *clamped, label], without, 1.0, len(self.hidden))

    def output(self, state: Tensor) -> Tensor:
        """p, from what the last layer reads."""
        return self.network.layers[-1].preactivation(state).softmax(-1)

    def settled(self, run: Pass, states: Sequence[Tensor], onto_last: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The hidden layers' states after so many sweeps from these. `onto_last` gives what the last of them gets from above."""
        states, first = list(states), self.network.layers[0].preactivation(run.received[0])
        for _ in range(self.steps if states else 0):
            above = [down(layer, s).mul_(self.gamma) for layer, s in zip(self.hidden[1:], states[1:], strict=True)]
            above.append(onto_last(states[-1]))
            drives = [first, *(layer.preactivation(s) for layer, s in zip(self.hidden[1:], states, strict=False))]
            states = [layer.phi.phi(a + s) for layer, a, s in zip(self.hidden, drives, above, strict=True)]
        return states

    def contrast(self, taught: list[Tensor], untaught: list[Tensor], beta: float, top: int) -> list[Tensor]:
        """−γ^(l − top) / β ⟨s sᵀ⟩ of one phase less the other's. States are listed from the input on; layers count from 0."""
        layers = self.network.layers[: len(taught) - 1]
        scales = [self.gamma ** (place - top) / (beta * taught[0].shape[1]) for place in range(len(layers))]
        with_label, without = (
            gradients(layers, states[:-1], [s * scale for s, scale in zip(states[1:], scales, strict=True)])
            for states in (taught, untaught)
        )
        return [b - a for a, b in zip(with_label, without, strict=True)]


class EquilibriumPropagation(ContrastiveHebbian):
    """Equilibrium propagation: the network settles nudged a little towards the label, and a little away from it."""

    source = "Scellier & Bengio 2017, 1602.05179; Laborieux et al. 2021, 2006.03824"
    flops = Products(forward=1 + 4 * STEPS, back=3 * STEPS, correlate=2)
    defaults: ClassVar[dict[str, float]] = {"gamma": 0.1, "beta": 0.5, "steps": float(STEPS)}
    bounds = ContrastiveHebbian.bounds | {"beta": (1e-4, 10)}

    def __init__(self, network: Network, draw: Draw, gamma: float, beta: float, steps: float) -> None:
        super().__init__(network, draw, gamma, steps)
        self.beta = beta

    def teach(self, run: Pass, outputs: Tensor, batch: Batch) -> Sequence[Tensor]:
        """Contrast of the two nudged phases, and the last layer's gradient in the free one."""
        top, x = self.network.layers[-1], run.received[0]

        def nudged(states: Sequence[Tensor], beta: float) -> list[Tensor]:
            def onto_last(s: Tensor) -> Tensor:
                return down(top, error(top.preactivation(s), batch)).mul_(-beta)

            return self.settled(run, states, onto_last)

        free = self.settled(run, run.outputs[:-1], lambda s: s.new_zeros(()))
        towards, away = (nudged(free, beta) for beta in (self.beta, -self.beta))
        below = self.contrast([x, *towards], [x, *away], 2 * self.beta, len(self.hidden) - 1)
        read = free[-1] if free else x
        return [*below, *gradients([top], [read], [error(top.preactivation(read), batch).div_(x.shape[1])])]
