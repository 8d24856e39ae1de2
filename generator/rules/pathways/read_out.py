"""Rules of hidden layers that know nothing of the output: under a read-out, which alone learns by the gradient of the loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway, Products, per_network
from generator.rules.pathways.products import synapses


class UnderReadOut(Pathway):
    """Hidden layers learn by a rule of their own, at a rate relative to the read-out's: `hidden_rate`.

    It is a factor on their gradients: under updates whose steps are not as large as gradients it does nothing. Hidden weights do
    not decay, and gains and biases of norms do not learn. [ours]
    """

    local = True
    flops = Products(back=0)
    drives: ClassVar[bool] = False  # whether it needs every layer's W x

    def __init__(self, network: Network, draw: Draw, hidden_rate: float) -> None:
        super().__init__(network, draw)
        last = network.layers[-1].weight
        self.hidden_rate = last.new_full((len(last),), hidden_rate)

    @property
    def hidden(self) -> list[WeightLayer]:
        """All layers but the last."""
        return self.network.layers[:-1]

    def decaying(self) -> Sequence[WeightLayer]:
        """The read-out."""
        return self.network.layers[-1:]

    def taught(self) -> list[Tensor]:
        """The tensors that learn below the read-out."""
        return synapses(self.hidden)

    def learned(self) -> list[Tensor]:
        """Those and the read-out's."""
        return [*self.taught(), *synapses(self.network.layers[-1:])]

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward pass, of which no error comes down, and what the rule does beside."""
        run = Pass(training=True, cut=True, keys=batch.keys, drives=[] if self.drives else None)
        views = objective.views(batch)
        losses = objective.loss(self.network.forward(views, run), batch.y)
        top = torch.autograd.grad(losses.sum(), synapses(self.network.layers[-1:]))
        below = [g * per_network(self.hidden_rate, g) for g in self.teach(run, views, batch)]
        return Lesson(losses.detach(), [*below, *top])

    @abstractmethod
    def teach(self, run: Pass, views: Tensor, batch: Batch) -> Sequence[Tensor]:
        """A gradient for every tensor of `taught`."""


class LayerLoss(UnderReadOut):
    """Every hidden layer descends a loss of its own, on stimuli that are made for it."""

    even: ClassVar[bool] = False  # whether layers read inputs of equal length as they learn

    def teach(self, run: Pass, views: Tensor, batch: Batch) -> Sequence[Tensor]:
        """The gradients of all layers' losses, none of which passes a layer."""
        made = Pass(training=True, cut=True, track=0.0, keys=batch.keys, even=self.even)
        self.network.forward(self.stimuli(views, batch), made)
        total = torch.stack([self.loss(y).sum() for y in made.outputs[:-1]]).sum() if self.hidden else None
        return [] if total is None else torch.autograd.grad(total, self.taught())

    @abstractmethod
    def stimuli(self, views: Tensor, batch: Batch) -> Tensor:
        """What is shown, twice as many: (k, 2 b, …)."""

    @abstractmethod
    def loss(self, y: Tensor) -> Tensor:
        """A layer's loss, (k,), from its outputs (k, 2 b, …)."""
