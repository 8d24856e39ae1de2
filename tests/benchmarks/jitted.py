"""The peer: the same networks as a user of JAX would write them, one at a time in a loop over updates that is compiled whole.

It starts from the engine's weights, sees its batches and is measured by its statistics. What differs is who computes a step.
"""

from __future__ import annotations

import os

# One thread, as the engine's workers have: set before JAX is imported.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

from generator.spec.network import NetworkSpec
from generator.training import loop
from generator.training.stack import Stack

DECAY = 2.0  # of ‖B‖²
LAYOUT = ("NHWC", "HWIO", "NHWC")
State = dict[str, Any]


# -- layers ------------------------------------------------------------------------------------------------------------
def dense(x: jax.Array, w: jax.Array) -> jax.Array:
    """W x."""
    return x @ w.T


def conv(x: jax.Array, w: jax.Array) -> jax.Array:
    """W ∗ x at stride 1, padded to keep its size; channels innermost, where it is fastest."""
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAYOUT)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def through(apply: Callable[..., jax.Array], x: jax.Array, w: jax.Array, back: jax.Array) -> jax.Array:
    """W x, whose error comes down through other weights."""
    return apply(x, w)


def _forward(apply: Callable[..., jax.Array], x: jax.Array, w: jax.Array, back: jax.Array) -> Any:
    return apply(x, w), (x, w, back)


def _backward(apply: Callable[..., jax.Array], kept: Any, error: jax.Array) -> Any:
    x, w, back = kept
    (below,) = jax.vjp(lambda x: apply(x, back), x)[1](error)
    (gradient,) = jax.vjp(lambda w: apply(x, w), w)[1](error)
    return below, gradient, jnp.zeros_like(back)


through.defvjp(_forward, _backward)


def pool(x: jax.Array, highest: bool) -> jax.Array:
    """3×3 windows at stride 2 of even sides, padded on the right; an average leaves the padding out."""
    start, how = (-jnp.inf, lax.max) if highest else (0.0, lax.add)
    window: Any = ((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (0, 1), (0, 1), (0, 0)))
    pooled = lax.reduce_window(x, start, how, *window)
    return pooled if highest else pooled / lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, *window)


def normalised(x: jax.Array, norm: State) -> jax.Array:
    """By the mean and variance of the batch."""
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) * lax.rsqrt(var + 1e-5) * norm["weight"] + norm["bias"]


