"""On a GPU: the same numbers as on a CPU within float32 rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from generator import cohort, spec

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("architecture", ["mlp3", "knet4", "knet4lrn"])
@pytest.mark.parametrize("rule", ["sgdm", "adam", "fa", "ia", "dfa"])
def test_statistics_agree_with_the_cpu(rule: str, architecture: str) -> None:
    text = f'name = "x"\ncheckpoints = 3\n[[grid]]\ntask = "photos"\narchitecture = "{architecture}"\nrule = "{rule}"\n'
    networks = spec.parse(text + "epochs = 1\nbatch_size = 256\nseeds = 2\n").networks
    runs = [list(cohort.train(networks, checkpoints=3, probe=64, device=device)) for device in ("cpu", "cuda")]
    for ours, theirs in zip(*runs, strict=True):
        np.testing.assert_allclose(theirs.statistics, ours.statistics, rtol=2e-2, atol=1e-3)
