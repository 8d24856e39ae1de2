"""Stacked layers: every tensor carries a leading axis k, one entry per network of the stack.

A weight layer has forward weights and, if its rule sends the error back through other ones, `feedback` weights of the same
shape. Three products are all a layer needs, and all that rules build on (`forward`, `backproject`, `correlate`); bias and
nonlinearity are added here once. Pooling and normalisation lie between weight layers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.grad import conv2d_weight

from generator import counters
from generator.errors import RequestError
from generator.kernels import in_pieces

# draw(purpose, layer name, shape) -> standard normal numbers of shape (k, *shape)
Draw = Callable[[str, str, tuple[int, ...]], Tensor]


class Nonlinearity(NamedTuple):
    """φ, the same (in place where there is such an operation), φ′ and δ = g ⊙ φ′.

    The last two are written in terms of y = φ(a), which is kept anyway; of a where `of_input` says so, since y does not tell φ′.

    Args:
        homogeneous: φ(c a) = c φ(a) for c > 0, and not linear.
        gain: hidden weights start with variance gain / fan-in. It is 1 / ⟨φ(z)²⟩ for standard normal z, which keeps the mean
            square of a from layer to layer (He et al. 2015, 1502.01852, eq. 10, for any φ). `linear` and `tanh` have relu's 2
            [ours].
    """

    phi: Callable[[Tensor], Tensor]
    phi_: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    homogeneous: bool = False
    of_input: bool = False
    gain: float = 2.0


LEAK = 0.01  # slope of leaky_relu below 0


def _gelu_slope(a: Tensor) -> Tensor:
    """Φ(a) + a Φ′(a), Φ the standard normal distribution function."""
    return torch.special.ndtr(a) + a * torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)


NONLINEARITIES = {
    "linear": Nonlinearity(lambda a: a, lambda a: a, torch.ones_like, lambda g, y: g),
    "relu": Nonlinearity(
        torch.relu,
        torch.relu_,
        torch.sign,
        lambda g, y: torch.ops.aten.threshold_backward(g, y, 0),
        homogeneous=True,
    ),
    "tanh": Nonlinearity(torch.tanh, torch.tanh_, lambda y: 1 - y * y, torch.ops.aten.tanh_backward),
    "leaky_relu": Nonlinearity(  # a below 0 has the slope 0.01 (Maas et al. 2013)
        lambda a: F.leaky_relu(a, LEAK),
        lambda a: F.leaky_relu_(a, LEAK),
        lambda y: torch.where(y > 0, torch.ones_like(y), LEAK),
        lambda g, y: torch.ops.aten.leaky_relu_backward(g, y, LEAK, True),
        homogeneous=True,
        gain=2 / (1 + LEAK**2),
    ),
    "elu": Nonlinearity(  # eᵃ − 1 below 0 (Clevert et al. 2016, 1511.07289)
        F.elu,
        F.elu_,
        lambda y: torch.where(y > 0, 1.0, y + 1),
        lambda g, y: torch.ops.aten.elu_backward(g, 1.0, 1.0, 1.0, True, y),
        gain=1.550519,
    ),
    "gelu": Nonlinearity(  # a Φ(a); not monotonic, so y does not tell a (Hendrycks & Gimpel 2016, 1606.08415)
        F.gelu, F.gelu, _gelu_slope, torch.ops.aten.gelu_backward, of_input=True, gain=2.351716
    ),
    "sigmoid": Nonlinearity(
        torch.sigmoid, torch.sigmoid_, lambda y: y * (1 - y), torch.ops.aten.sigmoid_backward, gain=3.408560
    ),
    "softplus": Nonlinearity(  # log(1 + eᵃ), with φ′ = 1 − e⁻ʸ (Dugas et al. 2001)
        F.softplus, F.softplus, lambda y: -torch.expm1(-y), lambda g, y: g * -torch.expm1(-y), gain=1.085487
    ),
}


# On CPUs without AVX-512 oneDNN's weight gradient of a strided 1×1 convolution of few channels is wrong, and writes where it must
# not (torch 2.13). There what such a convolution reads is picked first; elsewhere networks keep their bytes.
WITHOUT_AVX512 = not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
# What a layer's products are computed in: their factors and results are rounded to it. None: as the tensors are.
PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass
class Pass:
    """One forward pass: how it is made, and what each weight layer read and wrote on the way, in order of the layers.

    Args:
        training: batch statistics in normalisation; otherwise the running ones.
        cut: every weight layer reads a detached tensor, so that the graph falls into blocks, one per weight layer.
        track: weight of this batch in the running statistics of normalisation.
        keys: one key per network for what is random in this pass; see counters.py.
        drives: a list to which every layer adds its W x, for rules that need it.
        nudges: of every layer in order, what is added to its W x + b.
        even: every layer but the first reads each stimulus over its root mean square, so that its length tells nothing.
    """

    training: bool = False
    cut: bool = False
    track: float = 0.1
    keys: Int64[Tensor, " k"] | None = None
    drives: list[Tensor] | None = None
    nudges: Sequence[Tensor] | None = None
    even: bool = False
    received: list[Tensor] = field(default_factory=list)  # x, before any cut
    outputs: list[Tensor] = field(default_factory=list)  # y = φ(W x + b)


class _Propagate(torch.autograd.Function):
    """y = φ(W x + b), with the error sent down through `feedback`, or through W where there is none.

    φ overwrites its argument: what a training step costs is memory traffic as much as arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        feedback: Tensor | None,
        layer: WeightLayer,
        drives: list[Tensor] | None,
        nudge: Tensor | None,
    ) -> Tensor:
        ctx.dtype, (x, weight, bias, feedback) = x.dtype, layer.rounded(x, weight, bias, feedback)
        if drives is None:
            a = layer.forward(x, weight, bias).to(ctx.dtype)
        else:
            drives.append(layer.forward(x, weight, None).to(ctx.dtype))
            shift = 0 if bias is None else bias.view(*bias.shape[:1], 1, -1, *(1,) * (drives[-1].ndim - 3))
            a = drives[-1] + shift
        if nudge is not None:
            a = a + nudge
        y = layer.phi.phi_(a)
        ctx.layer = layer
        ctx.save_for_backward(x, weight if feedback is None else feedback, a if layer.phi.of_input else y)
        return y

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix, known = ctx.saved_tensors
        error = ctx.layer.phi.backward(error, known)
        bias = ctx.layer.positions_sum(error) if ctx.needs_input_grad[2] else None
        (error,) = ctx.layer.rounded(error)
        weight = ctx.layer.correlate(x, error).to(ctx.dtype)
        # Last, so that what the layer below reads next is still in the cache.
        below = ctx.layer.backproject(error, matrix, x).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return below, weight, bias, None, None, None, None


