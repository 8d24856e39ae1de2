"""`change`: of the scalar (1/n_out) Σ_i Σ_j ∂y_i/∂x_j of a layer, per stimulus (Nayebi et al. 2020).

Through the forward weights: the released code takes a vector-Jacobian product, which under feedback alignment returns B instead.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic
from generator.observables.contract import Observable, Reading
from generator.observables.signals import ChangeTerms
from generator.observables.tensors import FUNCTIONS

MEANING = "of (1/n_out) Σ_i Σ_j ∂y_i/∂x_j (forward weights), averaged over the probe stimuli"


class ActivityChange(Observable):
    """How much a layer's output changes with its input, averaged over the probe stimuli."""

    name = "change"
    statistics = tuple(
        Statistic(f"change_{name}", "change", name, "mean", f"mean of {of}, {MEANING}")
        for name, of in FUNCTIONS.items()
    )
    signals = (ChangeTerms,)

    def reduce(self, reading: Reading) -> Float[Tensor, "k 3"]:
        """All there is."""
        values = reading.picked[ChangeTerms].values
        return torch.stack([values.mean(1), values.square().mean(1), values.abs().mean(1)], dim=1)

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """One product with the slopes; small beside the statistics of a tensor."""
        return 0.0
