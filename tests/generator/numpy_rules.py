"""Learning rules again, in plain float64 numpy: `run` trains one MLP, `UPDATES` holds the updates alone.

Written from the rules' definitions, without looking at the engine. `CASES` says what else is to be expected of a
pathway.
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


def phi_of(net: Net, a: Array) -> Array:
    """phi(a)."""
    y: Array = np.tanh(a) if net.phi == "tanh" else np.maximum(a, 0.0)
    return y


def slope_of(net: Net, a: Array) -> Array:
    """phi'(a), of relu 0 at 0."""
    slope: Array = 1 - np.tanh(a) ** 2 if net.phi == "tanh" else (a > 0).astype(np.float64)
    return slope


def affine(net: Net, layer: int, x: Array) -> Array:
    """W x + b of one layer."""
    bias = net.biases[layer]
    a = x @ net.weights[layer].T
    return a if bias is None else a + bias


def of_unit_length(x: Array) -> Array:
    """x / (r + 1e-8) by row, r^2 the mean of the row's x^2."""
    unit: Array = x / (np.sqrt(np.mean(x**2, axis=1, keepdims=True)) + 1e-8)
    return unit


def forward(
    net: Net, x: Array, nudges: Sequence[Array] = (), rescaled: bool = False
) -> tuple[list[Hidden], Array, Array]:
    """The hidden layers' records, what the last layer reads, the logits; nudges[l] joins layer l's a = W x + b.

    `rescaled`: each hidden layer but the first reads its input divided by its length.
    """
    records = []
    for layer in range(len(net.weights) - 1):
        if rescaled and layer > 0:
            x = of_unit_length(x)
        a = x @ net.weights[layer].T
        bias = net.biases[layer]
        if bias is not None:
            a = a + bias
        if layer < len(nudges):
            a = a + nudges[layer]
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
    if len(net.weights) == len(nudges):
        logits = logits + nudges[-1]
    return records, x, logits


def log_softmax(logits: Array) -> Array:
    """Of each row."""
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_p: Array = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return log_p


def loss_and_error(logits: Array, labels: npt.NDArray[np.int64]) -> tuple[float, Array, Array]:
    """L = mean -log softmax(logits)[label]; e = (softmax - y*) / b, the gradient of L at the logits; y* one-hot."""
    log_p = log_softmax(logits)
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


def laid_out(net: Net, deltas: Sequence[Array], reads: Sequence[Array]) -> Net:
    """Gradients laid out as `net`: dW = sum_b delta x^T, db = sum_b delta; of gains and shifts 0."""
    grad = Net([], [], [np.zeros_like(gain) for gain in net.gains], [np.zeros_like(s) for s in net.shifts], net.phi)
    for delta, read, bias in zip(deltas, reads, net.biases, strict=True):
        grad.weights.append(delta.T @ read)
        grad.biases.append(None if bias is None else np.sum(delta, axis=0))
    return grad


def gradients(
    net: Net,
    x: Array,
    labels: npt.NDArray[np.int64],
    pathway: str,
    backward: list[Any],
    direct: list[Array],
    at_logits: Array | None = None,
) -> tuple[float, Net, list[Array]]:
    """The loss, the (pathway's) gradients laid out as a net, and what each layer reads.

    The error below layer l is M_l^T delta_l with M = `backward`; dW = sum_b delta x^T, db = sum_b delta.
    dfa: the error at y_l is D_l e; drtp: D_l (-y*/b). `at_logits` takes the place of e.
    """
    records, read, logits = forward(net, x)
    loss, e, target = loss_and_error(logits, labels)
    if at_logits is not None:
        e = at_logits
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
TARGETS: dict[str, dict[str, float]] = {  # through learned ways back
    "target_prop": {"step": 0.1, "noise": 0.1, "feedback_rate": 0.001},
    "local_target_prop": {"step": 0.1, "noise": 0.1, "feedback_rate": 0.001},
}
WITH_B = ("fa", "kolen_pollack", "fixed_sign", "burst", *ALIGNMENTS, *TARGETS)
FORWARD: dict[str, dict[str, float]] = {  # no exact way back: forward passes, rewards, losses of each layer
    "weight_perturbation": {"sigma": 0.001},
    "forward_gradient": {},
    "node_perturbation": {"sigma": 0.01},
    "reinforce": {"sigma": 0.1, "memory": 0.99},
    "brain_prop": {"epsilon": 0.02},
    "local_loss": {"beta": 0.99},
    "pepita": {},
}
HEBBIAN: dict[str, dict[str, float]] = {  # hidden layers without labels; their weights alone and the read-out learn
    "hebb": {},
    "oja": {},
    "bcm": {"memory": 0.9},
    "krotov_hopfield": {"delta": 0.4, "rank": 2.0},
    "soft_hebb": {"tau": 1.0},
    "similarity_matching": {},
}
CONTRASTIVE: dict[str, dict[str, float]] = {  # two versions of each stimulus, a loss of each hidden layer
    "latent_predictive": {"push": 1.0, "decorrelate": 10.0},
    "forward_forward": {"threshold": 1.0, "strength": 1.0},
}
SETTLING: dict[str, dict[str, float]] = {  # the hidden layers' states settle
    "predictive_coding": {"gamma": 0.1, "steps": 20.0},
    "incremental_predictive_coding": {"gamma": 0.1, "steps": 20.0},
    "equilibrium_propagation": {"gamma": 0.1, "beta": 0.5, "steps": 20.0},
    "contrastive_hebbian": {"gamma": 0.1, "steps": 20.0},
    "dual_propagation": {"beta": 1.0, "sweeps": 2.0},
}
DIRECT_TARGETS: dict[str, dict[str, float]] = {
    "direct_target_prop": {"noise": 0.1, "damping": 0.1, "feedback_rate": 0.001}
}
COEFFICIENTS = {**ALIGNMENTS, **FORWARD, **TARGETS, **HEBBIAN, **CONTRASTIVE, **SETTLING, **DIRECT_TARGETS}
WEIGHTS_ONLY = ("node_perturbation", "reinforce", "pepita", *CONTRASTIVE)  # gains and shifts do not learn
WITHOUT_BN = ("burst", *TARGETS, *DIRECT_TARGETS, *SETTLING)
PLAIN = ("bp", "dfa", "drtp", "none", "read_out_only", "random_walk", "uniform_sign", "batchwise_sign")
PATHWAYS = (*PLAIN, *WITH_B, *FORWARD, *HEBBIAN, *CONTRASTIVE, *SETTLING, *DIRECT_TARGETS)


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