class WeightLayer(ABC):
    """A weight tensor and what it computes: y = φ(W x + b). One observed layer.

    Args:
        name: its name in the dataset.
        shape: shape of one network's weights, (out, in, …).
        nonlinearity: φ if it follows directly, else "linear".
        variance: of the initial weights, times fan-in; He's 2 where not given.
        last: drawn with standard deviation 1/√fan-in instead.
        bias: whether it has biases; they start at 0.
        penalty: the L2 penalty on its weights, where it is not that of its network.
        precision: what its three products are computed in; weights, errors and updates keep theirs.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        nonlinearity: str,
        draw: Draw,
        variance: float = 2.0,
        last: bool = False,
        bias: bool = True,
        penalty: float | None = None,
        precision: str = "float32",
    ) -> None:
        self.name, self.nonlinearity, self.penalty = name, nonlinearity, penalty
        self.rounding = PRECISIONS[precision]
        self.fan_in = math.prod(shape[1:])
        self.scale = math.sqrt((1.0 if last else variance) / self.fan_in)
        self.weight = self.initial(draw, shape)
        self.bias: Tensor | None = torch.zeros_like(self.weight.flatten(2)[..., 0]) if bias else None
        self.feedback: Tensor | None = None
        self.phi = NONLINEARITIES[nonlinearity]

    def __call__(self, x: Tensor, run: Pass) -> Tensor:
        """The layer's output, recorded in `run` with its input."""
        run.received.append(x)
        nudge = None if run.nudges is None else run.nudges[len(run.outputs)]
        x = x.detach() if run.cut else x
        if run.even and run.outputs:
            x = x / (x.square().flatten(2).mean(2).sqrt() + 1e-8).view(*x.shape[:2], *(1,) * (x.ndim - 2))
        y = _Propagate.apply(x, self.weight, self.bias, self.feedback, self, run.drives, nudge)
        run.outputs.append(y)
        return y

    def initial(self, draw: Draw, shape: tuple[int, ...]) -> Tensor:
        """The initial weights of all networks, (k, *shape): normal."""
        return _times(draw("init", self.name, shape), self.scale)

    def preactivation(self, x: Tensor) -> Tensor:
        """a = W x + b, as `__call__` computes it."""
        return self.forward(*self.rounded(x, self.weight, self.bias)).to(x.dtype)

    def rounded(self, *tensors: Any) -> tuple[Any, ...]:
        """The tensors (or None) as factors of a product."""
        if self.rounding is None:
            return tensors
        return tuple(None if tensor is None else tensor.to(self.rounding) for tensor in tensors)

    @abstractmethod
    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """W x + b."""

    @abstractmethod
    def backproject(self, error: Tensor, matrix: Tensor, x: Tensor) -> Tensor:
        """Mᵀ δ for M of the weights' shape: the error, sent down, in the shape of the layer's input x."""

    @abstractmethod
    def correlate(self, x: Tensor, error: Tensor) -> Tensor:
        """Σ δ xᵀ over the batch and positions: the weights' gradient."""

    @abstractmethod
    def positions_sum(self, error: Tensor) -> Tensor:
        """Σ δ over the batch and positions, (k, out): the biases' gradient."""

    def ones_response(self, like: Tensor) -> Tensor:
        """W applied to an all-ones input of the shape of `like` (k, b, …), for one stimulus: (k, 1, …) as an output."""
        return self.forward(torch.ones_like(like[:, :1]), self.weight, None)


