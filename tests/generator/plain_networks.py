"""Networks in plain torch.nn, and how many parameters they have: an oracle that shares nothing with the generator.

Everything here comes from a description in words, written without a look at the generator. From the description:

- knet: 5×5 convolutions (padding 2) of 32, 32, 64 and in knet5 128 channels; pools 3/2 rounded up, averages over what
  is there; BN of conv 1 between pool and act, of the others after the pool. The lrn kinds have LRN (radius 3, α 5e-5)
  after conv 1 and conv 2 only.
- alexnet: 96, 256, 384, 384, 256 channels, conv 1 11×11/4 padding 5 (small stem: 5×5/1 padding 2), 4096, 4096 units;
  dropout 0.5 after both; alexnetlrn has LRN (radius 5, α 1e-4) between act and pool of conv 1 and conv 2.
- LRN is x / (1 + α Σ x²)^0.75, a plain sum over the channels within the radius; torch divides α by its size.
- resnet: stem 7×7/2 and max pool 3/2 padding 1 (small stem: 3×3/1, no pool); basic blocks of 64, 128, 256, 512 channels,
  without biases; the first block of every group, the first group's too, has a 1×1 projection shortcut, with BN in v1
  and none in v2. The stem of v2 has neither BN nor act; BN and act follow its last block.
- vnn: hidden layers of 2 · max(1, round(width · 64)) units of `classes` components, gated by t: a unit puts out a if
  t · a ≥ 0, else 0. The first reads numbers by weights (units, inputs, components), the others units by (units, inputs); the
  last has one unit, without a gate.
- mlp(…): hidden layer i, from 0, has width · 128 · taper^i units. convnet(…): convolution i has width · channels · growth^i
  channels, padded by half its kernel. Both: weights, norm, act; with residual plus what was read, if that is a hidden output
  and of equal size. A convolution's side is halved if then, as before, all taps of this kernel and of the next one of its size
  meet the map: by a pool 3/2 rounded up (max, or average over what is there) at the end, or with pool=none by stride 2.
- layer norm: minus the mean, over √(variance + 1e-5), of all units of a stimulus; then a factor and a shift per unit, or channel.
- head: one linear layer to the classes, or SimCLR's projection: linear d→d, BN, act, linear d→128, BN.
- nothing has a bias that BN would subtract again: conv 1 of a knet with BN and its last BN under a projection, whose linear
  layers have none either.
- width multiplies every hidden count, not the channels of the input, the classes or the 128 of the projection.

Modules are registered in the order in which forward runs them, which is what `weight_layers` and `norms` rely on.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

PROJECTED = 128
KNET = [32, 32, 64, 128]
ALEXNET = [96, 256, 384, 384, 256]
RESNET = [64, 128, 256, 512]
BLOCKS = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3]}

Act = Callable[[], nn.Module]


def build(
    architecture: str,
    *,
    channels: int,
    pixels: int,
    classes: int,
    act: Act = nn.ReLU,
    width: float = 1.0,
    stem: str = "large",
    head: str = "classes",
) -> nn.Module:
    """The network, with torch's own initial weights. `stem` says nothing about knets, mlps and convnets."""
    kind, values = _read(architecture)
    if architecture.startswith("vnn"):
        return _vnn(int(architecture[3]), channels, pixels, classes, width)
    if kind in ("mlp", "convnet"):
        body, features = (_mlp if kind == "mlp" else _convnet)(channels, pixels, act, width, **values)
        return nn.Sequential(*body, *_head(head, features, classes, act))
    _known(architecture, stem, head)
    if architecture.startswith("knet"):
        body, features = _knet(architecture, channels, pixels, act, width)
        if head == "projection" and "lrn" not in architecture:
            body[-2].bias = None
    elif architecture.startswith("alexnet"):
        body, features = _alexnet(architecture, channels, pixels, act, width, stem)
    else:
        body, features = _resnet(architecture, channels, act, width, stem)
    return nn.Sequential(*body, *_head(head, features, classes, act))


def weight_layers(model: nn.Module) -> list[nn.Module]:
    """The modules with observed weights, in the order in which forward runs them (a block's shortcut first)."""
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear | Vectors)]


def norms(model: nn.Module) -> list[nn.Module]:
    """The batch and layer norms, in the order in which forward runs them (v1: shortcut's, bn1, bn2; v2: that of pre, inner)."""
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d | LayerNorm)]


