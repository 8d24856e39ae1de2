"""Stacks whose networks learn one after the other in compiled code: how what they hold is handed over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from generator.rules.contract import Update
from generator.rules.pathways.alignment import InformationAlignment
from generator.rules.pathways.primitives import DECAY
from generator.rules.together import Apart, SharedPass
from generator.rules.updates.adam import Adam
from generator.rules.updates.momentum import Momentum, Nesterov
from generator.rules.updates.rmsprop import RMSprop
from generator.rules.updates.sign import Lion, SignSGD
from generator.spec.compiling import NONLINEARITIES
from generator.spec.planning import COMPILED_FLOPS_PER_SECOND

if TYPE_CHECKING:
    from generator.training.stack import Stack

SECONDS = 0.2  # of one call, about: between two a run can be interrupted, and kept


class _Hand(NamedTuple):
    """A network's update as the kernel takes it: its name there, four numbers, ε, what it remembers, and which of its stack."""

    code: str
    numbers: Sequence[float]
    epsilon: float
    first: Sequence[Tensor] | None
    second: Sequence[Tensor] | None
    own: int
    update: Update


def _hand(update: Update, i: int) -> _Hand:
    """The update of network `i`."""
    match update:
        case Apart():
            part, one = next(each for each in zip(update.parts, update.updates, strict=True) if i < each[0].stop)
            return _hand(one, i - part.start)
        case Adam():  # and AdamW
            numbers = (0, 1 - update.beta1, update.beta2, 1 - update.beta2)
            return _Hand("ADAM", numbers, update.epsilon, update.first, update.second, i, update)
        case Momentum():
            code = "NESTEROV" if isinstance(update, Nesterov) else "MOMENTUM"
            return _Hand(code, (update.momentum, 0, 0, 0), 0, update.velocities, None, i, update)
        case RMSprop():
            return _Hand("RMSPROP", (update.rho, 1 - update.rho, 0, 0), update.epsilon, update.squares, None, i, update)
        case Lion():
            numbers = (0, 1 - update.beta1, 0, 1 - update.beta2)
            return _Hand("LION", numbers, 0, update.averages, None, i, update)
        case SignSGD():
            return _Hand("SIGN", (0, 0, 0, 0), 0, None, None, i, update)
        case _:
            return _Hand("GRADIENT", (0, 0, 0, 0), 0, None, None, i, update)


def _corrections(update: Update, count: int) -> Float[np.ndarray, "2 updates"]:
    """Factors on the rate and on ε in the next so many updates: Adam's corrections of its averages' bias."""
    if not isinstance(update, Adam):
        return np.ones((2, count))
    done = int(update.steps) + 1 + np.arange(count)
    scale = np.sqrt(1 - update.beta2**done)
    return np.stack([scale / (1 - update.beta1**done), scale])


