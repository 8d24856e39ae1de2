"""`vnn2` and `vnn3`: vectorised nonnegative networks, whose units have a component per class (Clark et al. 2021, 2106.04089).

Past the first layer weights are numbers ≥ 0 that act on all components alike. So ∂L/∂y of every unit points along the error at
the output, which is what `gevb` builds on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, Nonlinearity, Pass, WeightLayer
from generator.architectures.network import Form, InputShape, Network
from generator.errors import RequestError

PAIRS = 64  # ON and OFF units of a hidden layer [ours]
# The gate itself is in `VectorLayer.__call__`. y tells φ′, 1 or 0 for all components, but where an open unit puts out 0.
GATED = Nonlinearity(lambda a: a, lambda a: a, lambda y: (y != 0).to(y.dtype), lambda g, y: g, homogeneous=True)


class VectorLayer(WeightLayer):
    """Vector units, in ON/OFF pairs: y_i = [t_i · a_i ≥ 0] a_i, with t_i of ±1 and −t_i for the other one of a pair.

    What is recorded is y, (k, b, units, components), with units innermost in memory. A single unit, the last, has no gate.
    Biases are (k, units · components), since an update takes what has more axes for a matrix.
    """

    def __init__(self, name: str, shape: tuple[int, ...], components: int, draw: Draw, **options: Any) -> None:
        self.units, self.components = shape[0], components
        super().__init__(name, shape, "linear", draw, bias=False, **options)
        self.bias = self.weight.new_zeros((len(self.weight), self.units * components))
        self.gate: Tensor | None = None
        if self.units > 1:
            drawn = draw("gate", name, (self.units // 2, components))
            signs = torch.where(drawn < 0, -1.0, 1.0).to(self.bias)
            self.gate = torch.stack([signs, -signs], dim=2).flatten(1, 2)
            self.nonlinearity, self.phi = "gated", GATED

    def initial(self, draw: Draw, shape: tuple[int, ...]) -> Tensor:
        """Weights of pairs. A single number that stands for all draws stays one."""
        drawn = draw("init", self.name, self.half(shape))
        return self.paired(drawn) if any(drawn.stride()) else drawn.as_strided((), ()).expand(len(drawn), *shape)

    @abstractmethod
    def half(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is drawn for weights of this shape."""

    @abstractmethod
    def paired(self, drawn: Tensor) -> Tensor:
        """The weights of ON and OFF units, which alternate, from standard normal numbers."""

    def __call__(self, x: Tensor, run: Pass) -> Float[Tensor, "k b units components"]:
        """y, recorded in `run` with the layer's input."""
        a = super().__call__(x, run)
        if self.gate is None:
            return a
        with torch.no_grad():
            opened = (a * self.gate[:, None]).sum(3, keepdim=True) >= 0
        run.outputs[-1] = y = a * opened
        return y

    def positions_sum(self, error: Float[Tensor, "k b units components"]) -> Float[Tensor, "k flat"]:
        """Σ_b δ."""
        return error.sum(1).flatten(1)

    def shifted(
        self, a: Float[Tensor, "k b units components"], bias: Float[Tensor, "k flat"] | None
    ) -> Float[Tensor, "k b units components"]:
        """a + b."""
        return a if bias is None else a + bias.view(len(bias), 1, self.units, self.components)


