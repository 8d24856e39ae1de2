"""On a GPU: the same numbers as on a CPU within float32 rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from generator import cohort, spec
from generator.observables import tensor_statistics

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("architecture", ["mlp3", "knet4", "knet4lrn"])
@pytest.mark.parametrize("rule", ["sgdm", "adam", "fa", "ia", "dfa"])
def test_statistics_agree_with_the_cpu(rule: str, architecture: str) -> None:
    text = f'name = "x"\ncheckpoints = 3\n[[grid]]\ntask = "photos"\narchitecture = "{architecture}"\nrule = "{rule}"\n'
    networks = spec.parse(text + "epochs = 1\nbatch_size = 256\nseeds = 2\n").networks
    runs = [list(cohort.train(networks, checkpoints=3, probe=64, device=device)) for device in ("cpu", "cuda")]
    for ours, theirs in zip(*runs, strict=True):
        np.testing.assert_allclose(theirs.statistics, ours.statistics, rtol=2e-2, atol=1e-3)


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
    first, last = cohort.train(networks, checkpoints=2, probe=64, device="cuda")
    assert (last.probe_loss < first.probe_loss).all()
