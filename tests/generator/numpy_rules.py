"""Learning rules again, in plain float64 numpy: `run` trains one MLP, `UPDATES` holds the updates alone.

Written from the rules' definitions, without looking at the engine. `CASES` says what else is to be expected of a pathway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Drawn = Callable[[int, str, int], Any]
BN_EPS = 1e-5


@dataclass
class Net:
    """An MLP: weights (out, in) per layer; biases (out,) or None; batch-norm gains and shifts of the hidden layers."""

    weights: list[Array]
    biases: list[Array | None]
    gains: list[Array] = field(default_factory=list)
    shifts: list[Array] = field(default_factory=list)
    phi: str = "relu"


# ------------------------------------------------------------------------------------------------ updates


ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
DEFAULTS: dict[str, dict[str, float]] = {
    "sgd": {},
    "momentum": {"mu": 0.9},
    "nesterov": {"mu": 0.9},
    "rmsprop": {"rho": 0.9, "eps": 1e-8},
    "adam": ADAM,
    "adamw": ADAM,
    "sign_sgd": {},
    "lion": {"beta1": 0.9, "beta2": 0.99},
    "muon": {"mu": 0.95, **ADAM},
    "exponentiated_gradient": {"part": 0.1},
    "p_norm": {"p": 3.0},
}


class Update:
    """One update rule with its own state; `step` gives the new arrays and leaves the given ones as they are.

    The decay is the caller's: lambda W joins g before the step, or (`decoupled`) W *= 1 - eta lambda before it.
    """

    def __init__(self, name: str, shapes: Sequence[tuple[int, ...]], **parameters: float) -> None:
        if set(parameters) - set(DEFAULTS[name]):
            raise TypeError(f"{name} has no parameters {sorted(set(parameters) - set(DEFAULTS[name]))}")
        self.name = name
        self.decoupled = name in ("adamw", "lion", "muon")
        self.p = {**DEFAULTS[name], **parameters}
        self.t = 0
        self.m = [np.zeros(shape) for shape in shapes]
        self.v = [np.zeros(shape) for shape in shapes]
        self.parts: list[tuple[Array, Array] | None] = [None for _ in shapes]

    def step(self, arrays: list[Array], gradients: list[Array], rate: float) -> list[Array]:
        """One update of every tensor."""
        self.t += 1
        new = []
        for i in range(len(self.m)):
            w, g = np.array(arrays[i], dtype=np.float64), np.array(gradients[i], dtype=np.float64)
            if not w.shape == g.shape == self.m[i].shape or not len(arrays) == len(gradients) == len(self.m):
                raise ValueError(f"tensor {i}: {w.shape}, gradient {g.shape}, expected {self.m[i].shape}")
            new.append(self.one(i, w, g, rate))
        return new

    def one(self, i: int, w: Array, g: Array, eta: float) -> Array:
        """The new value of tensor i; m, v and parts are its state, zero (unknown) at the start."""
        p, new = self.p, w
        if self.name == "sgd":  # w -= eta g
            new = w - eta * g
        elif self.name == "momentum":  # v = mu v + g; w -= eta v
            self.v[i] = p["mu"] * self.v[i] + g
            new = w - eta * self.v[i]
        elif self.name == "nesterov":  # v = mu v + g; w -= eta (g + mu v)
            self.v[i] = p["mu"] * self.v[i] + g
            new = w - eta * (g + p["mu"] * self.v[i])
        elif self.name == "rmsprop":  # v = rho v + (1-rho) g^2; w -= eta g / (sqrt(v) + eps)
            self.v[i] = p["rho"] * self.v[i] + (1 - p["rho"]) * g**2
            new = w - eta * g / (np.sqrt(self.v[i]) + p["eps"])
        elif self.name in ("adam", "adamw") or (self.name == "muon" and w.ndim < 2):
            # m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= eta m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps)
            self.m[i] = p["beta1"] * self.m[i] + (1 - p["beta1"]) * g
            self.v[i] = p["beta2"] * self.v[i] + (1 - p["beta2"]) * g**2
            m_hat = self.m[i] / (1 - p["beta1"] ** self.t)
            v_hat = self.v[i] / (1 - p["beta2"] ** self.t)
            new = w - eta * m_hat / (np.sqrt(v_hat) + p["eps"])
        elif self.name == "sign_sgd":  # w -= eta sign(g)
            new = w - eta * np.sign(g)
        elif self.name == "lion":  # c = b1 m + (1-b1) g; w -= eta sign(c); m = b2 m + (1-b2) g
            c = p["beta1"] * self.m[i] + (1 - p["beta1"]) * g
            self.m[i] = p["beta2"] * self.m[i] + (1 - p["beta2"]) * g
            new = w - eta * np.sign(c)
        elif self.name == "muon":  # M = mu M + g; w -= 0.2 sqrt(max(rows, columns)) eta NS(g + mu M)
            self.m[i] = p["mu"] * self.m[i] + g
            matrix = (g + p["mu"] * self.m[i]).reshape(w.shape[0], -1)
            new = w - 0.2 * np.sqrt(max(matrix.shape)) * eta * newton_schulz(matrix).reshape(w.shape)
        elif self.name == "exponentiated_gradient" and w.ndim >= 2:  # w *= exp(-eta sign(w) g)
            new = w * np.exp(-eta * np.sign(w) * g)
        elif self.name == "exponentiated_gradient":  # b = plus + minus, plus minus = -part^2, each as a matrix above
            held = self.parts[i]
            if held is None:  # the roots z of z^2 - b z - part^2 = 0: their sum is b, their product -part^2
                root = np.sqrt(w**2 + 4 * p["part"] ** 2)
                held = ((w + root) / 2, (w - root) / 2)
            if not np.allclose(held[0] + held[1], w, rtol=1e-6, atol=1e-6):
                raise ValueError("a vector was moved from outside: its parts are no longer known")
            plus = held[0] * np.exp(-eta * np.sign(held[0]) * g)
            minus = held[1] * np.exp(-eta * np.sign(held[1]) * g)
            self.parts[i] = (plus, minus)
            new = plus + minus
        elif self.name == "p_norm":  # psi = sum |w|^p / p; z = sign(w) |w|^(p-1) - eta g; w = sign(z) |z|^(1/(p-1))
            z = np.sign(w) * np.abs(w) ** (p["p"] - 1) - eta * g
            new = np.sign(z) * np.abs(z) ** (1 / (p["p"] - 1))
        return new


def newton_schulz(x: Array) -> Array:
    """x = x/(|x|_F + 1e-7); five times x = 3.4445 x - 4.7750 (x x^T) x + 2.0315 (x x^T)^2 x."""
    x = x / (np.sqrt(np.sum(x**2)) + 1e-7)
    for _ in range(5):
        s = x @ x.T
        x = 3.4445 * x - 4.7750 * (s @ x) + 2.0315 * (s @ s @ x)
    return x


UPDATES: dict[str, Callable[..., Update]] = {name: partial(Update, name) for name in DEFAULTS}

# ------------------------------------------------------------------------------------------------ the network


@dataclass
class Hidden:
    """What one hidden layer's pass leaves behind: x (read), a (= W x + b), a_norm (empty without BN), a_hat, y."""

    x: Array
    a: Array
    a_norm: Array
    a_hat: Array
    y: Array


