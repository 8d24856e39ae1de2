"""Updates of one network of fully connected layers, compiled: many in one call, without a call of a library but for products.

A stack's own operations each pass over all its networks, which no core's cache holds. Here one network learns batch after
batch, so that weights, activations and errors stay in the cache, and nothing lies between its products but a few loops.
Everything is found by address, so that one compilation, a few seconds that are kept on disk, serves every number and size of
layers.

Arrays are row-major: y (b, m), W (m, n), so that BLAS, which is column-major, sees them transposed. The output layer's are the
other way round, (m, b): it has few units and many stimuli, and over the last axis loops are fast.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import torch
from numba import carray, types
from numba.extending import intrinsic

from generator.kernels import compiled

# What is in a row of `places`: the address of each layer's array, or 0 where it has none.
WEIGHT, BIAS, BACK, WEIGHT_FIRST, WEIGHT_SECOND, BIAS_FIRST, BIAS_SECOND, BACK_FIRST, BACK_SECOND = range(9)
RELU, LINEAR, LEAKY, TANH, SIGMOID, ELU = range(6)  # nonlinearities
GRADIENT, MOMENTUM, NESTEROV, ADAM, RMSPROP, SIGN, LION = range(7)  # updates; first and second are what they remember
PLAIN, DECOUPLED = range(2)  # decay: joins the gradient, or shrinks the weights
FIXED, INFORMED = range(2)  # the backward weights: left as they are, or moved by information alignment

N, T = ord("N"), ord("T")  # as it is stored; transposed
f32 = np.float32

# eˣ = 2ⁿ eʳ with |r| ≤ ln 2 / 2, of which q = eʳ − 1 is a polynomial (Moshier's Cephes, expf.c, 1989): 7e-8 off at most.
LOWEST, HIGHEST, LOG2_E = f32(-87.3), f32(88.0), f32(1.44269504)
LN2_HIGH, LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)  # ln 2 in two parts, the first of few digits
ROUND = f32(12582912.0)  # 1.5 · 2²³: added and taken away again, it leaves a whole number
EXP_5, EXP_4, EXP_3, EXP_2 = f32(1.9875691500e-4), f32(1.3981999507e-3), f32(8.3334519073e-3), f32(4.1665795894e-2)
EXP_1, EXP_0 = f32(1.6666665459e-1), f32(5.0000001201e-1)
# tanh x = x + x³ P(x²) where |x| is small (Cephes, tanhf.c)
SMALL = f32(0.625)
TANH_4, TANH_3, TANH_2 = f32(-5.70498872745e-3), f32(2.06390887954e-2), f32(-5.37397155531e-2)
TANH_1, TANH_0 = f32(1.33314422036e-1), f32(-3.33332819422e-1)


def _sgemm() -> int:
    """The address of BLAS' single-precision product: PyTorch's own where it shows one, else SciPy's."""
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return ctypes.cast(library.sgemm_, ctypes.c_void_p).value or 0
    except (AttributeError, OSError):
        from numba.extending import get_cython_function_address

        return int(get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))


llvmlite.binding.add_symbol("rulescope_sgemm", _sgemm())
_multiply = types.ExternalFunction("rulescope_sgemm", types.void(*[types.voidptr] * 13))


def _address_of(kind: Any) -> Any:
    """A function for compiled code: an address as a pointer of this type."""

    @intrinsic
    def pointer(typing: Any, address: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(kind))

        return kind(types.int64), build

    return pointer


_pointer, _floats = _address_of(types.voidptr), _address_of(types.CPointer(types.float32))


@compiled
def _at(address, count):  # type: ignore[no-untyped-def]
    """The `count` numbers at an address."""
    return carray(_floats(address), count)


@compiled
def _product(call, scalars, ta, tb, m, n, k, a, lda, b, ldb, c, ldc):  # type: ignore[no-untyped-def]
    """C (m, n) = A (m, k) B (k, n), column-major, each factor perhaps transposed; `call` and `scalars` hold what BLAS reads."""
    call[0], call[1], call[2], call[3], call[4], call[5], call[6], call[7] = ta, tb, m, n, k, lda, ldb, ldc
    p, q = call.ctypes.data, scalars.ctypes.data
    _multiply(
        _pointer(p), _pointer(p + 4), _pointer(p + 8), _pointer(p + 12), _pointer(p + 16), _pointer(q), _pointer(a),
        _pointer(p + 20), _pointer(b), _pointer(p + 24), _pointer(q + 4), _pointer(c), _pointer(p + 28),
    )  # fmt: skip