def _times(drawn: Tensor, scale: float) -> Tensor:
    """Their product. A single number that stands for all of them stays one: sizes are measured without any memory."""
    if any(drawn.stride()):
        return drawn * scale
    return (drawn.as_strided((), ()) * scale).expand(drawn.shape)


class Linear(WeightLayer):
    """A fully connected layer: x (k, b, in), weights (k, out, in)."""

    def __init__(self, name: str, n_in: int, n_out: int, nonlinearity: str, draw: Draw, **options: Any) -> None:
        super().__init__(name, (n_out, n_in), nonlinearity, draw, **options)

    def forward(
        self, x: Float[Tensor, "k b n"], weight: Float[Tensor, "k m n"], bias: Float[Tensor, "k m"] | None
    ) -> Float[Tensor, "k b m"]:
        """W x + b."""
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)

    def backproject(
        self, error: Float[Tensor, "k b m"], matrix: Float[Tensor, "k m n"], x: Float[Tensor, "k b n"]
    ) -> Float[Tensor, "k b n"]:
        """Mᵀ δ."""
        return torch.bmm(error, matrix)

    def correlate(self, x: Float[Tensor, "k b n"], error: Float[Tensor, "k b m"]) -> Float[Tensor, "k m n"]:
        """Σ_b δ xᵀ."""
        return torch.bmm(error.mT, x)

    def positions_sum(self, error: Float[Tensor, "k b m"]) -> Float[Tensor, "k m"]:
        """Σ_b δ."""
        return error.sum(1)


