"""The baselines that the engine is measured against: one network at a time, as a competent user of PyTorch would write it.

`plain` takes the statistics from torch's own sort-based quantiles, norms and variances; `tuned` is the same with one numpy
sort per tensor. Modules, optimisers and loss are torch's. What cannot differ if the numbers are to be equal is shared with
the engine: the stimuli, and the keyed random numbers of weights and batches.

As a script it trains networks of one kind and prints how long each took:

    python tests/benchmarks/baseline.py plain mlp3 digits sgdm --networks 2 --threads 2 --save out.npy
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator import observables
from generator.curricula import tasks
from generator.keys import stream
from generator.spec import spec
from generator.spec.network import NetworkSpec
from generator.training.loop import checkpoint_steps


# -- networks ----------------------------------------------------------------------------------------------------------
def mlp(depth: int) -> Callable[[int, int, int], nn.Sequential]:
    """`depth` fully connected layers of 128 units."""

    def build(channels: int, pixels: int, classes: int) -> nn.Sequential:
        widths = [channels * pixels**2, *[128] * (depth - 1), classes]
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return build


def knet4(norm: bool) -> Callable[[int, int, int], nn.Sequential]:
    """Three convolutions and a read-out, with batch norm or local response norm."""

    def build(channels: int, pixels: int, classes: int) -> nn.Sequential:
        def conv(n_in: int, n_out: int) -> nn.Module:
            return nn.Conv2d(n_in, n_out, 5, padding=2)

        def avg() -> nn.Module:
            return nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)

        def lrn() -> nn.Module:
            return nn.LocalResponseNorm(7, alpha=7 * 5e-5, beta=0.75, k=1.0)

        maximum, relu = nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU
        if norm:
            first = [conv(channels, 32), maximum, nn.BatchNorm2d(32), relu()]
            second = [conv(32, 32), relu(), avg(), nn.BatchNorm2d(32)]
            third = [conv(32, 64), relu(), avg(), nn.BatchNorm2d(64)]
        else:
            first = [conv(channels, 32), maximum, relu(), lrn()]
            second = [conv(32, 32), relu(), avg(), lrn()]
            third = [conv(32, 64), relu(), avg()]
        return nn.Sequential(*first, *second, *third, nn.Flatten(), nn.Linear(64 * (pixels // 8) ** 2, classes))

    return build


BUILDS = {"mlp2": mlp(2), "mlp3": mlp(3), "knet4": knet4(norm=True), "knet4lrn": knet4(norm=False)}


class AsymmetricLinear(torch.autograd.Function):
    """W x + b, the error sent down through B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, feedback: Tensor) -> Tensor:
        ctx.save_for_backward(x, feedback)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        x, feedback = ctx.saved_tensors
        return error @ feedback, error.T @ x, error.sum(0), None


