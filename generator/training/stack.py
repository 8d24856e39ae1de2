"""A cohort as one stack, networks of equal shape whose rules share a pass, which learns batch by batch.

Owns the randomness: every draw is keyed by what it depends on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from generator import counters
from generator.architectures.layers import Norm, Pass, WeightLayer
from generator.curricula import tasks
from generator.curricula.contract import Batch
from generator.curricula.objectives import OBJECTIVES
from generator.curricula.stimuli import Part, Resident
from generator.dataset.electrodes import FULL, Electrode
from generator.kernels import Kernels
from generator.keys import stream
from generator.observables import PAPER
from generator.observables.recorder import Recorder
from generator.rules import together
from generator.rules.contract import Pace, Pathway, Update, per_network
from generator.spec.compiling import suits
from generator.spec.network import NetworkSpec
from generator.training.compiled import Compiled
from generator.training.feed import OnDevice, Streamed

REFERENCE = 512  # training stimuli that a read-out is fitted to, where the objective needs one [ours]


_RECORDER = "recorder."  # in a stack's state, before the names of what its electrodes remember


class Stack:
    """The networks of a cohort as one stack, with rule and objective: everything that learns."""

    def __init__(
        self,
        members: Sequence[NetworkSpec],
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        electrodes: Sequence[Electrode] = (FULL,),
        observables: Sequence[str] = PAPER,
        compiled: bool = False,
    ) -> None:
        """Draw the initial weights. Raises ValueError if the members cannot share a stack.

        `compiled`: what is measured is computed in compiled code, and the networks learn in it if all of them suit. It takes
        float32 on a CPU.
        """
        if len({member.stack_key for member in members}) != 1:
            raise ValueError(
                "the networks of a stack must agree in all but rates, weight decay, seeds and rules that share a pass"
            )
        first = self.first = members[0]
        self.members, self.device, self.dtype = members, torch.device(device), dtype
        self.objective = OBJECTIVES[first.objective]
        self.network = first.family(first.input, first.form, self._draw)
        rules = [member.rule for member in members]
        self.pathway = together.pathway(rules, self.network, self._draw)
        self.parameters = [tensor.requires_grad_() for tensor in self.pathway.learned()]
        self.update = together.update(rules, self.parameters)
        self.recorder = Recorder(electrodes, [member.network_id for member in members], self.network, observables)
        self.rate = self._per_member([member.rate for member in members])
        self.decay = {
            layer.name: self._per_member([m.weight_decay if layer.penalty is None else layer.penalty for m in members])
            for layer in self.network.layers
            if layer.penalty is not None or any(member.weight_decay for member in members)
        }
        self.decaying = {
            id(tensor): layer.name
            for layer in self.pathway.decaying()
            if layer.name in self.decay
            for tensor in (layer.weight, layer.feedback)
            if tensor is not None
        }
        self.task = tasks.load(first.data, first.pixels)
        train = self.task.train
        self.feed = (
            OnDevice(train, self.seen, self.device, dtype)
            if isinstance(train, Resident)
            else Streamed(train, self.seen, first.steps, self.device, dtype)
        )
        self.losses: list[Float[Tensor, " k"]] = []  # of the updates since the last checkpoint
        self.epoch, self.keys = -1, self._keys([])  # of the batches of an epoch
        self.streams = [(member.root_seed, member.data_seed) for member in members]  # of the order of stimuli
        self.place = [list(dict.fromkeys(self.streams)).index(each) for each in self.streams]
        self.orders: dict[int, Int[np.ndarray, "streams train"]] = {}
        self.kernels: Kernels | None = "compiled" if compiled else None  # of what is measured
        self.compiled = Compiled(self) if compiled and all(map(suits, members)) else None

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
        if epoch != self.epoch:
            self.epoch, members = epoch, self.members
            keys = self._keys([counters.key("epoch", m.root_seed, m.data_seed, m.task, epoch) for m in members])
            self.keys = counters.derive_each(keys, [f"batch {each}" for each in range(self.first.steps_per_epoch)])
        return Batch(*self.feed.take(step), self.keys[place], step)

    def seen(self, step: int) -> Int[np.ndarray, "k b"]:
        """Which training stimuli each network sees in one update."""
        epoch, place = divmod(step, self.first.steps_per_epoch)
        part = slice(place * self.first.batch_size, (place + 1) * self.first.batch_size)
        if epoch not in self.orders:  # of the latest two epochs: stimuli may be read ahead
            n, seeds = len(self.task.train.labels), dict.fromkeys(self.streams)
            orders = [stream("order", *each, self.first.task, epoch).permutation(n) for each in seeds]
            self.orders = dict([*self.orders.items()][-1:]) | {epoch: np.stack(orders)}
        return self.orders[epoch][self.place, part]

    def _keys(self, keys: Sequence[int]) -> Int64[Tensor, " k"]:
        return torch.tensor(keys, dtype=torch.int64, device=self.device)

    def probe(self, count: int) -> Batch:
        """The first `count` stimuli of the task's test part, the same for every network."""
        return self._shared("probe", self.task.test, self.task.order[:count])

    def reference(self) -> Batch:
        """Training stimuli of a fixed permutation, the same for every network, to fit a read-out to."""
        some = stream("reference", self.first.task).permutation(len(self.task.train.labels))[:REFERENCE]
        return self._shared("reference", self.task.train, some)

    def _shared(self, name: str, part: Part, index: np.ndarray) -> Batch:
        """Stimuli that all networks see, without a copy for each."""
        x, k = self._on_device(part.read(index)), len(self.members)
        y = torch.from_numpy(part.labels[index]).to(self.device)
        keys = self._keys([counters.key(name, self.first.root_seed, self.first.task)] * k)
        return Batch(x.expand(k, *x.shape), y.expand(k, len(y)), keys)

    def close(self) -> None:
        """Stop reading stimuli ahead."""
        if isinstance(self.feed, Streamed):
            self.feed.close()

    def learn(self, step: int, until: int) -> list[Float[Tensor, " k"]]:
        """Learn from the batch of `step`, or from several, none of `until` or later: the losses before each update."""
        return [self.step(self.batch(step))] if self.compiled is None else self.compiled.learn(step, until)

    def step(self, batch: Batch) -> Float[Tensor, " k"]:
        """Learn from one batch; the loss before the update."""
        pace = self.pace(batch.step)
        lesson = self.pathway.learn(batch, self.objective, pace)
        with torch.no_grad():
            for w, g in zip(self.parameters, lesson.gradients, strict=True) if self.decay else ():
                if id(w) not in self.decaying:
                    continue
                decay = self.decay[self.decaying[id(w)]]
                if self.update.decoupled:
                    w.mul_(per_network(1 - pace.rate * decay, w))
                else:  # the gradient of the L2 penalty on weights, ½ λ ‖W‖²
                    g.addcmul_(w, per_network(decay, w))
            self.update.step(self.parameters, lesson.gradients, pace.rate)
            self.network.constrain()
        return lesson.losses

    def pace(self, step: int) -> Pace:
        """How fast the weights move at one update, counted from 0."""
        factor = self.first.rate_factor(step)
        return Pace(self.rate if factor == 1 else self.rate * factor, self.decay)

    @torch.no_grad()
    def growth(self) -> Float[Tensor, " k"]:
        """The largest over layers of the root mean square of the weights, as a multiple of what it was drawn with."""
        layers = self.network.layers
        return torch.stack([layer.weight.flatten(1).square().mean(1).sqrt() / layer.scale for layer in layers]).amax(0)

    def state(self) -> dict[str, np.ndarray]:
        """A copy of everything that moves as the stack learns: weights, running statistics, the state of update and pathway."""
        kept = {f"{_RECORDER}{name}": tensor for name, tensor in self.recorder.state().items()}
        moving = self._moving() | kept
        return {name: np.array(tensor.detach().cpu().numpy(), order="C") for name, tensor in moving.items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to such a state. Raises ValueError, and changes nothing, if it is that of another stack."""
        kept = {name.removeprefix(_RECORDER): a for name, a in state.items() if name.startswith(_RECORDER)}
        state = {name: array for name, array in state.items() if not name.startswith(_RECORDER)}
        moving = self._moving()
        found = {name: torch.from_numpy(array) for name, array in state.items()}
        if {n: (t.shape, t.dtype) for n, t in moving.items()} != {n: (t.shape, t.dtype) for n, t in found.items()}:
            raise ValueError("the state is that of another stack")
        for name, tensor in moving.items():
            tensor.copy_(found[name])
        self.recorder.restore({name: torch.from_numpy(array).to(self.device) for name, array in kept.items()})

    def _moving(self) -> dict[str, Tensor]:
        found: dict[int, tuple[str, Tensor]] = {}
        parts = {
            "layers": self.network.layers,
            "norms": self.network.norms,
            "update": self.update,
            "pathway": self.pathway,
        }
        for name, tensor in _tensors("stack", parts):
            found.setdefault(id(tensor), (name, tensor))
        return dict(found.values())

    @torch.no_grad()
    def settle(self) -> None:
        """Set the running statistics of normalisation from the first training batch, before anything is learned."""
        batch = self.batch(0)
        self.network.forward(self.objective.views(batch), Pass(training=True, track=1.0, keys=batch.keys))


def _tensors(name: str, owner: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors that an object holds, with the path to each; an update's or a pathway's own attributes need no list."""
    match owner:
        case Tensor():
            yield name, owner
        case dict():
            for key, value in owner.items():
                yield from _tensors(f"{name}.{key}", value)
        case list() | tuple():
            yield from _tensors(name, dict(enumerate(owner)))
        case WeightLayer() | Norm() | Update():
            yield from _tensors(name, vars(owner))
        case Pathway():
            yield from _tensors(name, {key: value for key, value in vars(owner).items() if key != "network"})