def node_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], nudges: list[Array], sigma: float
) -> tuple[float, Net]:
    """Loss of the clean pass; g_l = <change / sigma^2 xi_l x~_l^T>, change of each sample's loss by the nudges."""
    logits = forward(net, x)[2]
    records, read, noisy_logits = forward(net, x, nudges)
    rows = np.arange(len(labels))
    change = -log_softmax(noisy_logits)[rows, labels] + log_softmax(logits)[rows, labels]
    deltas = [change[:, None] / sigma**2 * xi / len(labels) for xi in nudges]
    return loss_and_error(logits, labels)[0], laid_out(net, deltas, [*(record.x for record in records), read])


def guessed(p: Array, u: Array) -> npt.NDArray[np.int64]:
    """For each row the smallest class c with p_0 + ... + p_c >= u, at most the last one."""
    guess = np.zeros(len(p), dtype=np.int64)
    for s in range(len(p)):
        total = p[s, 0]
        while total < u[s] and guess[s] < p.shape[1] - 1:
            guess[s] += 1
            total = total + p[s, guess[s]]
    return guess


def reinforce_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], nudges: list[Array], sigma: float, u: Array, baseline: float
) -> tuple[float, Net, float]:
    """Loss of the nudged pass, gradient, mean reward; nudges on the hidden layers only.

    g_l = -<(r - baseline) eligibility_l x_l^T>, eligibility xi_l / sigma^2, of the last layer onehot(guess) - p.
    """
    records, read, logits = forward(net, x, nudges)
    p = np.exp(log_softmax(logits))
    guess = guessed(p, u)
    reward = (guess == labels).astype(np.float64)
    eligibilities = [xi / sigma**2 for xi in nudges]
    eligibilities.append(np.eye(p.shape[1])[guess] - p)
    deltas = [-(reward - baseline)[:, None] * eligibility / len(x) for eligibility in eligibilities]
    grad = laid_out(net, deltas, [*(record.x for record in records), read])
    return loss_and_error(logits, labels)[0], grad, float(np.mean(reward))


def brain_prop_error(q: Array, labels: npt.NDArray[np.int64], epsilon: float, explore: Array, u: Array) -> Array:
    """The gradient at the logits of <(q_guess - r)^2 / 2>: (q_guess - r) / b at the guess, 0 elsewhere."""
    guess = np.where(explore < epsilon, guessed(np.exp(log_softmax(q)), u), np.argmax(q, axis=1))
    rows = np.arange(len(q))
    error = np.zeros_like(q)
    error[rows, guess] = (q[rows, guess] - (guess == labels)) / len(q)
    return error


def unit_rows(x: Array) -> tuple[Array, Array, Array]:
    """Xn = Xc / (1e-8 + |Xc|) by row, Xc = X less each row's mean, |Xc| as a column."""
    centred = x - np.mean(x, axis=1, keepdims=True)
    norm = np.sqrt(np.sum(centred**2, axis=1, keepdims=True))
    return centred / (1e-8 + norm), centred, norm


def local_loss(h: Array, readout: Array, labels: npt.NDArray[np.int64], beta: float) -> tuple[float, Array, Array]:
    """One layer's own loss, its gradient at h and at the read-out.

    (1 - beta) <cross-entropy of h R^T> + beta <(S(h) - S(Y))^2>, S(X) = Xn Xn^T.
    """
    cross_entropy, e, target = loss_and_error(h @ readout.T, labels)
    unit, centred, norm = unit_rows(h)
    of_labels = unit_rows(target)[0]
    gap = unit @ unit.T - of_labels @ of_labels.T
    d_unit = 2 * (2 * gap / gap.size) @ unit  # both factors of S, gap symmetric
    along = np.sum(d_unit * centred, axis=1, keepdims=True) / np.where(norm > 0, norm, 1.0)  # at 0: |Xc| constant
    d_centred = d_unit / (1e-8 + norm) - along * centred / (1e-8 + norm) ** 2
    d_h = d_centred - np.mean(d_centred, axis=1, keepdims=True)
    loss = (1 - beta) * cross_entropy + beta * float(np.mean(gap**2))
    return loss, (1 - beta) * e @ readout + beta * d_h, (1 - beta) * e.T @ h


def local_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], readouts: list[Array], beta: float
) -> tuple[float, Net, list[Array]]:
    """The network's loss; each hidden layer's gradient of its own loss, the last layer's of the network's; dR."""
    records, read, logits = forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    deltas, vectors, d_readouts = [], [], []
    for layer, record in enumerate(records):
        _, error, d_readout = local_loss(record.y, readouts[layer], labels, beta)
        delta, d_gain, d_shift = hidden_backward(net, layer, record, error)
        deltas.append(delta)
        vectors.append((d_gain, d_shift))
        d_readouts.append(d_readout)
    grad = laid_out(net, [*deltas, e], [*(record.x for record in records), read])
    if net.gains:
        grad.gains, grad.shifts = [gain for gain, _ in vectors], [shift for _, shift in vectors]
    grad.weights[-1] = (1 - beta) * grad.weights[-1]
    if grad.biases[-1] is not None:
        grad.biases[-1] = (1 - beta) * grad.biases[-1]
    return loss, grad, d_readouts


