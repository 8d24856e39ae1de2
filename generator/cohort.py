"""Trains one cohort, a stack of networks of equal shape and rule, and yields its measured checkpoints.

Owns the loop, the clock (which step is a checkpoint) and the randomness (every draw is keyed by what it depends on).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from generator.curricula import tasks
from generator.curricula.objectives import OBJECTIVES
from generator.keys import stream
from generator.layers import Pass, WeightLayer
from generator.observables import measure
from generator.rules.contract import Batch, per_network
from generator.spec import NetworkSpec

EXPLODED = 50.0  # a training loss beyond this multiple of chance, ln(classes), counts as divergence [ours]


@dataclass(frozen=True)
class Observation:
    """What was measured of a cohort at one checkpoint. Of a network that has diverged the numbers mean nothing.

    Args:
        train_loss: mean over the updates since the previous checkpoint; NaN at the first.
        diverged_at: the step of each network's divergence, or -1.
        snapshots: for the networks asked for (by position): raw tensors by name.
    """

    checkpoint: int
    step: int
    statistics: Float32[np.ndarray, "k layers 45"]
    train_loss: Float[np.ndarray, " k"]
    probe_loss: Float[np.ndarray, " k"]
    probe_accuracy: Float[np.ndarray, " k"]
    diverged_at: Int[np.ndarray, " k"]
    snapshots: Mapping[int, Mapping[str, np.ndarray]]


class Stack:
    """The networks of a cohort as one stack, with rule and objective: everything that learns."""

    def __init__(self, members: Sequence[NetworkSpec], device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        """Draw the initial weights. Raises ValueError if the members cannot share a stack."""
        if len({member.stack_key for member in members}) != 1:
            raise ValueError("the networks of a stack must agree in everything but rates, weight decay and seeds")
        first = self.first = members[0]
        self.members, self.device, self.dtype = members, torch.device(device), dtype
        self.objective = OBJECTIVES[first.objective]
        self.network = first.family(first.input, first.nonlinearity, self._draw)
        self.pathway = first.rule.build_pathway(self.network, self._draw)
        self.parameters = [tensor.requires_grad_() for tensor in self.network.parameters()]
        self.update = first.rule.build_update(self.parameters)
        self.rate = self._per_member([member.rate for member in members])
        decay = [member.weight_decay for member in members]
        self.decay = self._per_member(decay) if any(decay) else None
        self.task = tasks.load(first.task, first.pixels)
        self.images, self.labels = self._on_device(self.task.train_x), torch.as_tensor(self.task.train_y, device=device)
        self.epoch, self.order = 0, self._epoch_order(0)

    def _per_member(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=self.dtype, device=self.device)

    def _on_device(self, images: np.ndarray) -> Tensor:
        """Images (n, c, h, w), stored channels-last."""
        x = torch.from_numpy(images).to(self.device, self.dtype)
        return x.movedim(1, -1).contiguous().movedim(-1, 1)

    def _draw(self, purpose: str, layer: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers (k, *shape), keyed by purpose, root seed, model seed, architecture and layer."""
        each = [
            stream(purpose, m.root_seed, m.model_seed, m.architecture, layer).standard_normal(shape)
            for m in self.members
        ]
        return torch.from_numpy(np.stack(each)).to(self.device, self.dtype)

    def batch(self, step: int) -> Batch:
        """The batch of every network for one update, counted from 0."""
        epoch, place = divmod(step, self.first.steps_per_epoch)
        size = self.first.batch_size
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self._epoch_order(epoch)
        index = self.order[:, place * size : (place + 1) * size]
        x = self.images.movedim(1, -1).index_select(0, index.flatten())  # whole stimuli: memory copies, not a gather
        return Batch(x.unflatten(0, index.shape).movedim(-1, 2), self.labels[index])

    def _epoch_order(self, epoch: int) -> Int[Tensor, "k train"]:
        """The order in which each network sees the training stimuli in one epoch."""
        n = len(self.labels)
        orders = [_order(m.root_seed, m.data_seed, m.task, epoch, n) for m in self.members]
        return torch.from_numpy(np.stack(orders)).to(self.device)

    def probe(self, count: int) -> Batch:
        """The first `count` stimuli of the task's test part, the same for every network."""
        x, y = self._on_device(self.task.test_x[:count]), torch.as_tensor(self.task.test_y[:count], device=self.device)
        return Batch(x.expand(len(self.members), *x.shape), y.expand(len(self.members), count))

    def step(self, batch: Batch) -> Float[Tensor, " k"]:
        """Learn from one batch; the loss before the update."""
        lesson = self.pathway.learn(batch, self.objective)
        with torch.no_grad():
            if self.decay is not None:  # the gradient of the L2 penalty on weights, ½ λ ‖W‖²
                weights = {id(layer.weight) for layer in self.network.layers}
                for w, g in zip(self.parameters, lesson.gradients, strict=True):
                    if id(w) in weights:
                        g.addcmul_(w, per_network(self.decay, w))
            self.update.step(self.parameters, lesson.gradients, self.rate)
        return lesson.losses

    @torch.no_grad()
    def settle(self) -> None:
        """Set the running statistics of normalisation from the first training batch, before anything is learned."""
        self.network.forward(self.objective.views(self.batch(0).x), Pass(training=True, track=1.0))


