"""Alignment primitives: local losses by which backward weights B find the forward ones (Kunin et al. 2020, 2003.01513).

With p_f = W x, p_b = B x (B has W's shape here) and ⟨·⟩ the mean over the batch and, in convolutions, over the positions of
the map it is taken on [ours], the primitives are

    amp = −⟨p_f · p_b⟩        null = ⟨‖Bᵀ p_f‖²⟩        sparse = ⟨‖p_f‖² + ‖p_b‖²⟩
    decay = ‖W‖² + ‖B‖²       self = −tr(Bᵀ W)

W is held constant, so only gradients with respect to B matter. Those of amp and null are both of the form Σ p_f zᵀ: each
function below is its partner z of p_f, so that a sum of them costs one product.
"""

from __future__ import annotations

from torch import Tensor

from generator.architectures.layers import WeightLayer

DECAY = 2.0  # ∂ decay / ∂B = 2 B


def amp_partner(x: Tensor, p_f: Tensor) -> Tensor:
    """z = −x / n: ∂ amp / ∂B = −⟨p_f xᵀ⟩."""
    return x / -samples(p_f)


def null_partner(layer: WeightLayer, x: Tensor, p_f: Tensor, feedback: Tensor) -> Tensor:
    """z = 2 Bᵀ p_f / n: ∂ null / ∂B = 2 ⟨p_f (Bᵀ p_f)ᵀ⟩."""
    below = layer.backproject(p_f, feedback, x)
    return below.mul_(2 / samples(below))


def samples(p: Tensor) -> int:
    """Stimuli × positions of a map (k, b, channels, …)."""
    return p[0, :, 0].numel()