def pepita_gradient(net: Net, x: Array, labels: npt.NDArray[np.int64], projection: Array) -> tuple[float, Net]:
    """Loss of the first pass; g_l = <(h_l - h'_l) x'_l^T>, ' the pass that reads x + F e, of the last layer <e x'^T>.

    h = phi(.), or what batch norm is given, where there is one.
    """
    records, _, logits = forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    e = e * len(x)
    again, read, _ = forward(net, x + e @ projection.T)
    deltas = []
    for first, second in zip(records, again, strict=True):
        deltas.append((first.a - second.a if net.gains else first.y - second.y) / len(x))
    return loss, laid_out(net, [*deltas, e / len(x)], [*(record.x for record in again), read])


def softmax(logits: Array) -> Array:
    """Of each row."""
    p: Array = np.exp(log_softmax(logits))
    return p


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    s: Array = (1 + np.tanh(x / 2)) / 2
    return s


def put_out(net: Net, record: Hidden) -> tuple[Array, Array]:
    """What a layer itself puts out, and its slope in a: phi(a), or a where batch norm is given it."""
    if net.gains:
        return record.a, np.ones_like(record.a)
    return record.y, slope_of(net, record.a)


# ---- hidden layers without labels


def hebbian_change(pathway: str, w: Array, x: Array, y: Array, c: dict[str, float], theta: Array) -> Array:
    """Delta W of one hidden layer that reads x and puts out y; u = W x; <.> over samples, i over units.

    hebb = C_i - (C_i.w_i / w_i.w_i) w_i, C = <(y - <y>) x^T>; of w_i = 0 it is C_i
    oja = <u_i x> - <u_i^2> w_i
    bcm = <y_i (y_i - theta_i) x> / (theta_i + 1e-6)
    krotov_hopfield, soft_hebb = <q_i (x - u_i w_i)>, q by the order of a sample's u; of equals the first comes first
    """
    n, rows = len(x), np.arange(len(x))
    if pathway == "hebb":
        together = (y - np.mean(y, axis=0)).T @ x / n
        square = np.sum(w**2, axis=1, keepdims=True)
        along = np.sum(together * w, axis=1, keepdims=True) / np.where(square > 0, square, 1.0)
        return np.asarray(together - along * w)
    if pathway == "oja":
        u = x @ w.T
        return np.asarray(u.T @ x / n - np.mean(u**2, axis=0)[:, None] * w)
    if pathway == "bcm":
        return np.asarray((y * (y - theta)).T @ x / n / (theta + 1e-6)[:, None])
    u = x @ w.T
    order = np.argsort(-u, axis=1, kind="stable")  # the largest first
    if pathway == "krotov_hopfield":
        rank = min(int(c["rank"]), len(w))
        if rank < 1:
            raise ValueError("rank counts from 1")
        q = np.zeros_like(u)
        q[rows, order[:, rank - 1]] = -c["delta"]
        q[rows, order[:, 0]] = 1.0
    else:  # soft_hebb
        s = softmax(u / c["tau"])
        q = -s
        q[rows, order[:, 0]] = s[rows, order[:, 0]]
    return np.asarray(q.T @ x / n - np.mean(q * u, axis=0)[:, None] * w)


def matching_change(w: Array, m: Array, x: Array) -> tuple[Array, Array]:
    """Delta W, Delta M of one layer: <z_i x> - <z_i^2> w_i, <z_i z_j> - <z_i^2> M_ij (i != j), z = (I + M)^-1 W x."""
    z = np.linalg.solve(np.eye(len(m)) + m, w @ x.T).T
    strength = np.mean(z**2, axis=0)[:, None]
    d_m = z.T @ z / len(x) - strength * m
    np.fill_diagonal(d_m, 0.0)
    return z.T @ x / len(x) - strength * w, d_m


def hebbian_gradient(
    pathway: str,
    net: Net,
    x: Array,
    labels: npt.NDArray[np.int64],
    c: dict[str, float],
    thetas: list[Array],
    laterals: list[Array],
) -> tuple[float, Net, list[Array], list[Array]]:
    """The network's loss; g = -Delta W of the hidden layers, the last layer's of the loss; new theta; -Delta M."""
    records, read, logits = forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    grad = laid_out(net, [*(np.zeros_like(record.a) for record in records), e], [*(r.x for r in records), read])
    new_thetas, d_laterals = [], []
    for layer, record in enumerate(records):
        w, y = net.weights[layer], put_out(net, record)[0]
        if pathway == "similarity_matching":
            change, d_m = matching_change(w, laterals[layer], record.x)
            d_laterals.append(-d_m)
        else:
            theta = thetas[layer]
            if pathway == "bcm":
                theta = c["memory"] * theta + (1 - c["memory"]) * np.mean(y**2, axis=0)
            new_thetas.append(theta)
            change = hebbian_change(pathway, w, record.x, y, c, theta)
        grad.weights[layer] = -change
    return loss, grad, new_thetas, d_laterals


def latent_loss(z1: Array, z2: Array, push: float, decorrelate: float) -> tuple[float, Array, Array]:
    """One layer's own loss of its outputs (b x M) to the plain and the moved stimuli, its gradients at both.

    mean (z1 - z2)^2 + half the sum over both z of push (-mean_i log(var_i + 1e-4)) and of
    decorrelate (sum_{i != j} cov_ij^2 / (M^2 - M)); the mean of z in var and cov counts as constant.
    """
    b, units = z1.shape
    loss = float(np.mean((z1 - z2) ** 2))
    gradients_at = []
    for z, other in ((z1, z2), (z2, z1)):
        centred = z - np.mean(z, axis=0)
        var = np.sum(centred**2, axis=0) / (b - 1)
        loss += push / 2 * float(-np.mean(np.log(var + 1e-4)))
        d_z = 2 * (z - other) / z.size
        d_z = d_z - push / 2 * 2 * centred / (b - 1) / (var + 1e-4) / units
        if units > 1:
            cov = centred.T @ centred / (b - 1)
            np.fill_diagonal(cov, 0.0)
            loss += decorrelate / 2 * float(np.sum(cov**2)) / (units**2 - units)
            d_z = d_z + decorrelate / 2 * 4 * (centred @ cov) / (b - 1) / (units**2 - units)
        gradients_at.append(d_z)
    return loss, gradients_at[0], gradients_at[1]