@compiled
def _gather(x, images, order, n):  # type: ignore[no-untyped-def]
    """The stimuli of a batch."""
    for i in range(order.size):
        start = order[i] * n
        for j in range(n):
            x[i * n + j] = images[start + j]


@compiled
def _exponential(q, power, x, factor, count):  # type: ignore[no-untyped-def]
    """Split e^(factor · x) = 2ⁿ (1 + q) into q and, as the bits of floats, 2ⁿ. What is no number stays none."""
    for i in range(count):
        a = factor * x[i]
        a = LOWEST if a < LOWEST else a
        a = HIGHEST if a > HIGHEST else a
        n = (a * LOG2_E + ROUND) - ROUND
        power[i] = (np.int32(n) + np.int32(127)) << np.int32(23)
        r = a - n * LN2_HIGH - n * LN2_LOW
        p = ((((EXP_5 * r + EXP_4) * r + EXP_3) * r + EXP_2) * r + EXP_1) * r + EXP_0
        q[i] = p * r * r + r


@compiled
def _activate(y, p, bias, rows, n, phi, q, power):  # type: ignore[no-untyped-def]
    """y = φ(p + b). What is no number stays none. `q` and `power`: room for as many numbers."""
    if phi in (RELU, LINEAR, LEAKY):
        slope = f32(0) if phi == RELU else f32(0.01) if phi == LEAKY else f32(1)  # below 0
        for i in range(rows):
            for j in range(n):
                a = p[i * n + j] + bias[j]
                y[i * n + j] = a * slope if a <= f32(0) else a
        return
    for i in range(rows):
        for j in range(n):
            y[i * n + j] = p[i * n + j] + bias[j]
    _exponential(q, power, y, f32(2) if phi == TANH else f32(-1) if phi == SIGMOID else f32(1), rows * n)
    _curve(y, q, power.view(np.float32), rows * n, phi)


@compiled
def _curve(y, q, power, count, phi):  # type: ignore[no-untyped-def]
    """φ in place, from the exponential of its argument's multiple."""
    if phi == TANH:
        for i in range(count):
            x = y[i]
            z = x * x
            near = x + x * z * ((((TANH_4 * z + TANH_3) * z + TANH_2) * z + TANH_1) * z + TANH_0)
            far = f32(1) - f32(2) / (power[i] * q[i] + power[i] + f32(1))
            y[i] = near if z < SMALL * SMALL else far
    elif phi == SIGMOID:
        for i in range(count):
            y[i] = f32(1) / (f32(1) + (power[i] * q[i] + power[i]))
    else:
        for i in range(count):
            below = power[i] * q[i] + (power[i] - f32(1))
            y[i] = below if y[i] <= f32(0) else y[i]


@compiled
def _slope(error, y, count, phi):  # type: ignore[no-untyped-def]
    """δ ⊙ φ′, in place, from y = φ(a)."""
    if phi == TANH:
        for i in range(count):
            error[i] *= f32(1) - y[i] * y[i]
    elif phi == SIGMOID:
        for i in range(count):
            error[i] *= y[i] * (f32(1) - y[i])
    elif phi == ELU:
        for i in range(count):
            error[i] = error[i] * (y[i] + f32(1)) if y[i] <= f32(0) else error[i]
    elif phi != LINEAR:
        slope = f32(0) if phi == RELU else f32(0.01)
        for i in range(count):
            error[i] = error[i] * slope if y[i] <= f32(0) else error[i]


@compiled
def _sums(error, sums, rows, n):  # type: ignore[no-untyped-def]
    """Σ δ over the batch."""
    for j in range(n):
        sums[j] = f32(0)
    for i in range(rows):
        for j in range(n):
            sums[j] += error[i * n + j]


@compiled
def _sums_of_outputs(error, sums, rows, n):  # type: ignore[no-untyped-def]
    """The same of the output layer's, (n, rows)."""
    for j in range(n):
        total = f32(0)
        for i in range(rows):
            total += error[j * rows + i]
        sums[j] = total