@lru_cache(maxsize=64)
def _order(root: int, seed: int, task: str, epoch: int, n: int) -> np.ndarray:
    """The order of the training stimuli in one epoch."""
    return stream("order", root, seed, task, epoch).permutation(n)


def checkpoint_steps(steps: int, checkpoints: int) -> list[int]:
    """The steps observed: equally spaced, rounded, from before the first update to after the last."""
    return [round(index * steps / (checkpoints - 1)) for index in range(checkpoints)]


def train(
    members: Sequence[NetworkSpec],
    checkpoints: int = 21,
    probe: int = 256,
    device: str = "cpu",
    keep: Collection[int] = (),
) -> Iterator[Observation]:
    """Train a cohort and yield its observations, one per checkpoint, until the end or until no network is alive.

    Args:
        members: networks with equal `stack_key`.
        probe: number of probe stimuli.
        keep: positions of the networks whose raw tensors are wanted.
    """
    stack = Stack(members, device)
    stack.settle()
    stimuli = stack.probe(probe)
    limit = EXPLODED * math.log(stack.first.input.classes)
    diverged_at = torch.full((len(members),), -1, device=device)
    done = 0
    for index, until in enumerate(checkpoint_steps(stack.first.steps, checkpoints)):
        learned = [stack.step(stack.batch(step)) for step in range(done, until)]
        losses, accuracy, statistics, snapshots = observe(stack, stimuli, keep)
        every = torch.stack([*learned, losses])  # (updates + 1, k)
        exploded = ~(every < limit)
        first = done + exploded.byte().argmax(0)
        diverged_at = torch.where(exploded.any(0) & (diverged_at < 0), first, diverged_at)
        yield Observation(
            checkpoint=index,
            step=until,
            statistics=statistics.float().cpu().numpy(),
            train_loss=every[:-1].double().mean(0).cpu().numpy(),  # of nothing: NaN
            probe_loss=losses.cpu().numpy(),
            probe_accuracy=accuracy.cpu().numpy(),
            diverged_at=diverged_at.cpu().numpy(),
            snapshots=snapshots,
        )
        if bool((diverged_at >= 0).all()):
            return
        done = until


@torch.no_grad()
def observe(
    stack: Stack, stimuli: Batch, keep: Collection[int] = ()
) -> tuple[Tensor, Tensor, Float[Tensor, "k layers 45"], dict[int, dict[str, np.ndarray]]]:
    """Loss, accuracy, statistics and, of the networks in `keep`, raw tensors, on the probe set in evaluation mode."""
    run = Pass(training=False)
    outputs = stack.network.forward(stack.objective.views(stimuli.x), run)
    losses, accuracy = stack.objective.loss(outputs, stimuli.y), stack.objective.accuracy(outputs, stimuli.y)
    passed = list(zip(stack.network.layers, run.received, run.outputs, strict=True))
    statistics = measure(passed)
    tensors = {"probe.label": stimuli.y} | stack.pathway.tensors() if keep else {}
    for layer, x, y in passed if keep else ():
        tensors |= {f"{layer.name}.{part}": t for part, t in _raw(layer, x, y)}
    snapshots = {i: {name: t[i].cpu().contiguous().numpy() for name, t in tensors.items()} for i in keep}
    return losses, accuracy, statistics, snapshots


def _raw(layer: WeightLayer, x: Tensor, y: Tensor) -> list[tuple[str, Tensor]]:
    return [("weight", layer.weight), ("bias", layer.bias), ("input", x), ("output", y)]