def moved(x: Array, shape: Sequence[int], u: Array) -> Array:
    """The images (c, h, w) rolled over (h, w) by floor(5 u) - 2, u two numbers."""
    dy, dx = (int(np.floor(5 * number)) - 2 for number in u)
    images = x.reshape(len(x), *shape)
    rolled: Array = np.roll(images, (dy, dx), axis=(2, 3)).reshape(x.shape)
    return rolled


def latent_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], aside: Array, c: dict[str, float]
) -> tuple[float, Net]:
    """The plain pass' loss; each hidden layer's gradient of its `latent_loss`, the last layer's of the plain pass."""
    _, read, logits = forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    records, _, _ = forward(net, np.concatenate([x, aside]))
    deltas = []
    for record in records:
        z, slope = put_out(net, record)
        _, d_plain, d_moved = latent_loss(z[: len(x)], z[len(x) :], c["push"], c["decorrelate"])
        deltas.append(np.concatenate([d_plain, d_moved]) * slope)
    return loss, laid_out(net, [*deltas, e], [*(record.x for record in records), read])


def goodness_loss(y: Array, threshold: float) -> tuple[float, Array]:
    """<softplus(threshold - G+)> + <softplus(G- - threshold)>, G the mean of a row's y^2, and its gradient at y.

    The first half of the rows is positive, the second negative.
    """
    half = len(y) // 2
    good = np.mean(y**2, axis=1)
    signs = np.concatenate([-np.ones(half), np.ones(half)])
    loss = float(np.sum(np.logaddexp(0.0, signs * (good - threshold)))) / half
    d_good = signs * logistic(signs * (good - threshold)) / half
    return loss, d_good[:, None] * 2 * y / y.shape[1]


def forward_forward_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], pattern: Array, u: Array, threshold: float
) -> tuple[float, Net]:
    """The plain pass' loss; each hidden layer's gradient of its `goodness_loss`, the last layer's of the plain pass.

    Positive stimuli are x + R[label], negative ones x + R[another class]; hidden layers but the first read unit length.
    """
    _, read, logits = forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    classes = len(pattern)
    other = (labels + 1 + np.floor(u * (classes - 1)).astype(np.int64)) % classes
    records, _, _ = forward(net, np.concatenate([x + pattern[labels], x + pattern[other]]), rescaled=True)
    deltas = []
    for record in records:
        y, slope = put_out(net, record)
        deltas.append(goodness_loss(y, threshold)[1] * slope)
    return loss, laid_out(net, [*deltas, e], [*(record.x for record in records), read])


# ---- targets


def target_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], feedback: list[Any], step: float
) -> tuple[float, Net, list[Array]]:
    """The loss, g_l = <delta_l x^T> with delta_l = phi' (y_l - t_l) / step, at the top e, and what each layer reads.

    t_L = logits - step e, t_{l-1} = y_{l-1} + r_l(t_l) - r_l(y_l), r_l(h) = phi(V_l^T h).
    """
    records, read, logits = forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    deltas = [e]
    y, target = logits, logits - step * e * len(x)
    for layer in range(len(records) - 1, -1, -1):
        v, record = feedback[layer + 1], records[layer]
        target = record.y + phi_of(net, target @ v) - phi_of(net, y @ v)
        y = record.y
        deltas.insert(0, slope_of(net, record.a) * (y - target) / step / len(x))
    reads = [*(record.x for record in records), read]
    return loss, laid_out(net, deltas, reads), reads


def reader_gradient(net: Net, v: Array, h: Array, d: Array) -> Array:
    """The gradient at V of the sum of d phi(V^T h)."""
    g: Array = h.T @ (d * slope_of(net, h @ v))
    return g


def target_feedback_gradient(
    pathway: str, net: Net, layer: int, v: Array, below: Array, nudge: Array, echo: Array | None, noise: float
) -> Array:
    """The gradient at V_l, the rest constant; r(h) = phi(V^T h), y of y_{l-1} = below, y' of below + nudge.

    target_prop: <|r(y') - (below + nudge)|^2> / 2
    local_target_prop: <-nudge.(r(y') - r(y)) + |r(y + echo) - r(y)|^2 / 2> / noise^2
    """

    def above(h: Array) -> Array:
        a = affine(net, layer, h)
        return a if layer == len(net.weights) - 1 else phi_of(net, a)

    nudged, n = above(below + nudge), len(below)
    if pathway == "target_prop":
        return reader_gradient(net, v, nudged, phi_of(net, nudged @ v) - (below + nudge)) / n
    if echo is None:
        raise ValueError("local_target_prop needs an echo")
    y = above(below)
    gap = phi_of(net, (y + echo) @ v) - phi_of(net, y @ v)
    g = reader_gradient(net, v, nudged, -nudge) + reader_gradient(net, v, y, nudge - gap)
    return (g + reader_gradient(net, v, y + echo, gap)) / n / noise**2


def logits_above(net: Net, layer: int, y: Array) -> Array:
    """The output if the layers above `layer` are given y."""
    for i in range(layer + 1, len(net.weights) - 1):
        y = phi_of(net, affine(net, i, y))
    return affine(net, len(net.weights) - 1, y)