@compiled
def _expand(y, q, power, count):  # type: ignore[no-untyped-def]
    """y = 2ⁿ (1 + q)."""
    for i in range(count):
        y[i] = power[i] * q[i] + power[i]


@compiled
def _cross_entropy(p, bias, error, most, total, labels, order, rows, classes, q, power):  # type: ignore[no-untyped-def]
    """The mean loss in nats, and the error at the logits p + b, all (classes, rows). The other arrays are room to work in."""
    share = f32(1) / f32(rows)
    for j in range(classes):
        for i in range(rows):
            error[j * rows + i] = p[j * rows + i] + bias[j]
    for i in range(rows):
        most[i], total[i] = error[i], f32(0)
    for j in range(1, classes):
        for i in range(rows):
            most[i] = error[j * rows + i] if error[j * rows + i] > most[i] else most[i]
    loss = f32(0)
    for i in range(rows):
        loss -= error[labels[order[i]] * rows + i] - most[i]
    for j in range(classes):
        for i in range(rows):
            error[j * rows + i] -= most[i]
    _exponential(q, power, error, f32(1), rows * classes)
    _expand(error, q, power.view(np.float32), rows * classes)
    for j in range(classes):
        for i in range(rows):
            total[i] += error[j * rows + i]
    for i in range(rows):
        loss += np.log(total[i])
        total[i] = share / total[i]
    for j in range(classes):
        for i in range(rows):
            error[j * rows + i] *= total[i]
    for i in range(rows):
        error[labels[order[i]] * rows + i] -= share
    return loss * share


@compiled
def _move(w, g, first, second, rate, epsilon, update, constants):  # type: ignore[no-untyped-def]
    """One step of an update in place; each is what generator/rules/updates says. `epsilon` and `rate` have Adam's corrections."""
    a, b, c, d = constants[0], constants[1], constants[2], constants[3]
    if update == MOMENTUM:
        for i in range(w.size):
            v = g[i] + a * first[i]
            first[i] = v
            w[i] -= rate * v
    elif update == NESTEROV:
        for i in range(w.size):
            v = g[i] + a * first[i]
            first[i] = v
            w[i] -= rate * (g[i] + a * v)
    elif update == ADAM:
        for i in range(w.size):
            m, v = first[i] + b * (g[i] - first[i]), c * second[i] + d * g[i] * g[i]
            first[i], second[i] = m, v
            w[i] -= rate * m / (np.sqrt(v) + epsilon)
    elif update == RMSPROP:
        for i in range(w.size):
            v = a * first[i] + b * g[i] * g[i]
            first[i] = v
            w[i] -= rate * g[i] / (np.sqrt(v) + epsilon)
    elif update == SIGN:
        for i in range(w.size):
            w[i] -= rate * np.sign(g[i])
    elif update == LION:
        for i in range(w.size):
            w[i] -= rate * np.sign(first[i] + b * (g[i] - first[i]))
            first[i] += d * (g[i] - first[i])
    else:
        for i in range(w.size):
            w[i] -= rate * g[i]


@compiled
def _add(g, factor, w):  # type: ignore[no-untyped-def]
    """g ← g + factor · w, of as many numbers as w has."""
    for i in range(w.size):
        g[i] += factor * w[i]


@compiled
def _mix(z, a, x, b, count):  # type: ignore[no-untyped-def]
    """z ← a z + b x."""
    for i in range(count):
        z[i] = a * z[i] + b * x[i]


@compiled
def _shrink(w, factor):  # type: ignore[no-untyped-def]
    """w ← factor · w."""
    for i in range(w.size):
        w[i] *= factor


