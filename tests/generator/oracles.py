"""Independent answers: plain torch.nn builds of the architectures, float64 numpy statistics, and small stacks to compare."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import plain_networks
import torch
from torch import Tensor, nn

from generator import counters, rules
from generator.architectures import ARCHITECTURES, family
from generator.architectures.layers import BatchNorm
from generator.curricula.contract import Batch
from generator.spec.network import NetworkSpec, default_pixels
from generator.training.stack import Stack

torch.set_num_threads(1)  # as cohorts are trained; small tensors only lose by sharing a busy machine

WIDTHS = {
    "knet4": 1 / 4,
    "knet4l": 1 / 4,
    "knet5": 1 / 4,
    "knet5l": 1 / 4,
    "alexne": 1 / 32,
    "resnet": 1 / 32,
}  # by the first letters
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "elu": nn.ELU, "leaky_relu": nn.LeakyReLU}
ACTIVATIONS |= {"sigmoid": nn.Sigmoid, "softplus": nn.Softplus}
# Architectures with parameters: each parameter, both families, every norm and pool, with links and without.
FREE = [
    "mlp(depth=5,gain=0.5,taper=0.5)",
    "mlp(depth=4,norm=layer,residual=true)",
    "mlp(norm=batch)",
    "convnet(channels=4,depth=3)",
    "convnet(channels=4,depth=5,growth=1.5,kernel=5,norm=layer,pool=avg)",
    "convnet(channels=4,depth=5,gain=2.0,norm=batch,pool=none,residual=true)",
]

# Every pathway with one update, every update with one pathway, and some more. A pathway meets every kind of architecture. Some
# meet those, too, that are but larger or lack what others have. An update moves a tensor whatever it is of.
WITH_MOMENTUM = [f"{pathway}+momentum" for pathway in rules.PATHWAYS]
CROSSED = [f"bp+{update}" for update in rules.UPDATES if update != "momentum"]
CROSSED += ["fa+adam", "ia+adam", "dfa+adam", "kolen_pollack+muon"]
RULES = [*WITH_MOMENTUM, *CROSSED]
FEW = ["mlp3", "knet4", FREE[1]]
CHAINS = ["mlp2", "mlp3", FREE[0]]  # fully connected, each layer reads the one before as it is


def suits(rule: str, architecture: str, nonlinearity: str = "relu") -> bool:
    """Whether a rule, pathway+update or a pathway alone, can train such networks."""
    pathway, kind = rule.partition("+")[0], family(architecture)
    needs, able = rules.PATHWAYS[pathway], kind.build.pathways
    fits = (architecture in CHAINS or not needs.dense) and nonlinearity in (needs.nonlinearities or ACTIVATIONS)
    fits &= kind.name in (needs.architectures or [kind.name]) and pathway in (able or [pathway])
    return fits and (nonlinearity == "relu" or kind.name != "vnn")


USUAL = [name for name in ARCHITECTURES if not family(name).build.pathways]  # which all pathways may train
LIKE_OTHERS = ["resnet34", "resnet34v2", "knet5", "knet5lrn", "alexnet"]
KINDS = [*(name for name in ARCHITECTURES if name not in LIKE_OTHERS), *FREE]
PAIRS = [*itertools.product(WITH_MOMENTUM, KINDS), *itertools.product(CROSSED, FEW)]
PAIRS += itertools.product([f"{pathway}+momentum" for pathway in ("bp", "fa", "ia", "dfa")], LIKE_OTHERS)
PAIRS = [pair for pair in PAIRS if suits(*pair)]

TOLERANCE = dict.fromkeys(("norm", "mean", "median", "thirdquartile", "var"), 1e-4) | {"skew": 1e-3, "kurtosis": 1e-3}


# -- stacks ------------------------------------------------------------------------------------------------------------
def member(rule: Any = "sgdm", architecture: str = "mlp3", task: str = "digits", **rest: Any) -> NetworkSpec:
    """A network; what is not given is small. For a pathway that needs vector units an mlp's are vectors."""
    parsed = rules.chosen(rule, "a test")
    if "vnn" in rules.PATHWAYS[parsed.pathway].architectures:
        architecture = architecture.replace("mlp", "vnn")
    pixels = default_pixels(task, architecture)
    small = {"batch_size": 6, "epochs": 1, "width": WIDTHS.get(architecture[:6], 1.0), "pixels": pixels}
    small |= {"weight_decay": family(architecture).weight_decay, "stem": family(architecture).default_stem(pixels)}
    return NetworkSpec(root_seed=3, rule=parsed, architecture=architecture, task=task, **small | rest)


def stack(*members: NetworkSpec) -> Stack:
    """A stack in float64."""
    return Stack(members, dtype=torch.float64)