def direct_target_gradient(
    net: Net,
    x: Array,
    labels: npt.NDArray[np.int64],
    direct: list[Array],
    nudges: list[Array],
    noise: float,
    damping: float,
) -> tuple[float, Net, list[Array]]:
    """The loss; g_l = <delta_l x^T>, delta_l = phi' (Q_l e), at the top e; the gradients at Q_l of its own loss.

    <|Q_l (logits'_l - logits) - nudge_l|^2> / (2 noise^2) + damping |Q_l|^2 / 2, logits'_l of y_l + nudge_l.
    """
    records, read, logits = forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    deltas, d_direct = [], []
    for layer, record in enumerate(records):
        q = direct[layer]
        deltas.append(slope_of(net, record.a) * (e @ q.T))
        change = logits_above(net, layer, record.y + nudges[layer]) - logits
        d_direct.append((change @ q.T - nudges[layer]).T @ change / len(x) / noise**2 + damping * q)
    return loss, laid_out(net, [*deltas, e], [*(record.x for record in records), read]), d_direct


# ---- settling states; `states` are x and those of the hidden layers


def predictive_errors(net: Net, states: list[Array], target: Array) -> tuple[list[Array], list[Array]]:
    """The gradients at all a_l and at the hidden states of E = sum_l |v_l - phi(a_l)|^2 / 2 + cross-entropy."""
    at_a, gaps = [], []
    for layer in range(len(states) - 1):
        a = affine(net, layer, states[layer])
        gap = states[layer + 1] - phi_of(net, a)
        gaps.append(gap)
        at_a.append(-slope_of(net, a) * gap)
    at_a.append(softmax(affine(net, len(states) - 1, states[-1])) - target)
    at_v = [gap + at_a[layer + 1] @ net.weights[layer + 1] for layer, gap in enumerate(gaps)]
    return at_a, at_v


def predictive_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], gamma: float, steps: int, incremental: bool
) -> tuple[float, Net]:
    """The plain loss; <dE/dW> after `steps` steps of v -= gamma dE/dv, or its mean over the steps, after each."""
    records, _, logits = forward(net, x)
    loss, _, target = loss_and_error(logits, labels)
    states = [x, *(record.y for record in records)]
    after = []
    for _ in range(steps):
        _, at_v = predictive_errors(net, states, target)
        states = [x, *(v - gamma * d for v, d in zip(states[1:], at_v, strict=True))]
        after.append(states)
    used = after if incremental else [states]
    if not used:
        raise ValueError("no steps to take the mean over")
    total = [np.zeros_like(tensor) for tensor in flat(net)]
    for values in used:
        at_a, _ = predictive_errors(net, values, target)
        grad = laid_out(net, [delta / len(x) / len(used) for delta in at_a], values)
        total = [t + g for t, g in zip(total, flat(grad), strict=True)]
    return loss, unflat(net, total)


def swept(net: Net, states: list[Array], gamma: float, sweeps: int, down: Callable[[Array], Array]) -> list[Array]:
    """The states after some sweeps, all at once: s_l = phi(W_l s_{l-1} + b_l + gamma W_{l+1}^T s_{l+1}).

    In the last hidden layer down(p) stands for gamma s_{l+1}, p the softmax of the old states.
    """
    top = len(states) - 1
    for _ in range(sweeps):
        p = softmax(affine(net, top, states[top]))
        new = [states[0]]
        for layer in range(top):
            carried = down(p) if layer == top - 1 else gamma * states[layer + 2]
            new.append(phi_of(net, affine(net, layer, states[layer]) + carried @ net.weights[layer + 1]))
        states = new
    return states


def difference(first: Net, second: Net) -> Net:
    """first - second."""
    return unflat(first, [a - b for a, b in zip(flat(first), flat(second), strict=True)])


def equilibrium_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], gamma: float, beta: float, steps: int
) -> tuple[float, Net]:
    """The plain loss; g_l = -gamma^{l-(L-1)} / (2 beta) <s_l+ s_{l-1}+^T - s_l- s_{l-1}-^T>, g_L at the free state."""
    records, _, logits = forward(net, x)
    loss, _, target = loss_and_error(logits, labels)
    states = [x, *(record.y for record in records)]
    free = swept(net, states, gamma, steps, lambda p: 0.0 * p)
    plus = swept(net, free, gamma, steps, lambda p: beta * (target - p))
    minus = swept(net, free, gamma, steps, lambda p: -beta * (target - p))
    layers = len(net.weights)
    scales = [gamma ** (layer + 2 - layers) / (2 * beta) / len(x) for layer in range(layers - 1)]
    at_top = (softmax(affine(net, layers - 1, free[-1])) - target) / len(x)
    low = [scale * s for scale, s in zip(scales, minus[1:], strict=True)]
    high = [scale * s for scale, s in zip(scales, plus[1:], strict=True)]
    of_minus = laid_out(net, [*low, at_top], [*minus[:-1], free[-1]])
    of_plus = laid_out(net, [*high, np.zeros_like(at_top)], plus)
    return loss, difference(of_minus, of_plus)


def contrastive_gradient(
    net: Net, x: Array, labels: npt.NDArray[np.int64], gamma: float, steps: int
) -> tuple[float, Net]:
    """The plain loss; g_l = -gamma^{l-L} <s_l s_{l-1}^T clamped - free>, s_L = y* clamped, p free."""
    records, _, logits = forward(net, x)
    loss, _, target = loss_and_error(logits, labels)
    states = [x, *(record.y for record in records)]
    free = swept(net, states, gamma, steps, lambda p: gamma * p)
    clamped = swept(net, free, gamma, steps, lambda _: gamma * target)
    layers = len(net.weights)
    scales = [gamma ** (layer + 1 - layers) / len(x) for layer in range(layers)]
    p = softmax(affine(net, layers - 1, free[-1]))
    low = [scale * s for scale, s in zip(scales, [*free[1:], p], strict=True)]
    high = [scale * s for scale, s in zip(scales, [*clamped[1:], target], strict=True)]
    return loss, difference(laid_out(net, low, free), laid_out(net, high, clamped))


