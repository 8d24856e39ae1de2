"""Target propagation: layers are told what they should have put out, by learned inverses of the layers above.

    t_L = y_L − η̂ e,   t_{l−1} = y_{l−1} + r_l(t_l) − r_l(y_l),   r_l(h) = φ(V_lᵀ h),   error at y_l: (y_l − t_l) / η̂

`target_prop` is difference target propagation (Lee et al. 2015, 1412.7525). V makes r_l an inverse of f_l, the layer:

    ½ ⟨‖r_l(f_l(y + ε)) − (y + ε)‖²⟩

`local_target_prop` makes r_l's slope the transpose of f_l's (Ernoult et al. 2022, 2201.13415):

    ⟨−ε · (r_l(f_l(y + ε)) − r_l(f_l(y))) + ½ ‖r_l(y_l + η) − r_l(y_l)‖²⟩ / σ²

`direct_target_prop` has the error Q_l e at y_l. Q_l inverts f, all that lies above (Meulemans et al. 2020, 2006.14331):

    ½ ⟨‖Q_l (f(y_l + ε) − f(y_l)) − ε‖²⟩ / σ² + ½ λ ‖Q_l‖²

ε and η are normal with standard deviation σ. V and Q descend by Adam at a rate of their own, once a batch [ours].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator import counters
from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Products
from generator.rules.pathways.chain import Chain, down, error, slope_times
from generator.rules.pathways.direct import DirectFeedbackAlignment
from generator.rules.pathways.feedback import FeedbackAlignment
from generator.rules.pathways.products import gradients
from generator.rules.updates.adam import Adam


def noise(batch: Batch, what: str, layer: WeightLayer, like: Tensor, sigma: float) -> Tensor:
    """Normal numbers of a layer, of the size of `like`."""
    assert batch.keys is not None
    return counters.normal(counters.derive(batch.keys, f"{what} {layer.name}"), like.shape[1:]).to(like).mul_(sigma)


class TargetPropagation(Chain, FeedbackAlignment):
    """Difference target propagation: each layer is given a target, by a learned inverse of the layer above."""

    family, source, local = "targets", "Lee et al. 2015, 1412.7525", True
    flops = Products(forward=2, back=3, correlate=2)
    defaults: ClassVar[dict[str, float]] = {"step": 0.1, "noise": 0.1, "feedback_rate": 0.001}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"step": (1e-4, 10), "noise": (1e-4, 10)}

    def __init__(self, network: Network, draw: Draw, step: float, noise: float, feedback_rate: float) -> None:
        super().__init__(network, draw)
        self.size, self.noise = step, noise
        self.feedbacks = [layer.feedback for layer in network.layers if layer.feedback is not None]
        first = network.layers[0].weight
        self.rate, self.update = first.new_full((len(first),), feedback_rate), Adam(self.feedbacks, **Adam.defaults)

    def teach(self, run: Pass, outputs: Tensor, batch: Batch) -> Sequence[Tensor]:
        """Targets from the top down; then V learns."""
        layers = self.network.layers
        e = error(outputs, batch)
        target, deltas = outputs - self.size * e, [e]
        for place in reversed(range(len(self.hidden))):
            layer, above, y = layers[place], layers[place + 1], run.outputs[place]
            target = y + self.inverse(layer, above, target)[1] - self.inverse(layer, above, run.outputs[place + 1])[1]
            a = layer.preactivation(run.received[place]) if layer.phi.of_input else y
            deltas.insert(0, slope_times(layer, (y - target) / self.size, a, y))
        found = gradients(layers, run.received, [delta / delta.shape[1] for delta in deltas])
        pairs = zip(layers, layers[1:], run.outputs, run.outputs[1:], strict=False)
        self.update.step(self.feedbacks, [self.inverting(*each, batch) for each in pairs], self.rate)
        return found

    def inverse(self, layer: WeightLayer, above: WeightLayer, h: Tensor) -> tuple[Tensor, Tensor]:
        """Vᵀ h and φ of it, which guesses the layer's output from that of the layer above."""
        a = down(above, h, above.feedback)
        return a, layer.phi.phi(a)

    def inverting(self, layer: WeightLayer, above: WeightLayer, y: Tensor, top: Tensor, batch: Batch) -> Tensor:
        """The gradient of V's loss. `y` is the layer's output, `top` that of the layer above."""
        wanted = y + noise(batch, "nudge", layer, y, self.noise)
        h = above.phi.phi(above.preactivation(wanted))
        a, guess = self.inverse(layer, above, h)
        return above.correlate(slope_times(layer, guess - wanted, a, guess), h).div_(y.shape[1])


class LocalTargetPropagation(TargetPropagation):
    """Target propagation by local difference reconstruction, which makes feedback the transpose of what it inverts."""

    source = "Ernoult et al. 2022, 2201.13415"
    flops = Products(forward=2, back=5, correlate=4)

    def inverting(self, layer: WeightLayer, above: WeightLayer, y: Tensor, top: Tensor, batch: Batch) -> Tensor:
        """As in the base class."""
        epsilon = noise(batch, "nudge", layer, y, self.noise)
        moved = above.phi.phi(above.preactivation(y + epsilon))
        echoed = top + noise(batch, "echo", above, top, self.noise)
        (a, guess), (a_moved, guess_moved), (a_echo, guess_echo) = (
            self.inverse(layer, above, h) for h in (top, moved, echoed)
        )
        change = guess_echo - guess
        terms = [
            (moved, slope_times(layer, -epsilon, a_moved, guess_moved)),
            (echoed, slope_times(layer, change, a_echo, guess_echo)),
            (top, slope_times(layer, epsilon - change, a, guess)),
        ]
        total = sum(above.correlate(delta, h) for h, delta in terms)
        assert isinstance(total, Tensor)
        return total.div_(y.shape[1] * self.noise**2)


class DirectTargetPropagation(DirectFeedbackAlignment):
    """Direct difference target propagation: learned weights bring every hidden layer its target straight from the output.

    They come to be a damped inverse of all that lies above.
    """

    family, source, dense, labelled = "targets", "Meulemans et al. 2020, 2006.14331", True, True
    flops = Products(forward=2, back=0)  # one pass more for every hidden layer, from that layer on
    defaults: ClassVar[dict[str, float]] = {"noise": 0.1, "damping": 0.1, "feedback_rate": 0.001}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"noise": (1e-4, 10)}

    def __init__(self, network: Network, draw: Draw, noise: float, damping: float, feedback_rate: float) -> None:
        super().__init__(network, draw)
        self.noise, self.damping, self.feedbacks = noise, damping, [*self.feedback.values()]
        first = network.layers[0].weight
        self.rate, self.update = first.new_full((len(first),), feedback_rate), Adam(self.feedbacks, **Adam.defaults)

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """As direct feedback has it; then Q learns."""
        run = Pass(training=True, cut=True, keys=batch.keys)
        lesson = self.descend(batch, objective, run)
        with torch.no_grad():
            found = []
            for place, (layer, q) in enumerate(zip(self.network.layers, self.feedbacks, strict=False)):
                y = run.outputs[place]
                epsilon = noise(batch, "nudge", layer, y, self.noise)
                h = y + epsilon
                for above in self.network.layers[place + 1 :]:
                    h = above.phi.phi(above.preactivation(h))
                change = h - run.outputs[-1]
                missed = torch.bmm(change, q.mT).sub_(epsilon)
                found.append(torch.bmm(missed.mT, change).div_(y.shape[1] * self.noise**2).add_(q, alpha=self.damping))
            self.update.step(self.feedbacks, found, self.rate)
        return lesson