def state(built: Stack, index: int) -> dict[str, np.ndarray]:
    """All that learning moves of one network of a stack, by name."""
    named = {f"{part}{i}": t for part in ("weight", "bias") for i, t in enumerate(_parts(built, part)) if t is not None}
    for i, norm in enumerate(built.network.norms):
        named |= {f"mean{i}": norm.mean, f"var{i}": norm.var} if isinstance(norm, BatchNorm) else {}
    return {name: t[index].detach().numpy().copy() for name, t in (named | built.pathway.tensors()).items()}


def _parts(built: Stack, part: str) -> list[Tensor | None]:
    return [getattr(owner, part) for owner in (*built.network.layers, *built.network.norms)]


# -- plain torch.nn ----------------------------------------------------------------------------------------------------
def plain(built: Stack, index: int = 0) -> nn.Module:
    """Network `index` of a stack, written again with torch.nn, with a copy of its weights and running statistics."""
    model = _build(built.first).double()
    with torch.no_grad():
        for ours, theirs in zip(built.network.parameters(), parameters(model), strict=True):
            theirs.copy_(ours[index])
        for layer, module in zip(built.network.layers, weight_layers(model), strict=True):
            if getattr(layer, "gate", None) is not None:
                module.gate.copy_(layer.gate[index])
        for norm, module in zip(built.network.norms, plain_networks.norms(model), strict=True):
            if not isinstance(norm, BatchNorm):
                continue
            module.running_mean.copy_(norm.mean[index])
            module.running_var.copy_(norm.var[index])
    return model


def _build(first: NetworkSpec) -> nn.Module:
    act, shape = ACTIVATIONS[first.nonlinearity], asdict(first.input)
    if first.architecture not in ("mlp2", "mlp3"):
        head = "projection" if first.objective == "simclr" else "classes"
        form = {"act": act, "width": first.width, "stem": first.stem, "head": head}
        return plain_networks.build(first.architecture, **shape, **form)
    widths = [shape["channels"] * shape["pixels"] ** 2, *[128] * (int(first.architecture[-1]) - 1), shape["classes"]]
    pairs = [nn.Linear(n, m) for n, m in itertools.pairwise(widths)]
    return nn.Sequential(nn.Flatten(), *[each for pair in pairs for each in (pair, act())][:-1])


def run(model: nn.Module, batch: Batch, index: int = 0) -> Tensor:
    """The model's output for network `index`'s stimuli, dropping in training what the engine drops."""
    dropouts = [m for m in model.modules() if isinstance(m, plain_networks.Dropout)]
    units = {id(m): layer.out_features for m, layer in zip(dropouts, _fully_connected(model), strict=False)}
    for name, module in zip(("fc6", "fc7"), dropouts, strict=False):
        drawn = counters.uniform(counters.derive(batch.keys, f"dropout {name}"), (batch.x.shape[1], units[id(module)]))
        module.mask = (drawn[index] >= 0.5).double()
    return model(batch.x[index])


def _fully_connected(model: nn.Module) -> list[nn.Linear]:
    return [m for m in model.modules() if isinstance(m, nn.Linear)]


def weight_layers(model: nn.Module) -> list[Any]:
    """The modules with weights that are observed."""
    return plain_networks.weight_layers(model)


def parameters(model: nn.Module) -> list[Any]:
    """Weights and biases, those of normalisation last."""
    owners: list[Any] = [*weight_layers(model), *plain_networks.norms(model)]
    return [p for m in owners for p in (m.weight, m.bias) if p is not None]


class Asymmetric(nn.Module):
    """A layer whose value and weight gradient are its own, and whose input gradient is that of `matrix`."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, matrix: Tensor) -> None:
        super().__init__()
        self.layer, self.matrix = layer, matrix

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            back = nn.functional.linear(x, self.matrix)
        else:
            how = {"stride": self.layer.stride, "padding": self.layer.padding}
            back = nn.functional.conv2d(x, self.matrix, **how)
        return self.layer(x.detach()) + back - back.detach()


def asymmetric(model: nn.Module, matrices: Mapping[int, Tensor]) -> nn.Module:
    """The network, changed so that its weight layers (counted from 0) send the error down through `matrices`."""
    places = {id(m): i for i, m in enumerate(weight_layers(model))}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if places.get(id(child)) in matrices:
                setattr(parent, name, Asymmetric(child, matrices[places[id(child)]]))
    return model


def gradients(model: nn.Module, batch: Batch, index: int = 0) -> list[np.ndarray]:
    """Autograd's gradients of the cross-entropy, in the order of `parameters`."""
    loss = nn.functional.cross_entropy(run(model, batch, index), batch.y[index])
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