def outputs(state: State, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    """Logits of a batch, and what each layer received."""
    layers, norms, received = state["layers"], state["norms"], []

    def run(i: int, x: jax.Array) -> jax.Array:
        layer = layers[i]
        received.append(x)
        apply = dense if layer["weight"].ndim == 2 else conv
        back = state["feedback"][i]
        y = apply(x, layer["weight"]) if back is None else through(apply, x, layer["weight"], back)
        return y + layer["bias"] if "bias" in layer else y

    for i in range(len(layers) - 1):
        x = run(i, x)
        if norms and i == 0:
            x = jax.nn.relu(normalised(pool(x, highest=True), norms[i]))
        elif norms:
            x = normalised(pool(jax.nn.relu(x), highest=False), norms[i])
        else:
            x = jax.nn.relu(x)
    if norms:  # units in the order of the engine's: channel, row, column
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return run(len(layers) - 1, x), received


def loss(learned: State, feedback: Sequence[Any], x: jax.Array, labels: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    """Cross-entropy of the labels in nats."""
    logits, received = outputs(learned | {"feedback": feedback}, x)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean(), received


def alignment(feedback: list[Any], layers: Any, received: list[jax.Array], about: dict[str, float]) -> jax.Array:
    """Σ α·amp + β·null + γ·decay over layers."""
    total = jnp.zeros(())
    for back, layer, x in zip(feedback, layers, received, strict=True):
        if back is not None:
            apply = dense if back.ndim == 2 else conv
            forward, backward = apply(x, layer["weight"]), apply(x, back)
            positions = forward.size // forward.shape[-1]
            (down,) = jax.vjp(lambda x, back=back, apply=apply: apply(x, back), x)[1](forward)
            total += about["beta"] * (down**2).sum() / (down.size // down.shape[-1])
            total += about["gamma"] * (back**2).sum() - about["alpha"] * (forward * backward).sum() / positions
    return total


# -- updates -----------------------------------------------------------------------------------------------------------
def adam(w: Any, g: Any, kept: State, rate: Any, about: dict[str, float]) -> tuple[Any, State]:
    """w and the state after a step of Adam."""
    count, (b1, b2) = kept["count"] + 1, (about["beta1"], about["beta2"])
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, kept["m"], g)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, kept["v"], g)

    def move(w: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return w - rate * (m / (1 - b1**count)) / (jnp.sqrt(v / (1 - b2**count)) + about["epsilon"])

    return jax.tree.map(move, w, m, v), {"count": count, "m": m, "v": v}


def momentum(w: Any, g: Any, kept: State, rate: Any, about: dict[str, float]) -> tuple[Any, State]:
    """w and the state after a step of gradient descent with momentum."""
    v = jax.tree.map(lambda v, g: about["momentum"] * v + g, kept["v"], g)
    return jax.tree.map(lambda w, v: w - rate * v, w, v), {"v": v}


@cache
def compiled(pathway: str, update: str, parameters: tuple[tuple[str, float], ...], decay: float, many: bool) -> Any:
    """A function of a state, all stimuli, and which of them each batch has: the state after them, and the losses."""
    about, move = dict(parameters), adam if update == "adam" else momentum
    adams = about | {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}  # those of backward weights are Adam's own

    def step(state: State, images: jax.Array, labels: jax.Array, order: jax.Array) -> tuple[State, jax.Array]:
        learned = {name: state[name] for name in ("layers", "norms")}
        value = jax.value_and_grad(loss, has_aux=True)
        (error, received), g = value(learned, state["feedback"], images[order], labels[order])
        for layer, own in zip(learned["layers"], g["layers"], strict=True):
            own["weight"] = own["weight"] + decay * layer["weight"]
        after, kept = move(learned, g, state["kept"], state["rate"], about)
        found = state | after | {"kept": kept}
        if pathway == "ia":
            g_back = jax.grad(alignment)(state["feedback"], learned["layers"], received, about)
            back, aligner = adam(state["feedback"], g_back, state["aligner"], about["feedback_rate"], adams)
            found |= {"feedback": back, "aligner": aligner}
        return found, error

    def run(state: State, images: jax.Array, labels: jax.Array, orders: jax.Array) -> tuple[State, jax.Array]:
        return lax.scan(lambda state, order: step(state, images, labels, order), state, orders)

    return jax.jit(jax.vmap(run, in_axes=(0, None, None, 0)) if many else run)


# -- from and to the engine --------------------------------------------------------------------------------------------
def _here(weight: torch.Tensor) -> jax.Array:
    return jnp.asarray((weight if weight.ndim < 3 else weight.permute(2, 3, 1, 0)).detach().numpy().copy())


def drawn(stack: Stack, i: int = 0) -> State:
    """What the engine drew for a network."""
    layers = [
        {"weight": _here(layer.weight[i])} | ({} if layer.bias is None else {"bias": _here(layer.bias[i])})
        for layer in stack.network.layers
    ]
    norms = [{"weight": _here(norm.weight[i]), "bias": _here(norm.bias[i])} for norm in stack.network.norms]  # type: ignore[index]
    feedback = [None if layer.feedback is None else _here(layer.feedback[i]) for layer in stack.network.layers]
    learned = {"layers": layers, "norms": norms}
    zeros = jax.tree.map(jnp.zeros_like, learned)
    state = {**learned, "feedback": feedback, "rate": jnp.float32(stack.members[i].rate)}
    state["kept"] = {"v": zeros}
    if stack.members[i].rule.update == "adam":
        state["kept"] |= {"count": jnp.zeros(()), "m": zeros}
    if stack.members[i].rule.pathway == "ia":
        zeros = jax.tree.map(jnp.zeros_like, feedback)
        state["aligner"] = {"count": jnp.zeros(()), "m": zeros, "v": zeros}
    return state


class Peer:
    """Some networks of equal shape and rule, k at once."""

    def __init__(self, members: Sequence[NetworkSpec]) -> None:
        first = self.first = members[0]
        self.stack = Stack(members)
        self.stack.settle()
        states = [drawn(self.stack, i) for i in range(len(members))]
        self.many = len(members) > 1
        self.state = jax.tree.map(lambda *each: jnp.stack(each), *states) if self.many else states[0]
        train = self.stack.task.train
        flat = first.architecture.startswith("mlp")
        self.images = jnp.asarray(
            train.images.reshape(len(train.labels), -1) if flat else train.images.transpose(0, 2, 3, 1)
        )
        self.labels = jnp.asarray(train.labels)
        about = tuple(sorted(first.rule.parameters.items()))
        self.run = compiled(first.rule.pathway, first.rule.update, about, first.weight_decay, self.many)

    def learn(self, step: int, until: int) -> np.ndarray:
        """The losses (updates, k) before each of these updates."""
        orders = np.stack([self.stack.seen(each) for each in range(step, until)], axis=1)
        self.state, losses = self.run(
            self.state, self.images, self.labels, jnp.asarray(orders if self.many else orders[0])
        )
        found = np.asarray(jax.block_until_ready(losses))
        return found.T if self.many else found[:, None]


def train(member: NetworkSpec, probe: int = 256, checkpoints: int = 21) -> np.ndarray:
    """Train one network of fully connected layers; (checkpoints, layers, 45) of the engine's own statistics."""
    peer, seen, done = Peer([member]), [], 0
    stimuli = peer.stack.probe(probe)
    for until in loop.checkpoint_steps(member.steps, checkpoints):
        if until > done:
            peer.learn(done, until)
        for layer, ours in zip(peer.stack.network.layers, peer.state["layers"], strict=True):
            for name in ("weight", "bias"):
                getattr(layer, name).detach()[0] = torch.from_numpy(np.array(ours[name]))
        statistics = loop.observe(peer.stack, stimuli)[2]
        seen.append(statistics[0, 0].numpy())
        done = until
    return np.stack(seen)
