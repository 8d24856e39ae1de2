"""Networks of several rules as one stack: those whose pass is backpropagation's but for the weights that the error comes down by.

Where shapes vary, a rule has few networks of each. What a pass costs beside its arithmetic is then paid once for several rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar

import torch
from torch import Tensor

from generator.architectures.layers import Draw
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules import Rule
from generator.rules.contract import Lesson, Pace, Pathway, Update
from generator.rules.pathways.backprop import Backpropagation


def pathway(rules: Sequence[Rule], network: Network, draw: Draw) -> Pathway:
    """The pathway of a stack whose networks have these rules, one each; equal `Rule.company`."""
    (rule, _), *others = parts = _parts(rules)
    return SharedPass(network, draw, parts) if others else rule.build_pathway(network, draw)


def update(rules: Sequence[Rule], tensors: Sequence[Tensor]) -> Update:
    """The update of such a stack."""
    (rule, _), *others = parts = _parts(rules)
    return Apart(tensors, parts) if others else rule.build_update(tensors)


def _parts(rules: Sequence[Rule]) -> list[tuple[Rule, slice]]:
    """Neighbours of equal rule, and where they are."""
    found, end = [], 0
    for _, each in groupby(rules, lambda rule: (rule.label, rule.parameters)):
        first, *more = each
        found.append((first, slice(end, end := end + 1 + len(more))))
    return found


class SharedPass(Backpropagation):
    """One pass for all. Each network's error comes down through its own rule's M; where that is W, M follows W."""

    def __init__(self, network: Network, draw: Draw, parts: Sequence[tuple[Rule, slice]]) -> None:
        super().__init__(network, draw)
        self.following: dict[str, list[slice]] = {}  # by layer
        own: list[list[Tensor | None]] = []
        for rule, part in parts:
            rule.build_pathway(network, draw)
            own.append([None if layer.feedback is None else layer.feedback[part].clone() for layer in network.layers])
            for layer in network.layers:
                layer.feedback = None
        for layer, each in zip(network.layers, zip(*own, strict=True), strict=True):
            if all(feedback is None for feedback in each):
                continue
            layer.feedback = joined = layer.weight.detach().clone()
            self.following[layer.name] = []
            for feedback, (_, part) in zip(each, parts, strict=True):
                if feedback is None:
                    self.following[layer.name].append(part)
                else:
                    joined[part] = feedback

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward and one backward pass."""
        with torch.no_grad():
            for layer in self.network.layers:
                if (feedback := layer.feedback) is not None:
                    for part in self.following[layer.name]:
                        feedback[part].copy_(layer.weight[part])
        return super().learn(batch, objective, pace)

    def tensors_of(self, network: int) -> dict[str, Tensor]:
        """But for those that follow W."""
        followed = {
            f"{layer}.feedback"
            for layer, parts in self.following.items()
            if any(part.start <= network < part.stop for part in parts)
        }
        return {name: tensor for name, tensor in super().tensors_of(network).items() if name not in followed}


class Apart(Update):
    """Each part of a stack moves by the update of its own rule."""

    family, source = "several", "ours"
    base_rate: ClassVar[float] = 1.0

    def __init__(self, tensors: Sequence[Tensor], parts: Sequence[tuple[Rule, slice]]) -> None:
        self.parts = [part for _, part in parts]
        self.updates = [rule.build_update([tensor[part] for tensor in tensors]) for rule, part in parts]

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step of each, in place."""
        for part, one in zip(self.parts, self.updates, strict=True):
            one.step([w[part] for w in tensors], [g[part] for g in gradients], rate[part])
