"""Independent answers: plain torch.nn builds of the architectures, float64 numpy statistics, and small stacks to compare."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from generator import rules
from generator.architectures import family
from generator.cohort import Stack
from generator.rules.contract import Batch
from generator.spec import NetworkSpec, default_pixels

torch.set_num_threads(1)  # as cohorts are trained; small tensors only lose by sharing a busy machine

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}

TOLERANCE = dict.fromkeys(("norm", "mean", "median", "thirdquartile", "var"), 1e-4) | {"skew": 1e-3, "kurtosis": 1e-3}


# -- stacks ------------------------------------------------------------------------------------------------------------
def member(rule: Any = "sgdm", architecture: str = "mlp3", task: str = "digits", **rest: Any) -> NetworkSpec:
    """A network; what is not given is small."""
    decay = rest.pop("weight_decay", family(architecture).weight_decay)
    parsed = rules.parse(rule, "a test")
    return NetworkSpec(
        root_seed=3,
        rule=parsed,
        architecture=architecture,
        task=task,
        pixels=default_pixels(task, architecture),
        weight_decay=decay,
        **{"batch_size": 6, "epochs": 1} | rest,
    )


def stack(*members: NetworkSpec) -> Stack:
    """A stack in float64."""
    return Stack(members, dtype=torch.float64)


def state(built: Stack, index: int) -> dict[str, np.ndarray]:
    """All that learning moves of one network of a stack, by name."""
    named = {f"{part}{i}": t for part in ("weight", "bias") for i, t in enumerate(_parts(built, part))}
    for i, norm in enumerate(built.network.norms):
        named |= {f"mean{i}": norm.mean, f"var{i}": norm.var}
    return {name: t[index].detach().numpy().copy() for name, t in (named | built.pathway.tensors()).items()}


def _parts(built: Stack, part: str) -> list[Tensor]:
    return [getattr(owner, part) for owner in (*built.network.layers, *built.network.norms)]


# -- plain torch.nn ----------------------------------------------------------------------------------------------------
def plain(built: Stack, index: int = 0) -> nn.Sequential:
    """Network `index` of a stack, written again with torch.nn, with a copy of its weights and running statistics."""
    first = built.first
    act, channels, classes = ACTIVATIONS[first.nonlinearity], first.input.channels, first.input.classes
    model = _BUILDS[first.architecture](act, channels, first.input.pixels, classes).double()
    with torch.no_grad():
        for ours, theirs in zip(built.network.parameters(), parameters(model), strict=True):
            theirs.copy_(ours[index])
        for norm, module in zip(built.network.norms, _norms(model), strict=True):
            module.running_mean.copy_(norm.mean[index])
            module.running_var.copy_(norm.var[index])
    return model


def _mlp(depth: int) -> Any:
    def build(act: Any, channels: int, pixels: int, classes: int) -> nn.Sequential:
        widths = [channels * pixels * pixels, *[128] * (depth - 1), classes]
        pairs = [nn.Linear(n, m) for n, m in itertools.pairwise(widths)]
        return nn.Sequential(nn.Flatten(), *[each for pair in pairs for each in (pair, act())][:-1])

    return build


def _conv(n: int, m: int) -> nn.Conv2d:
    return nn.Conv2d(n, m, 5, padding=2)


def _avg() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)


def _max() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _lrn() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(7, alpha=7 * 5e-5, beta=0.75, k=1.0)


def _knet4(act: Any, channels: int, pixels: int, classes: int) -> nn.Sequential:
    first = (_conv(channels, 32), _max(), nn.BatchNorm2d(32), act())
    second = (_conv(32, 32), act(), _avg(), nn.BatchNorm2d(32))
    third = (_conv(32, 64), act(), _avg(), nn.BatchNorm2d(64))
    return nn.Sequential(*first, *second, *third, nn.Flatten(), nn.Linear(64 * (pixels // 8) ** 2, classes))


def _knet4lrn(act: Any, channels: int, pixels: int, classes: int) -> nn.Sequential:
    first = (_conv(channels, 32), _max(), act(), _lrn())
    second = (_conv(32, 32), act(), _avg(), _lrn())
    third = (_conv(32, 64), act(), _avg())
    return nn.Sequential(*first, *second, *third, nn.Flatten(), nn.Linear(64 * (pixels // 8) ** 2, classes))


_BUILDS: dict[str, Any] = {"mlp2": _mlp(2), "mlp3": _mlp(3), "knet4": _knet4, "knet4lrn": _knet4lrn}


def weight_layers(model: nn.Sequential) -> list[Any]:
    """The modules with weights that are observed."""
    return [m for m in model if isinstance(m, nn.Linear | nn.Conv2d | Asymmetric)]


def _norms(model: nn.Sequential) -> list[Any]:
    return [m for m in model if isinstance(m, nn.BatchNorm2d)]


def parameters(model: nn.Sequential) -> list[Any]:
    """Weights and biases, those of normalisation last."""
    return [p for m in (*weight_layers(model), *_norms(model)) for p in (m.weight, m.bias)]


class Asymmetric(nn.Module):
    """A layer whose value and weight gradient are its own, and whose input gradient is that of `matrix`."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, matrix: Tensor) -> None:
        super().__init__()
        self.layer, self.matrix, self.weight, self.bias = layer, matrix, layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        linear = isinstance(self.layer, nn.Linear)
        back = nn.functional.linear(x, self.matrix) if linear else nn.functional.conv2d(x, self.matrix, padding=2)
        return self.layer(x.detach()) + back - back.detach()