class Conv(WeightLayer):
    """A convolution padded by half its kernel: x (k, b, c, h, w), weights (k, out, c, s, s), s odd; ⌈h / stride⌉ rows out.

    On a CPU each network calls the (well-tuned) single convolution on channels-last data, which beats a grouped one by
    2–3×; elsewhere the stack is one grouped convolution.
    """

    def __init__(
        self,
        name: str,
        c_in: int,
        c_out: int,
        size: int,
        nonlinearity: str,
        draw: Draw,
        stride: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(name, (c_out, c_in, size, size), nonlinearity, draw, **options)
        self.size = size
        self.how: dict[str, Any] = {"stride": stride, "padding": size // 2}

    def forward(
        self, x: Float[Tensor, "k b c h w"], weight: Float[Tensor, "k o c s s"], bias: Float[Tensor, "k o"] | None
    ) -> Float[Tensor, "k b o h2 w2"]:
        """W ∗ x + b. Raises RequestError for a kernel with taps that no input position ever reaches."""
        side, stride = min(x.shape[-2:]), self.how["stride"]
        if self.size // 2 > (side - 1) // stride * stride:  # where the last window is centred
            raise RequestError(
                f"layer {self.name!r} has a {self.size}×{self.size} kernel on a {x.shape[-2]}×{x.shape[-1]} input: its outer "
                "taps could never learn; use a larger input (pixels) or a smaller stem"
            )
        k, b = x.shape[:2]
        if in_pieces(x):
            each = [F.conv2d(x[i], weight[i], None if bias is None else bias[i], **self.how) for i in range(k)]
            return channels_last(torch.cat(each).unflatten(0, (k, b)))
        shift = None if bias is None else bias.flatten()
        return _ungrouped(F.conv2d(_grouped(x), weight.flatten(0, 1), shift, **self.how, groups=k), k)

    def backproject(
        self, error: Float[Tensor, "k b o h2 w2"], matrix: Float[Tensor, "k o c s s"], x: Float[Tensor, "k b c h w"]
    ) -> Float[Tensor, "k b c h w"]:
        """Mᵀ δ: the transposed convolution."""
        k, stride = len(error), self.how["stride"]
        # rows and columns of x behind the centre of the last window, which size and stride alone do not tell
        behind = [(side - 1) % stride for side in x.shape[-2:]]
        if in_pieces(error):
            each = [F.conv_transpose2d(error[i], matrix[i], **self.how, output_padding=behind) for i in range(k)]
            return channels_last(torch.cat(each).unflatten(0, error.shape[:2]))
        flat = F.conv_transpose2d(_grouped(error), matrix.flatten(0, 1), **self.how, output_padding=behind, groups=k)
        return _ungrouped(flat, k)

    def correlate(
        self, x: Float[Tensor, "k b c h w"], error: Float[Tensor, "k b o h2 w2"]
    ) -> Float[Tensor, "k o c s s"]:
        """Σ δ xᵀ over batch and positions."""
        shape, k = (error.shape[2], x.shape[2], self.size, self.size), len(error)
        if in_pieces(error):
            how = self.how
            if self.size == 1 and how["stride"] > 1 and WITHOUT_AVX512:
                x, how = x[..., :: how["stride"], :: how["stride"]], {"stride": 1, "padding": 0}
            return torch.stack([conv2d_weight(x[i], shape, error[i], **how) for i in range(k)])
        shape = (k * shape[0], *shape[1:])
        return conv2d_weight(_grouped(x), shape, _grouped(error), **self.how, groups=k).unflatten(0, (k, -1))

    def positions_sum(self, error: Float[Tensor, "k b o h2 w2"]) -> Float[Tensor, "k o"]:
        """Σ δ over batch and positions."""
        return error.sum((1, 3, 4))


def _grouped(x: Float[Tensor, "k b c *positions"]) -> Float[Tensor, "b kc *positions"]:
    return x.transpose(0, 1).flatten(1, 2)


def _ungrouped(x: Float[Tensor, "b kc *positions"], k: int) -> Float[Tensor, "k b c *positions"]:
    return x.unflatten(1, (k, -1)).transpose(0, 1)


def channels_last(x: Float[Tensor, "k b c h w"]) -> Float[Tensor, "k b c h w"]:
    """The same numbers with channels innermost in memory, where CPU pooling and convolution are several times faster."""
    return x.movedim(2, -1).contiguous().movedim(-1, 2)


def _split(x: Tensor, *others: Tensor | None) -> Iterator[Any]:
    """Each tensor's part per network. Not by index: what goes back through one fills a whole stack with zeros around it."""
    for tensor in (x, *others):
        yield [None] * len(x) if tensor is None else tensor.unbind()


class Norm(ABC):
    """Normalisation of x (k, b, c, …), with a trained gain and bias per network and channel (of a dense layer: per unit).

    Every tensor that it holds is part of a network's state.
    """

    epsilon: ClassVar[float] = 1e-5

    def __init__(self, channels: int, like: Tensor, bias: bool = True) -> None:
        self.weight = like.new_ones((len(like), channels))
        self.bias: Tensor | None = torch.zeros_like(self.weight) if bias else None

    @abstractmethod
    def __call__(self, x: Float[Tensor, "k b c *positions"], run: Pass) -> Float[Tensor, "k b c *positions"]:
        """x, normalised."""


class BatchNorm(Norm):
    """Batch normalisation per network and channel (Ioffe & Szegedy 2015, 1502.03167)."""

    def __init__(self, channels: int, like: Tensor, bias: bool = True) -> None:
        super().__init__(channels, like, bias)
        self.mean, self.var = torch.zeros_like(self.weight), torch.ones_like(self.weight)

    def __call__(self, x: Float[Tensor, "k b c *positions"], run: Pass) -> Float[Tensor, "k b c *positions"]:
        """Normalised by the batch's statistics in training (which enter the running ones), by the running ones else."""
        k = len(x)
        if in_pieces(x):
            how: dict[str, Any] = {"training": run.training, "momentum": run.track, "eps": self.epsilon}
            parts = zip(*_split(x, self.mean, self.var, self.weight, self.bias), strict=True)
            return torch.cat([F.batch_norm(*part, **how) for part in parts]).unflatten(0, x.shape[:2])
        running = (self.mean.view(-1), self.var.view(-1))
        affine = (self.weight.flatten(), None if self.bias is None else self.bias.flatten())
        return _ungrouped(F.batch_norm(_grouped(x), *running, *affine, run.training, run.track, self.epsilon), k)


class LayerNorm(Norm):
    """Layer normalisation: of every stimulus by its own mean and variance (Ba et al. 2016, 1607.06450).

    They are taken over all units, of a convolution over channels × positions. There gain and bias are the channel's, so that they
    do not depend on the size of the input (the same as group normalisation with one group).
    """

    def __call__(self, x: Float[Tensor, "k b c *positions"], run: Pass) -> Float[Tensor, "k b c *positions"]:
        """The same in training and in evaluation."""
        k = len(x)
        if in_pieces(x):
            parts = zip(*_split(x, self.weight, self.bias), strict=True)
            each = [F.group_norm(x, 1, weight, bias, self.epsilon) for x, weight, bias in parts]
            return torch.cat(each).unflatten(0, x.shape[:2])
        shape = (k, 1, -1, *(1,) * (x.ndim - 3))
        y = F.group_norm(x.flatten(0, 1), 1, eps=self.epsilon).unflatten(0, x.shape[:2]) * self.weight.view(shape)
        return y if self.bias is None else y + self.bias.view(shape)


NORMS: dict[str, type[Norm]] = {"batch": BatchNorm, "layer": LayerNorm}


def pooled(side: int) -> int:
    """What a pool that is not centred leaves of a side: ⌊side / 2⌋. Of too small a side 1; then a kernel is refused (`Conv`)."""
    return max(1, side // 2)


def max_pool(x: Float[Tensor, "k b c h w"], centred: bool = False) -> Float[Tensor, "k b c h2 w2"]:
    """3×3 windows at stride 2, padded on the right (SAME for even sides) or, centred, by one on every side."""
    how = {"padding": 1} if centred else {"ceil_mode": True}
    return F.max_pool2d(x.flatten(0, 1), 3, 2, **how).unflatten(0, x.shape[:2])


def avg_pool(x: Float[Tensor, "k b c h w"]) -> Float[Tensor, "k b c h2 w2"]:
    """3×3 windows at stride 2, padded on the right, the padding left out of the average."""
    return F.avg_pool2d(x.flatten(0, 1), 3, 2, ceil_mode=True, count_include_pad=False).unflatten(0, x.shape[:2])


def dropout(x: Float[Tensor, "k b *units"], run: Pass, name: str, rate: float = 0.5) -> Float[Tensor, "k b *units"]:
    """In training each unit is 0 with probability `rate`, and scaled to keep its mean (Srivastava et al. 2014).

    `name` tells the places apart at which a network drops units.
    """
    if not run.training:
        return x
    if run.keys is None:
        raise ValueError("a training pass with dropout needs keys")
    kept = counters.uniform(counters.derive(run.keys, f"dropout {name}"), x.shape[1:]) >= rate
    return x * kept.to(x.dtype).div_(1 - rate)


def local_response_norm(
    x: Float[Tensor, "k b c h w"], radius: int, bias: float, alpha: float, beta: float
) -> Float[Tensor, "k b c h w"]:
    """x / (bias + α Σ x²)^β, the sum over channels within `radius` (Krizhevsky et al. 2012).

    The sum is a product with a banded matrix, which keeps channels innermost and is one fast matrix product.
    """
    channels = torch.arange(x.shape[2], device=x.device)
    band = ((channels[:, None] - channels).abs() <= radius).to(x.dtype)
    squares = (x * x).movedim(2, -1) @ band
    return x * (bias + alpha * squares.movedim(-1, 2)).pow(-beta)
