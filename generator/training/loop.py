"""Trains one cohort and yields its measured checkpoints. Owns the loop and the clock: which step is a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from generator import kernels
from generator.architectures.layers import Pass, WeightLayer
from generator.curricula.contract import Batch
from generator.dataset.electrodes import FULL, Electrode
from generator.observables import PAPER
from generator.spec.network import NetworkSpec
from generator.training.stack import Stack

EXPLODED = 50.0  # a loss beyond this multiple of chance counts as divergence; so do weights, if it is bounded [ours]


@dataclass(frozen=True)
class Observation:
    """What was measured of a cohort at one checkpoint. Of a network that has diverged the numbers mean nothing.

    Args:
        train_loss: mean over the updates since the previous checkpoint; NaN at the first.
        diverged_at: the step of each network's divergence, or -1.
        snapshots: for the networks asked for (by position), unless they have diverged: raw tensors by name.
    """

    checkpoint: int
    step: int
    statistics: Float32[np.ndarray, "k electrodes layers statistics"]
    train_loss: Float[np.ndarray, " k"]
    probe_loss: Float[np.ndarray, " k"]
    probe_accuracy: Float[np.ndarray, " k"]
    diverged_at: Int[np.ndarray, " k"]
    snapshots: Mapping[int, Mapping[str, np.ndarray]]


def checkpoint_steps(steps: int, checkpoints: int) -> list[int]:
    """The steps observed: equally spaced, rounded, from before the first update to after the last."""
    return [round(index * steps / (checkpoints - 1)) for index in range(checkpoints)]


def train(
    members: Sequence[NetworkSpec],
    checkpoints: int = 21,
    probe: int = 256,
    device: str = "cpu",
    keep: Collection[int] = (),
    electrodes: Sequence[Electrode] = (FULL,),
    observables: Sequence[str] = PAPER,
    compiled: bool = False,
) -> Iterator[Observation]:
    """Train a cohort and yield its observations, one per checkpoint, until the end or until no network is alive.

    Args:
        members: networks with equal `stack_key`.
        probe: number of probe stimuli.
        keep: positions of the networks whose raw tensors are wanted.
        electrodes: with what is recorded, and how.
        observables: what is measured.
        compiled: whether they are measured, and if they suit, learn in compiled code.
    """
    with closing(Stack(members, device, electrodes=electrodes, observables=observables, compiled=compiled)) as stack:
        stack.settle()
        yield from go_on(stack, [], checkpoints, probe, keep)


def go_on(
    stack: Stack,
    seen: Sequence[Observation],
    checkpoints: int,
    probe: int,
    keep: Collection[int] = (),
    learned: Callable[[], None] = lambda: None,
) -> Iterator[Observation]:
    """The observations that follow those seen, of a stack as it was at some update after the last of them.

    Args:
        stack: settled, if nothing was seen; `stack.losses` are those of the updates since the last observation.
        learned: called after every update, or after several if they are made at once.
    """
    stimuli = stack.probe(probe)
    reference = cache(stack.reference)
    limit = EXPLODED * stack.objective.chance(stack.first.input.classes, stack.first.batch_size)
    diverged_at = torch.full((len(stack.members),), -1, device=stack.device)
    done = 0
    if seen:
        diverged_at, done = torch.from_numpy(seen[-1].diverged_at).to(stack.device), seen[-1].step
    for index, until in list(enumerate(checkpoint_steps(stack.first.steps, checkpoints)))[len(seen) :]:
        if bool((diverged_at >= 0).all()):
            return
        while (step := done + len(stack.losses)) < until:
            stack.losses += stack.learn(step, until)
            learned()
        losses, accuracy, statistics, snapshots = observe(stack, stimuli, keep, reference, index)
        learning = torch.stack([*stack.losses, losses])[:-1]  # (updates, k)
        stack.losses.clear()
        # In evaluation mode the running averages of batch norm lag behind: a large probe loss is no divergence.
        exploded = torch.cat([~(learning < limit), ~losses.isfinite()[None]])  # (updates + 1, k)
        first = done + exploded.byte().argmax(0)
        if stack.objective.bounded:  # what explodes unseen by the loss is dated to the checkpoint that finds it
            grown = stack.growth() > EXPLODED
            first, exploded = torch.where(exploded.any(0), first, until), exploded | grown
        diverged_at = torch.where(exploded.any(0) & (diverged_at < 0), first, diverged_at)
        yield Observation(
            checkpoint=index,
            step=until,
            statistics=statistics.float().cpu().numpy(),
            train_loss=learning.double().mean(0).cpu().numpy(),  # of nothing: NaN
            probe_loss=losses.cpu().numpy(),
            probe_accuracy=accuracy.cpu().numpy(),
            diverged_at=diverged_at.cpu().numpy(),
            snapshots={i: tensors for i, tensors in snapshots.items() if diverged_at[i] < 0},
        )
        done = until


@torch.no_grad()
def observe(
    stack: Stack,
    stimuli: Batch,
    keep: Collection[int] = (),
    reference: Callable[[], Batch] | None = None,
    checkpoint: int = 0,
) -> tuple[Tensor, Tensor, Float[Tensor, "k electrodes layers statistics"], dict[int, dict[str, np.ndarray]]]:
    """Loss, accuracy, statistics and, of the networks in `keep`, raw tensors, on the probe set in evaluation mode.

    `reference` is `stack.reference`, perhaps remembering what it gave.
    """
    run = Pass(training=False)
    outputs = stack.network.forward(stimuli.x, run)
    losses, accuracy = stack.objective.assess(stack.network, stimuli, run, outputs, reference or stack.reference)
    passed = list(zip(stack.network.layers, run.received, run.outputs, strict=True))
    with kernels.chosen(stack.kernels):
        statistics = stack.recorder.measure(passed, checkpoint, stimuli.y)
    tensors = {"probe.label": stimuli.y} if keep else {}
    for layer, x, y in passed if keep else ():
        tensors |= {f"{layer.name}.{part}": t for part, t in _raw(layer, x, y)}
    snapshots = {}
    for i in keep:
        each = stack.pathway.tensors_of(i) | {name: tensor[i] for name, tensor in tensors.items()}
        snapshots[i] = {name: tensor.cpu().numpy().copy() for name, tensor in each.items()}
    return losses, accuracy, statistics, snapshots


def _raw(layer: WeightLayer, x: Tensor, y: Tensor) -> list[tuple[str, Tensor]]:
    gate = getattr(layer, "gate", None)
    parts = [("weight", layer.weight), ("bias", layer.bias), ("gate", gate), ("input", x), ("output", y)]
    return [(name, tensor) for name, tensor in parts if tensor is not None]