def dual_gradient(net: Net, x: Array, labels: npt.NDArray[np.int64], beta: float, sweeps: int) -> tuple[float, Net]:
    """The plain loss; g_l = -<d_l zbar_{l-1}^T> / beta.

    A sweep: d_L = beta (y* - p), then from the top down z+- = phi(W_l zbar_{l-1} + b_l +- W_{l+1}^T d_{l+1} / 2),
    d_l = z+ - z-, zbar_l = (z+ + z-) / 2, in place.
    """
    records, _, logits = forward(net, x)
    loss, _, target = loss_and_error(logits, labels)
    if sweeps < 1:
        raise ValueError("dual_propagation needs a sweep")
    means = [x, *(record.y for record in records)]
    d = [np.zeros_like(value) for value in [*means[1:], logits]]  # d[layer] at the layer's output
    top = len(net.weights) - 1
    for _ in range(sweeps):
        d[top] = beta * (target - softmax(affine(net, top, means[top])))
        for layer in range(top - 1, -1, -1):
            a = affine(net, layer, means[layer])
            half = d[layer + 1] @ net.weights[layer + 1] / 2
            up, low = phi_of(net, a + half), phi_of(net, a - half)
            d[layer] = up - low
            means[layer + 1] = (up + low) / 2
    return loss, laid_out(net, [-delta / beta / len(x) for delta in d], means)


def burst_gradient(net: Net, x: Array, labels: npt.NDArray[np.int64], feedback: list[Any]) -> tuple[float, Net]:
    """delta_L = e; delta_l = y (2 logistic(4 phi' / y c / 2) - 1), c = B_{l+1}^T delta_{l+1}; 0 where y = 0."""
    records, read, logits = forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    delta = e * len(x)  # of each stimulus
    deltas = [delta]
    for layer in range(len(records) - 1, -1, -1):
        y, slope = records[layer].y, slope_of(net, records[layer].a)
        if np.any(y < 0):
            raise ValueError("burst needs a phi that is not negative")
        c = delta @ feedback[layer + 1]
        delta = y * (2 * logistic(4 * slope / np.where(y > 0, y, 1.0) * c / 2) - 1)
        deltas.insert(0, delta)
    return loss, laid_out(net, [d / len(x) for d in deltas], [*(record.x for record in records), read])


def settled_gradient(
    pathway: str, net: Net, x: Array, labels: npt.NDArray[np.int64], c: dict[str, float]
) -> tuple[float, Net]:
    """The loss and the gradient of a pathway of `SETTLING`."""
    if pathway == "equilibrium_propagation":
        return equilibrium_gradient(net, x, labels, c["gamma"], c["beta"], int(c["steps"]))
    if pathway == "contrastive_hebbian":
        return contrastive_gradient(net, x, labels, c["gamma"], int(c["steps"]))
    if pathway == "dual_propagation":
        return dual_gradient(net, x, labels, c["beta"], int(c["sweeps"]))
    incremental = pathway == "incremental_predictive_coding"
    return predictive_gradient(net, x, labels, c["gamma"], int(c["steps"]), incremental)


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


