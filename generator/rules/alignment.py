"""Alignment primitives: local losses by which backward weights B find the forward ones (Kunin et al. 2020, 2003.01513).

With p_f = W x, p_b = B x (B has W's shape here) and ⟨·⟩ the mean over the batch and, in convolutions, over the positions of
the map it is taken on [ours], the primitives are

    amp = −⟨p_f · p_b⟩        null = ⟨‖Bᵀ p_f‖²⟩        decay = ‖W‖² + ‖B‖²

W is held constant, so each function below is the gradient with respect to B.
"""

from __future__ import annotations

from torch import Tensor

from generator.layers import WeightLayer


def amp_gradient(layer: WeightLayer, x: Tensor, p_f: Tensor) -> Tensor:
    """∂ amp / ∂B = −⟨p_f xᵀ⟩."""
    return layer.correlate(x, p_f).div_(-_samples(p_f))


def null_gradient(layer: WeightLayer, p_f: Tensor, feedback: Tensor) -> Tensor:
    """∂ null / ∂B = 2 ⟨p_f (Bᵀ p_f)ᵀ⟩."""
    below = layer.backproject(p_f, feedback)
    return layer.correlate(below, p_f).mul_(2 / _samples(below))


def decay_gradient(feedback: Tensor) -> Tensor:
    """∂ decay / ∂B = 2 B."""
    return 2 * feedback


def _samples(p: Tensor) -> int:
    """Stimuli × positions of a map (k, b, channels, …)."""
    return p[0, :, 0].numel()