def asymmetric(model: nn.Sequential, matrices: Mapping[int, Tensor]) -> nn.Sequential:
    """The same network, its weight layers (counted from 0) sending the error down through `matrices`."""
    places = {id(m): i for i, m in enumerate(weight_layers(model))}
    swap = [Asymmetric(m, matrices[places[id(m)]]) if places.get(id(m)) in matrices else m for m in model]
    return nn.Sequential(*swap)


def gradients(model: nn.Sequential, batch: Batch, index: int = 0) -> list[np.ndarray]:
    """Autograd's gradients of the cross-entropy, in the order of `parameters`."""
    loss = nn.functional.cross_entropy(model(batch.x[index]), batch.y[index])
    return [g.numpy() for g in torch.autograd.grad(loss, parameters(model))]


# -- statistics --------------------------------------------------------------------------------------------------------
FUNCTIONS = {"raw": lambda x: x, "sq": lambda x: x * x, "abs": abs}


def statistics(x: np.ndarray) -> dict[tuple[str, str], float]:
    """The 21 statistics of all elements of x, from their definitions, in float64."""
    found: dict[tuple[str, str], float] = {}
    for name, function in FUNCTIONS.items():
        v = function(np.asarray(x, np.float64).ravel())
        mean, median, var, constant = v.mean(), np.quantile(v, 0.5), v.var(), np.ptp(v) == 0
        shape = {"skew": np.nan, "kurtosis": np.nan}
        if not constant:
            z = (v - mean) / np.sqrt(var)
            shape = {"skew": 3 * (mean - median) / np.sqrt(var), "kurtosis": np.mean(z**4)}
        parts = {"norm": np.sqrt(np.sum(v * v)), "mean": mean, "median": median, "thirdquartile": np.quantile(v, 0.75)}
        parts |= {"var": 0.0 if constant else var, **shape}
        found |= {(name, statistic): float(value) for statistic, value in parts.items()}
    return found


def floor(function: str, statistic: str, x: np.ndarray) -> float:
    """1e-3 of the root mean square of the tensor, in the statistic's own units (that of a standardised tensor is 1)."""
    v = FUNCTIONS[function](np.asarray(x, np.float64))
    rms = float(np.sqrt(np.mean(v * v)))
    return 1e-3 * {"skew": 1.0, "kurtosis": 1.0, "var": rms**2}.get(statistic, rms)


def close(actual: float, expected: float, tolerance: float, least: float) -> bool:
    """|error| ≤ tolerance · max(|expected|, least); undefined only where that is expected."""
    if np.isnan(expected) or np.isnan(actual):
        return bool(np.isnan(expected) and np.isnan(actual))
    return abs(actual - expected) <= tolerance * max(abs(expected), least)