class AsymmetricConv(torch.autograd.Function):
    """W ∗ x + b with SAME padding, the error sent down through B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, feedback: Tensor) -> Tensor:
        ctx.save_for_backward(x, feedback)
        return F.conv2d(x, weight, bias, padding=feedback.shape[-1] // 2)

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        x, feedback = ctx.saved_tensors
        padding = feedback.shape[-1] // 2
        below = nn.grad.conv2d_input(x.shape, feedback, error, padding=padding)
        return below, nn.grad.conv2d_weight(x, feedback.shape, error, padding=padding), error.sum((0, 2, 3)), None


class Asymmetric(nn.Module):
    """A weight layer with feedback weights B of its own."""

    def __init__(self, layer: Any, feedback: Tensor) -> None:
        super().__init__()
        self.weight, self.bias, self.feedback = layer.weight, layer.bias, nn.Parameter(feedback)
        self.apply_function = (AsymmetricLinear if isinstance(layer, nn.Linear) else AsymmetricConv).apply

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_function(x, self.weight, self.bias, self.feedback)

    def alignment_loss(self, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
        """α·amp + β·null + γ·decay, W held constant."""
        weight, feedback = self.weight.detach(), self.feedback
        if weight.ndim == 2:
            forward, backward = x @ weight.T, x @ feedback.T
            null = (forward @ feedback).square().sum(1).mean()
        else:
            padding = feedback.shape[-1] // 2
            forward, backward = (F.conv2d(x, w, padding=padding) for w in (weight, feedback))
            null = F.conv_transpose2d(forward, feedback, padding=padding).square().sum(1).mean()
        amp = -(forward * backward).sum(1).mean()
        return alpha * amp + beta * null + gamma * feedback.square().sum()


def build(member: NetworkSpec) -> tuple[nn.Sequential, list[int]]:
    """The network with its initial weights, and the places of its weight layers."""
    shape = member.input
    model = BUILDS[member.architecture](shape.channels, shape.pixels, shape.classes)
    places = [i for i, module in enumerate(model) if isinstance(module, nn.Linear | nn.Conv2d)]
    for number, (place, size) in enumerate(zip(places, member.sizes, strict=True)):
        layer: Any = model[place]
        scale = ((1 if place == places[-1] else 2) / layer.weight[0].numel()) ** 0.5

        def draw(purpose: str, name: str = size.name, like: Tensor = layer.weight, scale: float = scale) -> Tensor:
            source = stream(purpose, member.root_seed, member.model_seed, member.architecture, name)
            return torch.from_numpy(source.standard_normal(tuple(like.shape))).float() * scale

        with torch.no_grad():
            layer.weight.copy_(draw("init"))
            layer.bias.zero_()
        if member.rule.pathway in ("fa", "ia") and number > 0:
            model[place] = Asymmetric(layer, draw("feedback"))
    return model, places


# -- training ----------------------------------------------------------------------------------------------------------
def train(
    member: NetworkSpec, statistics: Callable[[Tensor], Tensor], probe: int = 256, checkpoints: int = 21
) -> np.ndarray:
    """Train one network; (checkpoints, layers, 45) statistics."""
    task = tasks.load(member.task, member.pixels)
    images, labels = torch.from_numpy(task.train.images), torch.from_numpy(task.train.labels)
    stimuli, answers = (torch.from_numpy(part[task.order[:probe]]) for part in (task.test.images, task.test.labels))
    model, places = build(member)
    asymmetric = [module for module in model if isinstance(module, Asymmetric)]
    feedback = [module.feedback for module in asymmetric]
    weights = [model[place].weight for place in places]
    others = [p for p in model.parameters() if all(p is not q for q in (*weights, *feedback))]
    groups = [{"params": weights, "weight_decay": member.weight_decay}, {"params": others}]
    parameters = member.rule.parameters
    if member.rule.update == "adam":
        optimiser: torch.optim.Optimizer = torch.optim.Adam(groups, lr=member.rate)
    else:
        optimiser = torch.optim.SGD(groups, lr=member.rate, momentum=parameters["momentum"])
    aligned = member.rule.pathway == "ia"
    if aligned:
        aligner = torch.optim.Adam(feedback, lr=parameters["feedback_rate"])
        metaparameters = {name: parameters[name] for name in ("alpha", "beta", "gamma")}
        received: dict[Asymmetric, Tensor] = {}
        for module in asymmetric:
            module.register_forward_pre_hook(lambda m, inputs: received.__setitem__(m, inputs[0].detach()))

    def order(epoch: int) -> Tensor:
        keys = (member.root_seed, member.data_seed, member.task, epoch)
        return torch.from_numpy(stream("order", *keys).permutation(len(labels)))

    settle(model, images[order(0)[: member.batch_size]])
    seen, done = [], 0
    for until in checkpoint_steps(member.steps, checkpoints):
        for step in range(done, until):
            epoch, place = divmod(step, member.steps_per_epoch)
            if place == 0:
                rows = order(epoch)
            batch = rows[place * member.batch_size : (place + 1) * member.batch_size]
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            if aligned:  # on the forward weights that the batch was seen with
                aligner.zero_grad()
                sum(m.alignment_loss(received[m], **metaparameters) for m in asymmetric).backward()
                aligner.step()
            optimiser.step()
        seen.append(observe(model, places, stimuli, answers, statistics))
        done = until
    return np.stack(seen)


def settle(model: nn.Sequential, batch: Tensor) -> None:
    """Running statistics from the first batch."""
    norms = [module for module in model if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(batch)
    for norm in norms:
        norm.momentum = 0.1


@torch.no_grad()
def observe(
    model: nn.Sequential, places: list[int], x: Tensor, labels: Tensor, statistics: Callable[[Tensor], Tensor]
) -> np.ndarray:
    """(layers, 45) statistics on the probe set."""
    model.eval()
    passed, h = [], x
    for i, module in enumerate(model):
        before, h = h, module(h)
        if i in places:
            follows = i + 1 < len(model) and isinstance(model[i + 1], nn.ReLU)
            passed.append((module, before, F.relu(h) if follows else h, follows))
    F.cross_entropy(h, labels)
    model.train()
    found = []
    for module, before, y, relu in passed:
        ones, weight = torch.ones_like(before[:1]), module.weight
        rows = F.linear(ones, weight) if weight.ndim == 2 else F.conv2d(ones, weight, padding=weight.shape[-1] // 2)
        change = (((y > 0) * rows) if relu else rows.expand_as(y)).flatten(1).double().mean(1)
        parts = [statistics(weight.flatten()[None])[0], statistics(y.flatten(1)).mean(0)]
        found.append(torch.cat([*parts, torch.stack([change.mean(), change.square().mean(), change.abs().mean()])]))
    return torch.stack(found).float().numpy()


# -- statistics --------------------------------------------------------------------------------------------------------
def plain(x: Tensor) -> Tensor:
    """The 21 statistics of every row with torch's own functions, (rows, 21)."""
    shares = torch.tensor([0.5, 0.75], dtype=x.dtype, device=x.device)
    columns = []
    for v in (x, x.square(), x.abs()):
        median, third = torch.quantile(v, shares, dim=1)
        columns += _moments(v, median, third)
    return torch.stack(columns, dim=1).double()


