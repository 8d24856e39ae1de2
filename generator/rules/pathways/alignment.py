"""Alignment rules: backward weights descend an alignment loss of their own (Kunin et al. 2020, 2003.01513).

    ia                    α·amp + β·null + γ·decay
    weight_mirror         β·amp + α·decay, with amp taken on noise (Akrout et al. 2019, 1904.05391)
    symmetric_alignment   β·self + α·decay
    activation_alignment  β·amp + α·sparse

The last three have α = β / 2, where the least of the loss is at B = W. [ours]
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from generator import counters
from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Products, tuned
from generator.rules.pathways.feedback import FeedbackAlignment
from generator.rules.pathways.primitives import DECAY, amp_partner, null_partner, samples
from generator.rules.updates.adam import Adam

NOISY = 16  # stimuli of noise that a weight mirror is shown at each update [ours]


class Alignment(FeedbackAlignment):
    """M = B, and B descends an alignment loss by Adam at its own rate.

    Adam because the curvature of these losses changes by orders of magnitude as a network learns: a plain rate that aligns early
    diverges later. [ours]
    """

    family, source = "alignment", "Kunin et al. 2020, 2003.01513"
    drives: ClassVar[bool] = True  # whether it needs every layer's W x

    def __init__(self, network: Network, draw: Draw, feedback_rate: float) -> None:
        super().__init__(network, draw)
        self.feedbacks = [layer.feedback for layer in network.layers if layer.feedback is not None]
        first = network.layers[0].weight
        self.rate = first.new_full((len(first),), feedback_rate)
        self.update = Adam(self.feedbacks, **Adam.defaults)

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """Backpropagate through B, then move B on the same activations."""
        run = Pass(training=True, keys=batch.keys, drives=[] if self.drives else None)
        lesson = self.descend(batch, objective, run)
        with torch.no_grad():
            passed = zip(self.network.layers, run.received, run.drives or run.outputs, strict=True)
            gradients = [self.gradient(*each, batch) for each in passed if each[0].feedback is not None]
            self.update.step(self.feedbacks, gradients, self.rate)
        return lesson

    @abstractmethod
    def gradient(self, layer: WeightLayer, x: Tensor, p_f: Tensor, batch: Batch) -> Tensor:
        """The gradient of the layer's alignment loss with respect to B; `p_f` is W x."""


class InformationAlignment(Alignment):
    """Information alignment: M = B, and B descends α·amp + β·null + γ·decay by Adam at its own rate.

    Where Σ = ⟨x xᵀ⟩ stays fixed, B tends to (α/2) (β W Σ Wᵀ + γ I)⁻¹ W Σ. The parameters come from the search.
    """

    local = True
    flops = Products(back=2, correlate=2)
    defaults = tuned()["ia"]

    def __init__(
        self, network: Network, draw: Draw, alpha: float, beta: float, gamma: float, feedback_rate: float
    ) -> None:
        super().__init__(network, draw, feedback_rate)
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def gradient(self, layer: WeightLayer, x: Tensor, p_f: Tensor, batch: Batch) -> Tensor:
        """As in the base class."""
        assert layer.feedback is not None
        partner = null_partner(layer, x, p_f, layer.feedback).mul_(self.beta)
        partner.add_(amp_partner(x.detach(), p_f), alpha=self.alpha)
        return layer.correlate(partner, p_f).add_(layer.feedback, alpha=self.gamma * DECAY)


class _TowardsWeights(Alignment):
    """Rules of two metaparameters."""

    defaults: ClassVar[dict[str, float]] = {"alpha": 0.5, "beta": 1.0, "feedback_rate": tuned()["ia"]["feedback_rate"]}

    def __init__(self, network: Network, draw: Draw, alpha: float, beta: float, feedback_rate: float) -> None:
        super().__init__(network, draw, feedback_rate)
        self.alpha, self.beta = alpha, beta


class WeightMirror(_TowardsWeights):
    """Weight mirror: M = B, and B descends β·amp + α·decay, where the layer is shown white noise in place of its input.

    The noise is normal with variance 1, so B tends to β/2α W, whatever the network sees. It is shown after every batch; the
    authors have phases of noise. [ours]
    """

    source, local, drives = "Akrout et al. 2019, 1904.05391; Kunin et al. 2020, 2003.01513", True, False
    flops = Products(forward=1.125, correlate=1.125)  # 16 stimuli of noise beside a batch of 128

    def gradient(self, layer: WeightLayer, x: Tensor, p_f: Tensor, batch: Batch) -> Tensor:
        """As in the base class."""
        assert layer.feedback is not None
        assert batch.keys is not None
        noise = counters.normal(counters.derive(batch.keys, f"mirror {layer.name}"), (NOISY, *x.shape[2:])).to(x.dtype)
        answer = layer.forward(noise, layer.weight, None)
        gradient = layer.correlate(noise, answer.mul_(-self.beta / samples(answer)))
        return gradient.add_(layer.feedback, alpha=self.alpha * DECAY)


class SymmetricAlignment(_TowardsWeights):
    """Symmetric alignment: M = B, and B descends β·self + α·decay, so that it tends to β/2α W.

    A backward synapse reads its forward one: it isn't local.
    """

    local, drives = False, False

    def gradient(self, layer: WeightLayer, x: Tensor, p_f: Tensor, batch: Batch) -> Tensor:
        """As in the base class."""
        assert layer.feedback is not None
        return torch.add(layer.feedback * (DECAY * self.alpha), layer.weight, alpha=-self.beta)


class ActivationAlignment(_TowardsWeights):
    """Activation alignment: M = B, and B descends β·amp + α·sparse, so that B x tends to β/2α W x.

    It does so for the inputs x that there are.
    """

    local = True
    flops = Products(forward=2, correlate=2)

    def gradient(self, layer: WeightLayer, x: Tensor, p_f: Tensor, batch: Batch) -> Tensor:
        """As in the base class."""
        assert layer.feedback is not None
        error = layer.forward(x, layer.feedback, None).mul_(2 * self.alpha).sub_(p_f, alpha=self.beta)
        return layer.correlate(x, error.mul_(1 / samples(error)))