def forward(net: Net, x: Array) -> tuple[list[Hidden], Array, Array]:
    """The hidden layers' records, what the last layer reads, the logits."""
    records = []
    for layer in range(len(net.weights) - 1):
        a = x @ net.weights[layer].T
        bias = net.biases[layer]
        if bias is not None:
            a = a + bias
        a_norm, a_hat = np.zeros(0), a
        if net.gains:  # biased variance of the batch
            a_norm = (a - np.mean(a, axis=0)) / np.sqrt(np.var(a, axis=0) + BN_EPS)
            a_hat = net.gains[layer] * a_norm + net.shifts[layer]
        y = np.tanh(a_hat) if net.phi == "tanh" else np.maximum(a_hat, 0.0)
        records.append(Hidden(x, a, a_norm, a_hat, y))
        x = y
    logits = x @ net.weights[-1].T
    last = net.biases[-1]
    if last is not None:
        logits = logits + last
    return records, x, logits


def loss_and_error(logits: Array, labels: npt.NDArray[np.int64]) -> tuple[float, Array, Array]:
    """L = mean -log softmax(logits)[label]; e = (softmax - y*) / b, the gradient of L at the logits; y* one-hot."""
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    target = np.zeros_like(logits)
    target[np.arange(len(labels)), labels] = 1.0
    loss = float(-np.sum(target * log_p) / len(labels))
    return loss, (np.exp(log_p) - target) / len(labels), target