@compiled
def learn(places, sizes, images, labels, orders, how, constants, decays, pace, losses):  # type: ignore[no-untyped-def]
    """Let a network learn from a row of batches, in place.

    Args:
        places: (9, layers) addresses of its arrays.
        sizes: (layers + 1,) units, the input's first.
        images, labels: all stimuli, (stimuli × inputs,) and (stimuli,).
        orders: (updates, b) which stimuli each batch has.
        how: nonlinearity, update, kind of decay, what becomes of backward weights.
        constants: (2, 8) of the update, and of what moves backward weights.
        decays: (layers,) L2 coefficients.
        pace: (5, updates) rate; rate and ε as the update takes them; the same of backward weights.
        losses: (updates,) filled with the loss before each update.
    """
    layers, b = sizes.size - 1, orders.shape[1]
    phi, update, decay, learns = how[0], how[1], how[2], how[3]
    starts, most, widest = np.zeros(layers + 2, np.int64), 0, 0
    for i in range(layers + 1):
        starts[i + 1] = starts[i] + b * sizes[i]
        widest = max(widest, sizes[i])
        most = max(most, sizes[i] * sizes[i + 1] if i < layers else 0)
    call, scalars = np.empty(8, np.int32), np.array([1, 0], np.float32)
    outputs = np.empty(starts[layers + 1], np.float32)  # y of every layer, the input first
    drives = np.empty(starts[layers + 1], np.float32)  # W x of every layer, if it is needed again; else at the start
    error, below = np.empty(b * widest, np.float32), np.empty(b * widest, np.float32)
    g, sums = np.empty(most, np.float32), np.empty(widest, np.float32)
    high, total = np.empty(b, np.float32), np.empty(b, np.float32)
    q, power = np.empty(b * widest, np.float32), np.empty(b * widest, np.int32)
    for step in range(orders.shape[0]):
        order = orders[step]
        _gather(outputs, images, order, sizes[0])
        for layer in range(layers):
            n, m = sizes[layer], sizes[layer + 1]
            w, x = places[WEIGHT, layer], outputs.ctypes.data + 4 * starts[layer]
            p = drives[starts[layer + 1] :] if learns == INFORMED else drives
            bias = _at(places[BIAS, layer], m)
            if layer < layers - 1:
                _product(call, scalars, T, N, m, b, n, w, n, x, n, p.ctypes.data, m)
                _activate(outputs[starts[layer + 1] :], p, bias, b, m, phi, q, power)
            else:
                _product(call, scalars, T, N, b, m, n, x, n, w, n, p.ctypes.data, b)
                losses[step] = _cross_entropy(p, bias, error, high, total, labels, order, b, m, q, power)
        for layer in range(layers - 1, -1, -1):
            n, m, top = sizes[layer], sizes[layer + 1], layer == layers - 1
            x = outputs.ctypes.data + 4 * starts[layer]
            # of δ (b, m): as it is stored, and its rows' length; of the output layer the other way round
            straight, turned, ld = (T, N, b) if top else (N, T, m)
            _product(call, scalars, N, turned, n, m, b, x, n, error.ctypes.data, ld, g.ctypes.data, n)
            if top:
                _sums_of_outputs(error, sums, b, m)
            else:
                _sums(error, sums, b, m)
            w, bias = _at(places[WEIGHT, layer], n * m), _at(places[BIAS, layer], m)
            if layer > 0:
                back = places[BACK, layer]
                _product(call, scalars, N, straight, n, b, m, back, n, error.ctypes.data, ld, below.ctypes.data, n)
                _slope(below, outputs[starts[layer] :], b * n, phi)
                error, below = below, error
            if decay == DECOUPLED:
                _shrink(w, f32(1) - pace[0, step] * decays[layer])
            elif decays[layer] != 0:
                _add(g, decays[layer], w)
            first, second = _at(places[WEIGHT_FIRST, layer], n * m), _at(places[WEIGHT_SECOND, layer], n * m)
            _move(w, g, first, second, pace[1, step], pace[2, step], update, constants[0])
            first, second = _at(places[BIAS_FIRST, layer], m), _at(places[BIAS_SECOND, layer], m)
            _move(bias, sums, first, second, pace[1, step], pace[2, step], update, constants[0])
            if layer > 0 and learns == INFORMED:
                # ∂B of α·amp + β·null is p_f zᵀ with z = 2 β Bᵀ p_f / b − α x / b; see rules/pathways/primitives.py
                p = drives.ctypes.data + 4 * starts[layer + 1]
                _product(call, scalars, N, straight, n, b, m, back, n, p, ld, below.ctypes.data, n)
                _mix(below, constants[1, 5], outputs[starts[layer] :], constants[1, 4], b * n)
                _product(call, scalars, N, turned, n, m, b, below.ctypes.data, n, p, ld, g.ctypes.data, n)
                matrix = _at(back, n * m)
                _add(g, constants[1, 6], matrix)
                first, second = _at(places[BACK_FIRST, layer], n * m), _at(places[BACK_SECOND, layer], n * m)
                _move(matrix, g, first, second, pace[3, step], pace[4, step], ADAM, constants[1])