# -- parts -------------------------------------------------------------------------------------------------------------
class Dropout(nn.Module):
    """Dropout of a half whose mask (1 keeps, 0 drops) is given: training without one is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if self.mask is None:
            raise RuntimeError("dropout is training and has no mask")
        return x * (self.mask / 0.5)


def _known(architecture: str, stem: str, head: str) -> None:
    kinds = {"knet4", "knet4lrn", "knet5", "knet5lrn", "alexnet", "alexnetlrn", "vnn2", "vnn3"}
    kinds |= {*BLOCKS, *(f"{r}v2" for r in BLOCKS)}
    for given, allowed in ((architecture, kinds), (stem, {"large", "small"}), (head, {"classes", "projection"})):
        if given not in allowed:
            raise ValueError(f"{given!r} is none of {sorted(allowed)}")


def _scaled(counts: list[int], width: float) -> list[int]:
    return [max(1, round(width * c)) for c in counts]


def _lrn(radius: int, alpha: float) -> nn.LocalResponseNorm:
    size = 2 * radius + 1
    return nn.LocalResponseNorm(size, alpha=size * alpha, beta=0.75, k=1.0)


def _max() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _avg() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)


def _pooled(pixels: int) -> int:
    """The side after a pool 3/2 rounded up: ⌈(n − 3) / 2⌉ + 1."""
    return -((3 - pixels) // 2) + 1


def _head(head: str, d: int, classes: int, act: Act) -> list[nn.Module]:
    if head == "classes":
        return [nn.Linear(d, classes)]
    first, last = (nn.Linear(d, n, bias=False) for n in (d, PROJECTED))
    return [first, nn.BatchNorm1d(d), act(), last, nn.BatchNorm1d(PROJECTED)]


# -- mlp(…) and convnet(…) -----------------------------------------------------------------------------------------------
class LayerNorm(nn.Module):
    """Layer norm, from its definition."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(count)), nn.Parameter(torch.zeros(count))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(len(x), -1)
        away = flat - flat.mean(1, keepdim=True)
        scaled = (away / ((away**2).mean(1, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
        shape = (1, -1, *(1,) * (x.ndim - 2))
        return scaled * self.weight.view(shape) + self.bias.view(shape)


class Linked(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _read(name: str) -> tuple[str, dict[str, Any]]:
    """mlp(depth=4,norm=batch) → mlp, {depth: 4, norm: batch}."""
    kind, _, inside = name.removesuffix(")").partition("(")
    words = {
        "true": True,
        "false": False,
        "none": "none",
        "batch": "batch",
        "layer": "layer",
        "avg": "avg",
        "max": "max",
    }
    pairs = [pair.split("=") for pair in inside.split(",") if pair]
    return kind, {
        "first" if key == "channels" else key: words[text] if text in words else json.loads(text) for key, text in pairs
    }


def _hidden(layer: nn.Module, count: int, norm: str, act: Act, link: bool) -> nn.Module:
    kinds = {"none": nn.Identity, "layer": LayerNorm}
    kinds["batch"] = nn.BatchNorm1d if isinstance(layer, nn.Linear) else nn.BatchNorm2d
    body = nn.Sequential(layer, kinds[norm](*[count] if norm != "none" else []), act())
    return Linked(body) if link else body


def _mlp(
    channels: int,
    pixels: int,
    act: Act,
    width: float,
    depth: int = 2,
    taper: float = 1.0,
    norm: str = "none",
    residual: bool = False,
    gain: float = 1.0,
) -> tuple[list[nn.Module], int]:
    body: list[nn.Module] = [nn.Flatten()]
    n = channels * pixels * pixels
    for i in range(depth - 1):
        m = max(1, round(width * 128 * taper**i))
        body.append(_hidden(nn.Linear(n, m, bias=norm != "batch"), m, norm, act, residual and i > 0 and n == m))
        n = m
    return body, n


def _reached(side: int, kernel: int, stride: int) -> bool:
    """Whether every tap of a kernel, padded by half its size, meets the map somewhere."""
    starts = range(-(kernel // 2), side + kernel // 2 - kernel + 1, stride)
    return all(any(0 <= start + tap < side for start in starts) for tap in range(kernel))


def _convnet(
    channels: int,
    pixels: int,
    act: Act,
    width: float,
    depth: int = 4,
    kernel: int = 3,
    first: int = 32,
    growth: float = 1.0,
    pool: str = "max",
    norm: str = "none",
    residual: bool = False,
    gain: float = 1.0,
) -> tuple[list[nn.Module], int]:
    body: list[nn.Module] = []
    n = channels
    for i in range(depth - 1):
        m = max(1, round(width * first * growth**i))
        half = (pixels + 1) // 2 if pool == "none" else _pooled(pixels)
        stride = 2 if pool == "none" else 1
        halves = pixels > 1 and _reached(pixels, kernel, stride) and _reached(half, kernel, 1)
        conv = nn.Conv2d(n, m, kernel, stride if halves else 1, padding=(kernel - 1) // 2, bias=norm != "batch")
        body.append(_hidden(conv, m, norm, act, residual and i > 0 and n == m and not (halves and pool == "none")))
        body += [{"max": _max, "avg": _avg}[pool]()] if halves and pool != "none" else []
        n, pixels = m, half if halves else pixels
    return [*body, nn.Flatten()], n * pixels * pixels


# -- vnn ---------------------------------------------------------------------------------------------------------------
class Vectors(nn.Module):
    """Vector units that read numbers or vectors; biases in one row, unit by unit."""

    def __init__(self, shape: tuple[int, ...], components: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape[0] * components))
        self.register_buffer("gate", torch.zeros(shape[0], components))  # all 0: always open

    def forward(self, x: Tensor) -> Tensor:
        form = "bn,unc->buc" if self.weight.ndim == 3 else "bnc,un->buc"
        a = torch.einsum(form, x, self.weight) + self.bias.view_as(self.gate)
        return torch.where(torch.einsum("buc,uc->bu", a, self.gate)[..., None] >= 0, a, 0.0)


def _vnn(depth: int, channels: int, pixels: int, classes: int, width: float) -> nn.Module:
    units = 2 * max(1, round(width * 64))
    sizes = [units] * (depth - 1) + [1]
    first = Vectors((units, channels * pixels * pixels, classes), classes)
    others = [Vectors((m, n), classes) for n, m in itertools.pairwise(sizes)]
    return nn.Sequential(nn.Flatten(), first, *others, nn.Flatten())


# -- knet and alexnet --------------------------------------------------------------------------------------------------
def _knet(architecture: str, channels: int, pixels: int, act: Act, width: float) -> tuple[list[nn.Module], int]:
    """The layers up to the features, and how many features there are."""
    depth, lrn = int(architecture[4]) - 1, architecture.endswith("lrn")
    counts = _scaled(KNET[:depth], width)
    body: list[nn.Module] = []
    for i, (n, m) in enumerate(itertools.pairwise([channels, *counts])):
        conv = nn.Conv2d(n, m, 5, padding=2, bias=lrn or i > 0)
        if lrn:
            body += [conv, _max(), act()] if i == 0 else [conv, act(), _avg()]
            body += [_lrn(3, 5e-5)] if i < 2 else []
        else:
            norm = nn.BatchNorm2d(m)
            body += [conv, _max(), norm, act()] if i == 0 else [conv, act(), _avg(), norm]
        pixels = _pooled(pixels)
    return [*body, nn.Flatten()], counts[-1] * pixels**2


def _alexnet(
    architecture: str, channels: int, pixels: int, act: Act, width: float, stem: str
) -> tuple[list[nn.Module], int]:
    """The layers up to the features, and how many features there are."""
    c1, c2, c3, c4, c5 = _scaled(ALEXNET, width)
    units = _scaled([4096], width)[0]
    large = stem == "large"
    first = nn.Conv2d(channels, c1, 11, stride=4, padding=5) if large else nn.Conv2d(channels, c1, 5, padding=2)
    side = (pixels + 2 * 5 - 11) // 4 + 1 if large else pixels
    flat = c5 * _pooled(_pooled(_pooled(side))) ** 2

    def lrn() -> list[nn.Module]:
        return [_lrn(5, 1e-4)] if architecture.endswith("lrn") else []

    body: list[nn.Module] = [first, act(), *lrn(), _max()]
    body += [nn.Conv2d(c1, c2, 5, padding=2), act(), *lrn(), _max()]
    body += [nn.Conv2d(c2, c3, 3, padding=1), act()]
    body += [nn.Conv2d(c3, c4, 3, padding=1), act()]
    body += [nn.Conv2d(c4, c5, 3, padding=1), act(), _max(), nn.Flatten()]
    body += [nn.Linear(flat, units), act(), Dropout()]
    body += [nn.Linear(units, units), act(), Dropout()]
    return body, units


# -- resnet ------------------------------------------------------------------------------------------------------------
class Block(nn.Module):
    """A basic block of v1: act(shortcut(x) + BN conv2 act BN conv1 x)."""

    def __init__(self, n: int, m: int, stride: int, project: bool, act: Act) -> None:
        super().__init__()
        projection = (
            nn.Sequential(nn.Conv2d(n, m, 1, stride=stride, bias=False), nn.BatchNorm2d(m)) if project else None
        )
        self.shortcut = projection or nn.Identity()
        self.body = nn.Sequential(_conv3(n, m, stride), nn.BatchNorm2d(m), act(), _conv3(m, m, 1), nn.BatchNorm2d(m))
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut(x)
        return self.act(shortcut + self.body(x))


class PreBlock(nn.Module):
    """A basic block of v2: with pre = act BN x, the projection of pre, or x itself, plus conv2 act BN conv1 pre."""

    def __init__(self, n: int, m: int, stride: int, project: bool, act: Act) -> None:
        super().__init__()
        self.pre = nn.Sequential(nn.BatchNorm2d(n), act())
        self.shortcut = nn.Conv2d(n, m, 1, stride=stride, bias=False) if project else None
        self.body = nn.Sequential(_conv3(n, m, stride), nn.BatchNorm2d(m), act(), _conv3(m, m, 1))

    def forward(self, x: Tensor) -> Tensor:
        pre = self.pre(x)
        shortcut = x if self.shortcut is None else self.shortcut(pre)
        return shortcut + self.body(pre)


def _conv3(n: int, m: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(n, m, 3, stride=stride, padding=1, bias=False)


def _resnet(architecture: str, channels: int, act: Act, width: float, stem: str) -> tuple[list[nn.Module], int]:
    """The layers up to the features, and how many features there are."""
    name, v2 = architecture.removesuffix("v2"), architecture.endswith("v2")
    counts, large = _scaled(RESNET, width), stem == "large"
    first, last = counts[0], counts[-1]
    conv = nn.Conv2d(channels, first, 7, stride=2, padding=3, bias=False) if large else _conv3(channels, first, 1)
    body: list[nn.Module] = [conv] if v2 else [conv, nn.BatchNorm2d(first), act()]
    body += [nn.MaxPool2d(3, 2, padding=1)] if large else []
    for n, m, stride, project in _blocks(counts, BLOCKS[name]):
        body.append((PreBlock if v2 else Block)(n, m, stride, project, act))
    body += [nn.BatchNorm2d(last), act()] if v2 else []
    return [*body, nn.AdaptiveAvgPool2d(1), nn.Flatten()], last


def _blocks(counts: list[int], repeats: list[int]) -> Iterator[tuple[int, int, int, bool]]:
    """Of each block: channels in, channels out, stride, and whether the shortcut is a projection."""
    n = counts[0]
    for group, (m, repeat) in enumerate(zip(counts, repeats, strict=True)):
        for i in range(repeat):
            yield n, m, 2 if group > 0 and i == 0 else 1, i == 0
            n = m


# -- counting ----------------------------------------------------------------------------------------------------------
def parameter_count(
    architecture: str,
    *,
    channels: int,
    pixels: int,
    classes: int,
    width: float = 1.0,
    stem: str = "large",
    head: str = "classes",
) -> int:
    """How many weights and biases there are, those of batch norm included, by arithmetic alone."""
    _known(architecture, stem, head)

    def hidden(c: int) -> int:
        return max(1, round(width * c))

    if architecture.startswith("vnn"):
        u, between = 2 * hidden(64), 1 if architecture == "vnn3" else 0
        return u * classes * (channels * pixels**2 + 1) + between * (u * u + u * classes) + u + classes
    if architecture.startswith("knet"):
        counts = [hidden(c) for c in (32, 32, 64, 128)[: 4 if "5" in architecture else 3]]
        total = sum(25 * n * m + m for n, m in zip([channels, *counts], counts, strict=False))
        total += 0 if "lrn" in architecture else 2 * sum(counts) - counts[0]  # its first bias would be subtracted by BN
        d = counts[-1] * (pixels // 2 ** len(counts)) ** 2  # a pool 3/2 rounded up leaves ⌊n / 2⌋
    elif architecture.startswith("alexnet"):
        a, b, c, d = hidden(96), hidden(256), hidden(384), hidden(4096)
        kernel, side = (11, (pixels + 3) // 4) if stem == "large" else (5, pixels)
        total = kernel**2 * channels * a + a + 25 * a * b + b
        total += 9 * (b * c + c * c + c * b) + c + c + b
        total += b * (side // 8) ** 2 * d + d + d * d + d
    else:
        v2, c1, c2, c3, d = "v2" in architecture, hidden(64), hidden(128), hidden(256), hidden(512)
        total = (49 if stem == "large" else 9) * channels * c1
        total += 2 * d if v2 else 2 * c1  # the BN after the last block, or that of the stem
        n1, n2, n3, n4 = (3, 4, 6, 3) if "34" in architecture else (2, 2, 2, 2)
        for n, m, repeat in ((c1, c1, n1), (c1, c2, n2), (c2, c3, n3), (c3, d, n4)):
            total += 9 * n * m + 9 * m * m + n * m  # the first block: two 3×3 and the 1×1
            total += 2 * n + 2 * m if v2 else 6 * m  # its BNs: pre and inner, or shortcut's and both of the body
            total += (repeat - 1) * (18 * m * m + 4 * m)
    if head == "classes":
        return total + d * classes + classes
    if architecture in ("knet4", "knet5"):
        total -= counts[-1]
    return total + d * d + 2 * d + PROJECTED * d + 2 * PROJECTED