def hidden_backward(net: Net, layer: int, record: Hidden, error: Array) -> tuple[Array, Array, Array]:
    """From the error at y of this layer: delta at a, gradient of gain, of shift (both empty without batch norm)."""
    d_hat = error * (1 - record.y**2) if net.phi == "tanh" else error * (record.a_hat > 0)
    if not net.gains:
        return d_hat, np.zeros(0), np.zeros(0)
    n = len(error)
    centred = record.a - np.mean(record.a, axis=0)
    s = np.sqrt(np.var(record.a, axis=0) + BN_EPS)  # a_norm = centred / s
    d_norm = d_hat * net.gains[layer]
    d_var = np.sum(d_norm * centred * -0.5 * s**-3, axis=0)
    d_mean = np.sum(-d_norm / s, axis=0) + d_var * np.mean(-2 * centred, axis=0)
    delta: Array = d_norm / s + d_var * 2 * centred / n + d_mean / n
    return delta, np.sum(d_hat * record.a_norm, axis=0), np.sum(d_hat, axis=0)


def gradients(
    net: Net, x: Array, labels: npt.NDArray[np.int64], pathway: str, backward: list[Any], direct: list[Array]
) -> tuple[float, Net, list[Array]]:
    """The loss, the (pathway's) gradients laid out as a net, and what each layer reads.

    The error below layer l is M_l^T delta_l with M = `backward`; dW = sum_b delta x^T, db = sum_b delta.
    dfa: the error at y_l is D_l e; drtp: D_l (-y*/b).
    """
    records, read, logits = forward(net, x)
    loss, e, target = loss_and_error(logits, labels)
    last = len(net.weights) - 1
    grad = Net([np.zeros_like(w) for w in net.weights], [None for _ in net.weights], [], [], net.phi)
    grad.gains = [np.zeros_like(gain) for gain in net.gains]
    grad.shifts = [np.zeros_like(shift) for shift in net.shifts]
    reads = [record.x for record in records] + [read]
    delta = e
    for layer in range(last, -1, -1):
        if layer < last:
            if pathway == "dfa":
                error = e @ direct[layer].T
            elif pathway == "drtp":
                error = (-target / len(labels)) @ direct[layer].T
            else:
                error = delta @ backward[layer + 1]
            delta, d_gain, d_shift = hidden_backward(net, layer, records[layer], error)
            if net.gains:
                grad.gains[layer], grad.shifts[layer] = d_gain, d_shift
        grad.weights[layer] = delta.T @ reads[layer]
        if net.biases[layer] is not None:
            grad.biases[layer] = np.sum(delta, axis=0)
    return loss, grad, reads


# ------------------------------------------------------------------------------------------------ the pathways

ALIGNMENTS: dict[str, dict[str, float]] = {
    "weight_mirror": {"alpha": 0.5, "beta": 1.0, "feedback_rate": 0.001},
    "symmetric_alignment": {"alpha": 0.5, "beta": 1.0, "feedback_rate": 0.001},
    "activation_alignment": {"alpha": 0.5, "beta": 1.0, "feedback_rate": 0.001},
    "ia": {"alpha": 8.0, "beta": 1.0, "gamma": 0.3, "feedback_rate": 0.001},
}
SIGNS = ("uniform_sign", "batchwise_sign", "fixed_sign")
WITH_B = ("fa", "kolen_pollack", "fixed_sign", *ALIGNMENTS)
PATHWAYS = ("bp", "dfa", "drtp", "none", "read_out_only", "random_walk", "uniform_sign", "batchwise_sign", *WITH_B)


