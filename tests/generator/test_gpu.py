"""On a GPU: the same numbers as on a CPU within float32 rounding.

Learning multiplies rounding: with convolutions that sum in another order, one CPU comes as far from itself after an epoch of the
deep networks. That is measured beside, and bounds what a GPU may do.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from generator import counters
from generator.architectures.layers import Conv
from generator.clusters import process
from generator.curricula.augmentation import augment
from generator.dataset.electrodes import FULL, Electrode
from generator.observables import OBSERVABLES
from generator.observables.tensors import tensor_statistics
from generator.spec import spec
from generator.training import loop

EVERY = tuple(OBSERVABLES)

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture(autouse=True)
def set_up_as_workers_are() -> Iterator[None]:
    """PyTorch's own default for convolutions is TF32, with ten bits of mantissa."""
    with process.for_training():
        yield


@pytest.mark.parametrize("architecture", ["mlp3", "knet4", "knet4lrn", "alexnet", "resnet18", "resnet18v2"])
@pytest.mark.parametrize("rule", ["sgdm", "adam", "fa", "ia", "dfa"])
def test_statistics_agree_with_the_cpu(rule: str, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'name = "x"\ncheckpoints = 3\n[[grid]]\ntask = "photos"\narchitecture = "{architecture}"\nrule = "{rule}"\n'
    text += f"width = {0.125 if architecture[:6] in ('alexne', 'resnet') else 1.0}\n"
    networks = spec.parse(text + "epochs = 1\nbatch_size = 256\nseeds = 2\n").networks

    def trained(device: str) -> list[np.ndarray]:
        return [seen.statistics for seen in loop.train(networks, checkpoints=3, probe=64, device=device)]

    ours, theirs = trained("cpu"), trained("cuda")
    # not by mkldnn.flags(), which also sets TF32, and so warns where PyTorch knows CUDA
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    reordered = trained("cpu")
    assert _far(theirs[0], ours[0]) == 0
    for one, other, same in zip(theirs[1:], reordered[1:], ours[1:], strict=True):
        assert _far(one, same) <= 0.01 + 5 * _far(other, same)


def _far(one: np.ndarray, other: np.ndarray) -> float:
    """The share of statistics that differ by more than rounding alone does, before learning has made more of it."""
    return float(np.mean(~np.isclose(one, other, rtol=2e-2, atol=1e-3, equal_nan=True)))


@pytest.mark.parametrize("architecture", ["mlp3", "knet4"])
def test_electrodes_agree_with_the_cpu(architecture: str) -> None:
    text = f'name = "x"\ncheckpoints = 2\n[[grid]]\ntask = "photos"\narchitecture = "{architecture}"\nrule = "fa"\n'
    networks = spec.parse(text + "epochs = 1\nbatch_size = 256\nseeds = 2\n").networks
    names = ["units30_relative0.5", "fraction0.2_absolute0.1", "units50_between_redraw", "relative1_seed1"]
    electrodes = [FULL, *map(Electrode.named, names)]
    runs = [
        next(loop.train(networks, checkpoints=2, probe=64, device=device, electrodes=electrodes))
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(runs[1].statistics, runs[0].statistics, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("architecture", ["mlp(depth=3,norm=layer)", "convnet(norm=batch,residual=true)"])
def test_every_observable_agrees_with_the_cpu(architecture: str) -> None:
    text = f'name = "x"\ncheckpoints = 3\n[[grid]]\ntask = "mixture:3"\nrule = "ia"\narchitecture = "{architecture}"\n'
    networks = spec.parse(text + "pixels = 8\nepochs = 1\nbatch_size = 512\nseeds = 2\n").networks
    electrodes = [FULL, *map(Electrode.named, ("units10", "units30_relative0.25"))]
    runs = [
        list(loop.train(networks, checkpoints=3, probe=64, device=device, electrodes=electrodes, observables=EVERY))
        for device in ("cpu", "cuda")
    ]
    for ours, theirs in zip(*runs, strict=True):
        np.testing.assert_array_equal(np.isnan(theirs.statistics), np.isnan(ours.statistics))
        assert _far(theirs.statistics, ours.statistics) <= 0.01


@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (300, 128), (64, 8192), (2, 300_001)])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_tensor_statistics_agree_with_the_cpu(shape: tuple[int, int], positive: bool, scale: float) -> None:
    x = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x = x.relu() if positive else x
    ours, theirs = tensor_statistics(x), tensor_statistics(x.cuda()).cpu()
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6 * scale)


def test_a_stack_of_hundreds_learns_on_one_device() -> None:
    text = 'name = "x"\ncheckpoints = 2\n[[grid]]\ntask = "digits"\narchitecture = "mlp3"\nrule = "adam"\nseeds = 16\n'
    networks = spec.parse(text + "epochs = 3\nbatch_size = 128\n").networks
    first, last = loop.train(networks, checkpoints=2, probe=64, device="cuda")
    assert (last.probe_loss < first.probe_loss).all()


def test_keyed_numbers_and_views_are_those_of_the_cpu() -> None:
    keys = torch.tensor([counters.key("a"), counters.key("b")])
    assert torch.equal(counters.uniform(keys.cuda(), (1000, 7)).cpu(), counters.uniform(keys, (1000, 7)))
    x = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(augment(x.cuda(), keys.cuda()).cpu(), augment(x, keys), atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_strided_convolution_agrees_with_the_cpu(stride: int) -> None:
    rng = torch.Generator().manual_seed(0)
    layer = Conv("c", 3, 4, 5, "linear", lambda p, n, dims: torch.randn(2, *dims, generator=rng), stride=stride)
    x = torch.randn(2, 6, 3, 17, 17, generator=rng)
    y = layer.forward(x, layer.weight, layer.bias)
    answers = [y, layer.backproject(y, layer.weight, x), layer.correlate(x, y)]
    x, y, w = x.cuda(), y.cuda(), layer.weight.cuda()
    found = [layer.forward(x, w, layer.bias.cuda()), layer.backproject(y, w, x), layer.correlate(x, y)]
    for ours, theirs in zip(found, answers, strict=True):
        np.testing.assert_allclose(ours.cpu(), theirs, rtol=1e-3, atol=1e-3)