def stepped(rule: Update, arrays: list[Array], grads: list[Array], rate: float, decays: list[float]) -> list[Array]:
    """Matrices: g += lambda W, or W *= (1 - rate lambda) when decoupled; then the update. lambda of each array."""
    for i, decay in enumerate(decays):
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
    if pathway in WITHOUT_BN and net.gains:
        raise ValueError(f"{pathway} knows no batch norm")
    over = dict(parameters or {})
    factory = UPDATES[update]
    unknown = set(over) - set(DEFAULTS[update]) - set(COEFFICIENTS.get(pathway, {})) - {"scale", "shape", "hidden_rate"}
    if unknown:
        raise ValueError(f"no parameters {sorted(unknown)} in {pathway}, {update}")
    chosen = {name: over[name] for name in over if name in DEFAULTS[update]}
    coefficients = {name: over.get(name, value) for name, value in COEFFICIENTS.get(pathway, {}).items()}

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
    direct = state["direct"] if pathway in ("dfa", "drtp", "direct_target_prop") else []
    hidden_units = [len(w) for w in net.weights[:-1]]
    thetas = [np.ones(units) for units in hidden_units]
    if pathway == "similarity_matching" and "lateral" not in state:
        state["lateral"] = [np.zeros((units, units)) for units in hidden_units]
    tensors = flat(net)
    read_out = [i for i in range(len(tensors)) if tensors[i] is net.weights[-1] or tensors[i] is net.biases[-1]]
    moving = read_out if pathway == "read_out_only" else list(range(len(tensors)))
    if pathway in WEIGHTS_ONLY:
        moving = list(range(len(tensors) - 2 * len(net.gains)))
    if pathway in HEBBIAN:
        moving = [i for i in range(len(tensors)) if i in read_out or any(tensors[i] is w for w in net.weights)]
    rule = factory([tensors[i].shape for i in moving], **chosen)
    feedback_rules: list[Any] = [None]  # one for each B_l, l >= 2
    for w in net.weights[1:]:
        by_adam = pathway in ALIGNMENTS or pathway in TARGETS
        feedback_rules.append(UPDATES["adam"]([w.shape]) if by_adam else factory([w.shape], **chosen))
    direct_rules = [UPDATES["adam"]([q.shape]) for q in direct]
    readout_rules = [factory([r.shape], **chosen) for r in state["readout"]] if pathway == "local_loss" else []
    lateral_rules = [factory([m.shape], **chosen) for m in state.get("lateral", [])]
    baseline = 1 / len(net.weights[-1])  # of the reward

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

        reads: list[Array] = []
        if pathway == "node_perturbation":
            sigma = coefficients["sigma"]
            nudges = [sigma * draw(step, "nudge", layer) for layer in range(layers)]
            loss, grad = node_gradient(net, x, labels, nudges, sigma)
        elif pathway == "reinforce":
            sigma, u = coefficients["sigma"], draw(step, "guess", 0)
            nudges = [sigma * draw(step, "nudge", layer) for layer in range(layers - 1)]
            loss, grad, reward = reinforce_gradient(net, x, labels, nudges, sigma, u, baseline)
            baseline = baseline + (1 - coefficients["memory"]) * (reward - baseline)
        elif pathway == "local_loss":
            loss, grad, d_readouts = local_gradient(net, x, labels, state["readout"], coefficients["beta"])
            for layer, readout_rule in enumerate(readout_rules):  # no decay
                r = state["readout"][layer]
                state["readout"][layer] = readout_rule.step([r], [d_readouts[layer]], rate)[0]
        elif pathway == "pepita":
            loss, grad = pepita_gradient(net, x, labels, state["projection"][0])
        elif pathway == "brain_prop":
            explore, u = draw(step, "explore", 0), draw(step, "guess", 0)
            error = brain_prop_error(forward(net, x)[2], labels, coefficients["epsilon"], explore, u)
            loss, grad, reads = gradients(net, x, labels, pathway, backward, direct, error)
        elif pathway in HEBBIAN:
            laterals = state.get("lateral", [])
            loss, grad, thetas, d_laterals = hebbian_gradient(pathway, net, x, labels, coefficients, thetas, laterals)
            for layer, d_m in enumerate(d_laterals):  # no decay
                g_m = over["hidden_rate"] * d_m
                state["lateral"][layer] = lateral_rules[layer].step([laterals[layer]], [g_m], rate)[0]
        elif pathway == "latent_predictive":
            aside_x = moved(x, over["shape"], draw(step, "shift", 0))
            loss, grad = latent_gradient(net, x, labels, aside_x, coefficients)
        elif pathway == "forward_forward":
            pattern, u, threshold = state["pattern"][0], draw(step, "other", 0), coefficients["threshold"]
            loss, grad = forward_forward_gradient(net, x, labels, pattern, u, threshold)
        elif pathway in TARGETS:
            loss, grad, reads = target_gradient(net, x, labels, feedback, coefficients["step"])
        elif pathway == "direct_target_prop":
            noise, damping = coefficients["noise"], coefficients["damping"]
            nudges = [noise * draw(step, "nudge", layer) for layer in range(layers - 1)]
            loss, grad, d_direct = direct_target_gradient(net, x, labels, direct, nudges, noise, damping)
            for layer, g_q in enumerate(d_direct):
                direct[layer] = direct_rules[layer].step([direct[layer]], [g_q], coefficients["feedback_rate"])[0]
        elif pathway in SETTLING:
            loss, grad = settled_gradient(pathway, net, x, labels, coefficients)
        elif pathway == "burst":
            loss, grad = burst_gradient(net, x, labels, feedback)
        else:
            loss, grad, reads = gradients(net, x, labels, pathway, backward, direct)
        losses.append(loss)
        if pathway in HEBBIAN or pathway in CONTRASTIVE:  # hidden layers learn at a rate relative to the last one's
            for layer in range(layers - 1):
                grad.weights[layer] = over["hidden_rate"] * grad.weights[layer]
                if grad.biases[layer] is not None:
                    grad.biases[layer] = over["hidden_rate"] * grad.biases[layer]
        if pathway == "none":
            continue
        tensors, grads = flat(net), flat(grad)
        if pathway == "random_walk":  # g = n |g| / |n|
            for i in range(len(grads)):
                noise = draw(step, "walk", i)
                grads[i] = noise * np.sqrt(np.sum(grads[i] ** 2)) / np.sqrt(np.sum(noise**2))
        if pathway in ("weight_perturbation", "forward_gradient"):  # g = (slope along v) v
            directions = [draw(step, "direction", i) for i in range(len(tensors))]
            if pathway == "forward_gradient":
                slope = float(sum(np.sum(g * v) for g, v in zip(grads, directions, strict=True)))
            else:
                sigma = coefficients["sigma"]
                aside = unflat(net, [t + sigma * v for t, v in zip(tensors, directions, strict=True)])
                slope = (loss_and_error(forward(aside, x)[2], labels)[0] - loss) / sigma
            grads = [slope * v for v in directions]

        # B moves: W is still as before its own move
        for layer in range(1, layers):
            if pathway == "kolen_pollack":  # the same gradient, rule and decay as W's
                changed = stepped(feedback_rules[layer], [feedback[layer]], [grad.weights[layer]], rate, [decay])
                feedback[layer] = changed[0]
            elif pathway in TARGETS:
                noise, below = coefficients["noise"], reads[layer]
                nudge = noise * draw(step, "nudge", layer - 1)
                echo = noise * draw(step, "echo", layer) if pathway == "local_target_prop" else None
                g_b = target_feedback_gradient(pathway, net, layer, feedback[layer], below, nudge, echo, noise)
                feedback[layer] = feedback_rules[layer].step([feedback[layer]], [g_b], coefficients["feedback_rate"])[0]
            elif pathway in ALIGNMENTS:
                read = draw(step, "mirror", layer) if pathway == "weight_mirror" else reads[layer]
                g_b = alignment_gradient(pathway, net.weights[layer], feedback[layer], read, coefficients)
                feedback[layer] = feedback_rules[layer].step([feedback[layer]], [g_b], coefficients["feedback_rate"])[0]
        if pathway == "kolen_pollack" or pathway in ALIGNMENTS or pathway in TARGETS:
            state["feedback"] = copied(feedback)

        # weights of hidden layers that know nothing of the output do not decay, and under local losses none do
        spared = pathway == "local_loss"
        kept = pathway in HEBBIAN or pathway in CONTRASTIVE
        decays = [0.0 if spared or (kept and i not in read_out) else decay for i in moving]
        new = stepped(rule, [tensors[i] for i in moving], [grads[i] for i in moving], rate, decays)
        for place, i in enumerate(moving):
            tensors[i] = new[place]
        net = unflat(net, tensors)
    return net, state, losses


