"""`none`, `read_out_only` and `random_walk`: what a classifier of learning rules must not take for learning. [ours]"""

from __future__ import annotations

import torch
from torch import Tensor

from generator import counters
from generator.architectures.layers import Pass
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway, Products
from generator.rules.pathways.backprop import Backpropagation


class NoLearning(Pathway):
    """Nothing is learned: all weights stay what they were. Running statistics of norms follow the stimuli."""

    family, source, local = "null", "ours", True
    flops = Products(back=0, correlate=0)

    def learned(self) -> list[Tensor]:
        """None."""
        return []

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward pass."""
        with torch.no_grad():
            outputs = self.network.forward(objective.views(batch), Pass(training=True, keys=batch.keys))
            return Lesson(objective.loss(outputs, batch.y), [])


class ReadOutOnly(Pathway):
    """Only the last layer learns, by its gradient; hidden weights stay random."""

    family, source, local = "null", "ours", True
    flops = Products(back=0, correlate=0)  # but for one layer

    def learned(self) -> list[Tensor]:
        """Weights and biases of the last layer."""
        last = self.network.layers[-1]
        return [tensor for tensor in (last.weight, last.bias) if tensor is not None]

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward pass, and the gradient of one layer."""
        outputs = self.network.forward(objective.views(batch), Pass(training=True, keys=batch.keys))
        losses = objective.loss(outputs, batch.y)
        return Lesson(losses.detach(), torch.autograd.grad(losses.sum(), self.learned()))


class RandomWalk(Backpropagation):
    """Weights diffuse: every tensor's gradient is replaced by a random one of equal length.

    So steps are as long as backpropagation's at the same weights, and tell nothing of the task.
    """

    family, source, local = "null", "ours", True

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """Normal numbers, scaled to the length of each gradient."""
        lesson = super().learn(batch, objective, pace)
        assert batch.keys is not None
        walked = []
        for place, g in enumerate(lesson.gradients):
            drawn = counters.normal(counters.derive(batch.keys, f"walk {place}"), g.shape[1:]).to(g.dtype)
            ratio = g.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1)
            walked.append(drawn * ratio.view(-1, *(1,) * (g.ndim - 1)))
        return lesson._replace(gradients=walked)