class FromScalars(VectorLayer):
    """Vector units that read scalars: x (k, b, n), weights (k, units, n, components) of any sign."""

    def __init__(self, name: str, n: int, units: int, components: int, draw: Draw, **options: Any) -> None:
        super().__init__(name, (units, n, components), components, draw, variance=float(components), **options)
        self.fan_in = n

    def half(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of the ON units."""
        return (shape[0] // 2, *shape[1:])

    def paired(self, drawn: Float[Tensor, "k pairs n components"]) -> Float[Tensor, "k units n components"]:
        """W and −W, of variance 1 / n."""
        on = drawn * self.scale
        return torch.stack([on, -on], dim=2).flatten(1, 2)

    def forward(
        self, x: Float[Tensor, "k b n"], weight: Float[Tensor, "k units n c"], bias: Float[Tensor, "k flat"] | None
    ) -> Float[Tensor, "k b units c"]:
        """a_i = Σ_j w_ij x_j + b_i."""
        a = torch.bmm(x, weight.permute(0, 2, 3, 1).flatten(2)).unflatten(2, (self.components, self.units)).mT
        return self.shifted(a, bias)

    def backproject(
        self, error: Float[Tensor, "k b units c"], matrix: Float[Tensor, "k units n c"], x: Float[Tensor, "k b n"]
    ) -> Float[Tensor, "k b n"]:
        """Σ_i m_ij · δ_i."""
        return torch.bmm(error.mT.flatten(2), matrix.permute(0, 3, 1, 2).flatten(1, 2))

    def correlate(self, x: Float[Tensor, "k b n"], error: Float[Tensor, "k b units c"]) -> Float[Tensor, "k units n c"]:
        """Σ_b δ_i x_j."""
        return torch.bmm(x.mT, error.mT.flatten(2)).unflatten(2, (self.components, self.units)).permute(0, 3, 1, 2)


class OfVectors(VectorLayer):
    """Vector units that read vector units: x (k, b, n, components), weights (k, units, n), none of them negative."""

    def __init__(self, name: str, n: int, units: int, components: int, draw: Draw, **options: Any) -> None:
        super().__init__(name, (units, n), components, draw, variance=2.0, **options)

    def half(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of weights between pairs."""
        return (max(1, shape[0] // 2), shape[1] // 2)

    def paired(self, drawn: Float[Tensor, "k m n"]) -> Float[Tensor, "k units inputs"]:
        """What pairs do to pairs, W of variance 4 / inputs: ON by its positive part, OFF by its negative one."""
        wanted = drawn * (2**0.5 * self.scale)
        parts = wanted.clamp(min=0), (-wanted).clamp(min=0)
        on, off = (torch.stack(each, dim=3).flatten(2) for each in (parts, parts[::-1]))
        return on if self.units == 1 else torch.stack([on, off], dim=2).flatten(1, 2)

    def forward(
        self, x: Float[Tensor, "k b n c"], weight: Float[Tensor, "k units n"], bias: Float[Tensor, "k flat"] | None
    ) -> Float[Tensor, "k b units c"]:
        """a_i = Σ_j w_ij x_j + b_i, component by component."""
        return self.shifted(_apart(torch.bmm(_rows(x), weight.mT), x), bias)

    def backproject(
        self, error: Float[Tensor, "k b units c"], matrix: Float[Tensor, "k units n"], x: Float[Tensor, "k b n c"]
    ) -> Float[Tensor, "k b n c"]:
        """Σ_i m_ij δ_i."""
        return _apart(torch.bmm(_rows(error), matrix), x)

    def correlate(self, x: Float[Tensor, "k b n c"], error: Float[Tensor, "k b units c"]) -> Float[Tensor, "k units n"]:
        """Σ_b δ_i · x_j."""
        return torch.bmm(_rows(error).mT, _rows(x))


def _rows(x: Float[Tensor, "k b n c"]) -> Float[Tensor, "k bc n"]:
    """A row per stimulus and component; a view, as activity lies in memory."""
    return x.mT.flatten(1, 2)


def _apart(rows: Float[Tensor, "k bc n"], like: Float[Tensor, "k b _ c"]) -> Float[Tensor, "k b n c"]:
    return rows.unflatten(1, (like.shape[1], like.shape[3])).mT


class VNN(Network):
    """Fully connected layers of vector units, `depth` of them. The last one's single unit has the logits for components."""

    pathways: ClassVar[Collection[str]] = ("bp", "gevb", "none", "read_out_only", "random_walk")

    def __init__(self, shape: InputShape, form: Form, draw: Draw, depth: int) -> None:
        super().__init__(shape, form, draw)
        if form.head != "classes":
            raise RequestError("its output is a component per class, so it learns no objective without classes")
        if form.nonlinearity != "relu":
            raise RequestError(
                f'its units are gated, for which nonlinearity = "relu" stands, not "{form.nonlinearity}"'
            )
        how = {"precision": form.precision}
        n, units = shape.channels * shape.pixels**2, 2 * self.wide(PAIRS)
        self.layers.append(FromScalars("fc1", n, units, shape.classes, draw, **how))
        for index in range(2, depth + 1):
            width = units if index < depth else 1
            self.layers.append(OfVectors(f"fc{index}", units, width, shape.classes, draw, **how))

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b classes"]:
        """Logits."""
        x = x.flatten(2)
        for layer in self.layers:
            x = layer(x, run)
        return x[:, :, 0]

    def constrain(self) -> None:
        """Past the first layer no weight is negative."""
        for layer in self.layers[1:]:
            layer.weight.clamp_(min=0)