# ------------------------------------------------------------------------------------------------ vector units


@dataclass
class VectorNet:
    """Units of K components: the first layer's weights (units, K, inputs), the others' (units, inputs).

    The last layer has one unit. Biases are (units, K), gates (units, K) of the hidden layers.
    """

    weights: list[Array]
    biases: list[Array]
    gates: list[Array]


def vector_forward(net: VectorNet, x: Array) -> tuple[Array, list[Array], list[Array]]:
    """Logits; what each hidden layer puts out, (b, units, K); which of its units are open, (b, units)."""
    puts, opens = [], []
    z = np.einsum("ukn,bn->buk", net.weights[0], x) + net.biases[0]
    for layer, gate in enumerate(net.gates):
        opens.append((np.einsum("buk,uk->bu", z, gate) >= 0).astype(np.float64))
        puts.append(z * opens[-1][:, :, None])
        z = np.einsum("oi,bik->bok", net.weights[layer + 1], puts[-1]) + net.biases[layer + 1]
    return z[:, 0], puts, opens


def vector_gradients(
    net: VectorNet, x: Array, labels: npt.NDArray[np.int64], pathway: str
) -> tuple[float, list[Array], list[Array]]:
    """The loss, and what weights and biases descend.

    The error at z of unit i is s_i e: at the output s = 1; below, s_i = open_i under gevb, open_i sum_m w_mi s_m under bp.
    """
    logits, puts, opens = vector_forward(net, x)
    loss, e, _ = loss_and_error(logits, labels)
    shares = [np.ones((len(x), 1))]
    for layer in range(len(opens) - 1, -1, -1):
        shares.insert(0, opens[layer] * (1.0 if pathway == "gevb" else shares[0] @ net.weights[layer + 1]))
    grads = [np.einsum("bu,bk,bn->ukn", shares[0], e, x)]
    grads += [s.T @ np.einsum("buk,bk->bu", h, e) for s, h in zip(shares[1:], puts, strict=True)]
    return loss, grads, [s.T @ e for s in shares]


def vector_run(
    pathway: str, update: str, net: VectorNet, batches: Sequence[tuple[Any, Any]], rate: float, decay: float
) -> tuple[VectorNet, list[float]]:
    """The net after one update per batch, and each batch's loss before; past the first layer weights are cut at 0 from below.

    An update takes weights as (units, ...) and biases as vectors.
    """
    weights, biases, losses = list(net.weights), list(net.biases), []
    of_weights = UPDATES[update]([w.swapaxes(1, -1).shape for w in weights])
    of_biases = UPDATES[update]([b.ravel().shape for b in biases])
    for x, labels in batches:
        loss, g_weights, g_biases = vector_gradients(VectorNet(weights, biases, net.gates), x, labels, pathway)
        losses.append(loss)
        turned, slopes = ([w.swapaxes(1, -1) for w in ws] for ws in (weights, g_weights))  # of matrices the same axis
        first, *others = stepped(of_weights, turned, slopes, rate, [decay] * len(turned))
        weights = [first.swapaxes(1, -1), *(np.maximum(w, 0.0) for w in others)]
        moved = of_biases.step([b.ravel() for b in biases], [g.ravel() for g in g_biases], rate)
        biases = [b.reshape(g.shape) for b, g in zip(moved, g_biases, strict=True)]
    return VectorNet(weights, biases, net.gates), losses


# ------------------------------------------------------------------------------------------------ what to expect


@dataclass(frozen=True)
class Case:
    """What a pathway must do on an mlp3.

    Args:
        own: names of the pathway's own weights.
        moves: whether learning moves them.
        top: whether the last layer learns as in backpropagation.
        near: whether the layers below learn nearly as there, since its limit is the gradient.
        learns: whether the loss of a batch that is shown again and again falls.
    """

    own: frozenset[str] = frozenset()
    moves: bool = False
    top: bool = True
    near: bool = False
    learns: bool = True


LAYERED = frozenset({"fc2.feedback", "fc3.feedback"})
DIRECT = frozenset({"fc1.direct_feedback", "fc2.direct_feedback"})
CASES = {
    "bp": Case(),
    "fa": Case(LAYERED),
    "ia": Case(LAYERED, moves=True),
    "dfa": Case(DIRECT),
    "drtp": Case(DIRECT),
    "gevb": Case(),  # in networks of vector units: `vector_run`
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
    "weight_perturbation": Case(top=False, learns=False),
    "forward_gradient": Case(top=False, learns=False),
    "node_perturbation": Case(top=False, learns=False),
    "reinforce": Case(top=False, learns=False),
    "brain_prop": Case(top=False, learns=False),
    "local_loss": Case(frozenset({"fc1.readout", "fc2.readout"}), moves=True, top=False),
    "pepita": Case(frozenset({"projection"}), top=False),
    "hebb": Case(),
    "oja": Case(),
    "bcm": Case(),
    "krotov_hopfield": Case(),
    "soft_hebb": Case(),
    "similarity_matching": Case(frozenset({"fc1.lateral", "fc2.lateral"}), moves=True),
    "latent_predictive": Case(),
    "forward_forward": Case(frozenset({"pattern"})),
    "target_prop": Case(LAYERED, moves=True),
    "local_target_prop": Case(LAYERED, moves=True),
    "direct_target_prop": Case(DIRECT, moves=True),
    "predictive_coding": Case(top=False),
    "incremental_predictive_coding": Case(top=False),
    "equilibrium_propagation": Case(top=False, near=True),
    "contrastive_hebbian": Case(top=False, near=True),
    "dual_propagation": Case(top=False, near=True),
    "burst": Case(LAYERED),
}