class Compiled:
    """A stack whose networks learn in compiled code, one after the other, in place of all at once.

    The same arithmetic in another order: numbers agree to rounding. Whatever else is asked of the stack it answers as ever.
    """

    def __init__(self, stack: Stack) -> None:
        from generator.training import kernel

        self.stack, self.kernel = stack, kernel
        layers, pathway = stack.network.layers, stack.pathway
        self.sizes = np.array([layers[0].weight.shape[2], *(layer.weight.shape[1] for layer in layers)], np.int64)
        self.learns = pathway if isinstance(pathway, InformationAlignment) else None
        self.phi = NONLINEARITIES.index(stack.first.nonlinearity)
        shared = getattr(stack.feed, "images", None)  # those of all networks; none if they are read from disk
        self.images = None if shared is None else np.ascontiguousarray(shared.movedim(-1, 1).flatten(1).numpy()).ravel()
        self.labels = stack.task.train.labels.astype(np.int64)
        each = [self._network(i) for i in range(len(stack.members))]
        self.hands, self.places = [hand for hand, _ in each], [places for _, places in each]
        of_stack = 2.0 * 3 * len(each) * stack.first.batch_size * sum(layer.weight[0].numel() for layer in layers)
        self.most = max(1, round(SECONDS * COMPILED_FLOPS_PER_SECOND / of_stack))  # updates of one call

    def _network(self, i: int) -> tuple[_Hand, np.ndarray]:
        """The update and the addresses of one network."""
        stack, kernel, hand = self.stack, self.kernel, _hand(self.stack.update, i)
        places = np.zeros((9, len(stack.network.layers)), np.int64)
        following = stack.pathway.following if isinstance(stack.pathway, SharedPass) else {}
        of = {id(tensor): number for number, tensor in enumerate(stack.parameters)}
        for number, layer in enumerate(stack.network.layers):
            assert layer.bias is not None
            follows = any(part.start <= i < part.stop for part in following.get(layer.name, ()))
            back = layer.weight if follows or layer.feedback is None else layer.feedback
            for row, tensor in ((kernel.WEIGHT, layer.weight), (kernel.BIAS, layer.bias), (kernel.BACK, back)):
                places[row, number] = _address(tensor, i)
            for row, kept, tensor in (
                (kernel.WEIGHT_FIRST, hand.first, layer.weight),
                (kernel.WEIGHT_SECOND, hand.second, layer.weight),
                (kernel.BIAS_FIRST, hand.first, layer.bias),
                (kernel.BIAS_SECOND, hand.second, layer.bias),
            ):
                if kept is not None:
                    places[row, number] = _address(kept[of[id(tensor)]], hand.own)
            if self.learns and number > 0:
                own = self.learns.update
                places[kernel.BACK_FIRST, number] = _address(own.first[number - 1], i)
                places[kernel.BACK_SECOND, number] = _address(own.second[number - 1], i)
        return hand, places

    @torch.no_grad()
    def learn(self, step: int, until: int) -> list[Float[Tensor, " k"]]:
        """Learn from the next batches, at least one and not beyond `until`: the losses before each update."""
        stack = self.stack
        count = 1 if self.images is None else min(self.most, until - step)
        if self.images is None:  # they are read for all networks at once
            batch = stack.batch(step)
            images = batch.x.flatten(2).contiguous().numpy().reshape(len(stack.members), -1)
            labels = batch.y.numpy()
            orders = np.broadcast_to(np.arange(labels.shape[1]), (len(labels), 1, labels.shape[1]))
        else:
            orders = np.stack([stack.seen(step + each) for each in range(count)], axis=1)  # (k, updates, b)
        paces = [stack.pace(step + each) for each in range(count)]
        rates = torch.stack([pace.rate for pace in paces], 1).numpy()  # (k, updates)
        losses = np.empty((len(stack.members), count), np.float32)
        for i, (hand, places) in enumerate(zip(self.hands, self.places, strict=True)):
            decays = [
                float(stack.decay[layer.name][i]) if layer.name in stack.decay else 0 for layer in stack.network.layers
            ]
            factors, constants = _corrections(hand.update, count).astype(np.float32), np.zeros((2, 8), np.float32)
            pace = np.zeros((5, count), np.float32)
            pace[0], pace[1], pace[2] = rates[i], rates[i] * factors[0], hand.epsilon * factors[1]
            constants[0, :4] = hand.numbers
            if self.learns:
                own, b = _hand(self.learns.update, i), stack.first.batch_size
                factors = _corrections(own.update, count).astype(np.float32)
                pace[3], pace[4] = float(self.learns.rate[i]) * factors[0], own.epsilon * factors[1]
                constants[1, :4] = own.numbers
                constants[1, 4:7] = -self.learns.alpha / b, 2 * self.learns.beta / b, DECAY * self.learns.gamma
            self.kernel.learn(
                places,
                self.sizes,
                *((images[i], labels[i]) if self.images is None else (self.images, self.labels)),
                np.ascontiguousarray(orders[i]),
                np.array(
                    [self.phi, getattr(self.kernel, hand.code), int(hand.update.decoupled), int(bool(self.learns))]
                ),
                constants,
                np.array(decays, np.float32),
                pace,
                losses[i],
            )
        for update in {id(hand.update): hand.update for hand in self.hands}.values():
            if isinstance(update, Adam):
                update.steps += count
        if self.learns:
            self.learns.update.steps += count
        return list(torch.from_numpy(losses.T.copy()))


def _address(tensor: Tensor, i: int) -> int:
    """Where the numbers of network `i` begin in a stack's tensor."""
    if not tensor.is_contiguous() or (tensor.dtype, tensor.device.type) != (torch.float32, "cpu"):
        raise ValueError("compiled code needs float32 on a CPU")
    return tensor.data_ptr() + i * tensor.stride(0) * tensor.element_size()