def tuned(x: Tensor) -> Tensor:
    """The same with one numpy sort per tensor (and one of its magnitudes if it has both signs)."""
    ordered = np.sort(x.numpy(), axis=1)
    size = ordered if (ordered[:, 0] >= 0).all() else np.sort(np.abs(ordered), axis=1)
    columns = []
    for v, source, power in ((x, ordered, 1), (x.square(), size, 2), (x.abs(), size, 1)):
        columns += _moments(v, *(torch.from_numpy(_between(source, q, power)) for q in (0.5, 0.75)))
    return torch.stack(columns, dim=1).double()


def _between(ordered: np.ndarray, q: float, power: int) -> np.ndarray:
    position = (ordered.shape[1] - 1) * q
    low = int(position)
    below, above = (ordered[:, i] ** power for i in (low, min(low + 1, ordered.shape[1] - 1)))
    return below + np.float32(position - low) * (above - below)


def _moments(v: Tensor, median: Tensor, third: Tensor) -> list[Tensor]:
    mean, var = v.mean(1), v.var(1, correction=0)
    kurtosis = (v - mean[:, None]).square().square().mean(1) / var.square()
    norm = torch.linalg.vector_norm(v, dim=1)
    return [norm, mean, median, third, var, 3 * (mean - median) / var.sqrt(), kurtosis]


STATISTICS = {"plain": plain, "tuned": tuned}
KINDS = (*STATISTICS, "jax")  # the last: see jitted.py


# -- as a script -------------------------------------------------------------------------------------------------------
def workload(architecture: str, task: str, rules: list[str], each: int, epochs: int, checkpoints: int) -> str:
    """The fixed workload as a spec: `each` networks per rule, which differ in their learning rate."""
    rates = [round(2 ** (i / each - 0.5), 4) for i in range(each)]
    return (
        f'name = "bench"\ncheckpoints = {checkpoints}\nprobe = 256\n[[grid]]\ntask = "{task}"\n'
        f'architecture = "{architecture}"\nrule = {json.dumps(rules)}\nbatch_size = 128\nepochs = {epochs}\n'
        f"learning_rate = {rates}\n"
    )


def trained(kind: str, member: NetworkSpec, checkpoints: int = 21) -> np.ndarray:
    """A network of one of the `KINDS`; (checkpoints, layers, 45) statistics."""
    if kind == "jax":
        import jitted

        return jitted.train(member, checkpoints=checkpoints)
    return train(member, STATISTICS[kind], checkpoints=checkpoints)


def _timed(
    kind: str, members: list[NetworkSpec], checkpoints: int, table: Path | None
) -> Iterator[tuple[float, np.ndarray]]:
    for member in members:
        start = time.perf_counter()
        found = trained(kind, member, checkpoints)
        if table is not None:
            _write(found, table)
        yield time.perf_counter() - start, found


def _write(found: np.ndarray, table: Path) -> None:
    names = [one.name for one in observables.statistics()]
    pd.DataFrame(found.reshape(-1, len(names)), columns=names).to_parquet(table)


def main() -> None:
    """Train, and print seconds per network as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("architecture")
    parser.add_argument("task")
    parser.add_argument("rule")
    parser.add_argument("--networks", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--checkpoints", type=int, default=21)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parquet", action="store_true", help="write each network's statistics, too")
    parser.add_argument("--save", type=Path, required=True, help="folder for the statistics, one file per network")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    text = workload(
        arguments.architecture,
        arguments.task,
        [arguments.rule],
        arguments.networks,
        arguments.epochs,
        arguments.checkpoints,
    )
    members = spec.parse(text).networks
    # JAX compiles for so many updates between checkpoints as there will be
    epochs, checkpoints = (arguments.epochs, arguments.checkpoints) if arguments.kind == "jax" else (1, 2)
    warm = spec.parse(workload(arguments.architecture, arguments.task, [arguments.rule], 1, epochs, checkpoints))
    _write(trained(arguments.kind, warm.networks[0], checkpoints), arguments.save / "warm.parquet")
    seconds = []
    table = arguments.save / f"{arguments.kind}.parquet" if arguments.parquet else None
    runs = _timed(arguments.kind, members, arguments.checkpoints, table)
    for member, (taken, found) in zip(members, runs, strict=True):
        seconds.append(taken)
        np.save(arguments.save / f"{arguments.kind}-{member.network_id}.npy", found)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