def alignment_gradient(pathway: str, w: Array, b: Array, x: Array, c: dict[str, float]) -> Array:
    """The gradient at B of the alignment loss of one layer, W constant; p_f = W x, p_b = B x, <.> over samples.

    amp = -<p_f . p_b>           d/dB = -<p_f x^T>
    null = <|B^T p_f|^2>         d/dB = 2 <p_f p_f^T> B
    decay = |B|^2                d/dB = 2 B
    self = -tr(B^T W)            d/dB = -W
    sparse = <|p_f|^2 + |p_b|^2> d/dB = 2 <p_b x^T>
    """
    n = len(x)
    p_f, p_b = x @ w.T, x @ b.T
    amp = -(p_f.T @ x) / n
    null = 2 * (p_f.T @ p_f) @ b / n
    sparse = 2 * (p_b.T @ x) / n
    if pathway == "ia":
        return c["alpha"] * amp + c["beta"] * null + c["gamma"] * 2 * b
    if pathway == "weight_mirror":  # x is white noise here
        return c["beta"] * amp + c["alpha"] * 2 * b
    if pathway == "symmetric_alignment":
        return c["beta"] * -w + c["alpha"] * 2 * b
    return c["beta"] * amp + c["alpha"] * sparse  # activation_alignment


def flat(net: Net) -> list[Array]:
    """W1, b1, W2, b2, ..., gain1, shift1, ...; absent ones are skipped."""
    out = []
    for w, b in zip(net.weights, net.biases, strict=True):
        out += [w] if b is None else [w, b]
    for gain, shift in zip(net.gains, net.shifts, strict=True):
        out += [gain, shift]
    return out


def unflat(net: Net, tensors: list[Array]) -> Net:
    """A net laid out as `net` from the list of `flat`."""
    rest = [np.array(tensor, dtype=np.float64) for tensor in tensors]
    new = Net([], [], [], [], net.phi)
    for b in net.biases:
        new.weights.append(rest.pop(0))
        new.biases.append(None if b is None else rest.pop(0))
    for _ in net.gains:
        new.gains.append(rest.pop(0))
        new.shifts.append(rest.pop(0))
    return new


def stepped(rule: Update, arrays: list[Array], grads: list[Array], rate: float, decay: float) -> list[Array]:
    """Matrices: g += lambda W, or W *= (1 - rate lambda) when decoupled; then the update."""
    for i in range(len(arrays)):
        if arrays[i].ndim >= 2 and rule.decoupled:
            arrays[i] = arrays[i] * (1 - rate * decay)
        elif arrays[i].ndim >= 2:
            grads[i] = grads[i] + decay * arrays[i]
    return rule.step(arrays, grads, rate)


def run(
    pathway: str,
    update: str,
    net: Net,
    batches: Sequence[tuple[Any, Any]],
    rate: float,
    decay: float = 0.0,
    own: dict[str, list[Any]] | None = None,
    drawn: Drawn | None = None,
    parameters: dict[str, Any] | None = None,
) -> tuple[Net, dict[str, list[Any]], list[float]]:
    """The net after one update per batch, the rule's own weights then, each batch's loss before its update."""
    if pathway not in PATHWAYS or update not in UPDATES or net.phi not in ("relu", "tanh"):
        raise ValueError(f"unknown pathway, update or phi: {pathway}, {update}, {net.phi}")
    over = dict(parameters or {})
    factory = UPDATES[update]
    unknown = set(over) - set(DEFAULTS[update]) - set(ALIGNMENTS.get(pathway, {})) - {"scale"}
    if unknown:
        raise ValueError(f"no parameters {sorted(unknown)} in {pathway}, {update}")
    chosen = {name: over[name] for name in over if name in DEFAULTS[update]}
    coefficients = {name: over.get(name, value) for name, value in ALIGNMENTS.get(pathway, {}).items()}

    def draw(step: int, what: str, index: int) -> Array:
        if drawn is None:
            raise ValueError(f"{pathway} needs drawn")
        return np.array(drawn(step, what, index), dtype=np.float64)

    def copied(values: list[Any]) -> list[Any]:
        return [None if value is None else np.array(value, dtype=np.float64) for value in values]

    net = unflat(net, flat(net))
    state = {name: copied(values) for name, values in (own or {}).items()}
    layers = len(net.weights)
    feedback = copied(state["feedback"]) if pathway in WITH_B else []
    direct = state["direct"] if pathway in ("dfa", "drtp") else []
    tensors = flat(net)
    read_out = [i for i in range(len(tensors)) if tensors[i] is net.weights[-1] or tensors[i] is net.biases[-1]]
    moving = read_out if pathway == "read_out_only" else list(range(len(tensors)))
    rule = factory([tensors[i].shape for i in moving], **chosen)
    feedback_rules: list[Any] = [None]  # one for each B_l, l >= 2
    for w in net.weights[1:]:
        feedback_rules.append(UPDATES["adam"]([w.shape]) if pathway in ALIGNMENTS else factory([w.shape], **chosen))

    losses = []
    for step, (x_given, labels_given) in enumerate(batches):
        x, labels = np.array(x_given, dtype=np.float64), np.array(labels_given, dtype=np.int64)

        # the matrices M of the way back
        backward: list[Any] = [None]
        for layer in range(1, layers):
            w = net.weights[layer]
            if pathway == "uniform_sign":  # M = s sign(W)
                m = over["scale"][layer] * np.sign(w)
            elif pathway == "batchwise_sign":  # M = s |N| sign(W)
                m = over["scale"][layer] * np.abs(draw(step, "feedback", layer)) * np.sign(w)
            elif pathway == "fixed_sign":  # M = |B| sign(W), B as given at the start
                m = np.abs(feedback[layer]) * np.sign(w)
            elif pathway in WITH_B:  # M = B
                m = feedback[layer]
            else:  # M = W
                m = w
            backward.append(m)
        if pathway in SIGNS:
            state["feedback"] = copied(backward)

        loss, grad, reads = gradients(net, x, labels, pathway, backward, direct)
        losses.append(loss)
        if pathway == "none":
            continue
        tensors, grads = flat(net), flat(grad)
        if pathway == "random_walk":  # g = n |g| / |n|
            for i in range(len(grads)):
                noise = draw(step, "walk", i)
                grads[i] = noise * np.sqrt(np.sum(grads[i] ** 2)) / np.sqrt(np.sum(noise**2))

        # B moves: W is still as before its own move
        for layer in range(1, layers):
            if pathway == "kolen_pollack":  # the same gradient, rule and decay as W's
                moved = stepped(feedback_rules[layer], [feedback[layer]], [grad.weights[layer]], rate, decay)
                feedback[layer] = moved[0]
            elif pathway in ALIGNMENTS:
                read = draw(step, "mirror", layer) if pathway == "weight_mirror" else reads[layer]
                g_b = alignment_gradient(pathway, net.weights[layer], feedback[layer], read, coefficients)
                feedback[layer] = feedback_rules[layer].step([feedback[layer]], [g_b], coefficients["feedback_rate"])[0]
        if pathway == "kolen_pollack" or pathway in ALIGNMENTS:
            state["feedback"] = copied(feedback)

        new = stepped(rule, [tensors[i] for i in moving], [grads[i] for i in moving], rate, decay)
        for place, i in enumerate(moving):
            tensors[i] = new[place]
        net = unflat(net, tensors)
    return net, state, losses


# ------------------------------------------------------------------------------------------------ what to expect


@dataclass(frozen=True)
class Case:
    """What a pathway must do on an mlp3.

    Args:
        own: names of the pathway's own weights.
        moves: whether learning moves them.
        top: whether the last layer learns as in backpropagation.
        learns: whether the loss of a batch that is shown again and again falls.
    """

    own: frozenset[str] = frozenset()
    moves: bool = False
    top: bool = True
    learns: bool = True


LAYERED = frozenset({"fc2.feedback", "fc3.feedback"})
DIRECT = frozenset({"fc1.direct_feedback", "fc2.direct_feedback"})
CASES = {
    "bp": Case(),
    "fa": Case(LAYERED),
    "ia": Case(LAYERED, moves=True),
    "dfa": Case(DIRECT),
    "drtp": Case(DIRECT),
    "kolen_pollack": Case(LAYERED, moves=True),
    "weight_mirror": Case(LAYERED, moves=True),
    "symmetric_alignment": Case(LAYERED, moves=True),
    "activation_alignment": Case(LAYERED, moves=True),
    "uniform_sign": Case(LAYERED, moves=True),
    "batchwise_sign": Case(LAYERED, moves=True),
    "fixed_sign": Case(LAYERED, moves=True),
    "none": Case(top=False, learns=False),
    "read_out_only": Case(),
    "random_walk": Case(top=False, learns=False),
}
