"""What pathways build on that go without automatic differentiation: gradients from what each layer read and its error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from generator.architectures.layers import WeightLayer


def synapses(layers: Iterable[WeightLayer]) -> list[Tensor]:
    """Weights and biases, layer by layer."""
    return [tensor for layer in layers for tensor in (layer.weight, layer.bias) if tensor is not None]


def gradients(layers: Iterable[WeightLayer], read: Iterable[Tensor], errors: Iterable[Tensor]) -> list[Tensor]:
    """Σ δ xᵀ and Σ δ for `synapses`, from what each layer read, x, and the error δ at its W x + b."""
    found = []
    for layer, x, error in zip(layers, read, errors, strict=True):
        found.append(layer.correlate(x, error))
        found += [layer.positions_sum(error)] if layer.bias is not None else []
    return found


def one_hot(labels: Int[Tensor, "k b"], like: Float[Tensor, "k b classes"]) -> Float[Tensor, "k b classes"]:
    """y*: 1 at the label's class, else 0."""
    return F.one_hot(labels.long(), like.shape[-1]).to(like.dtype)


def mean_over(values: Sequence[list[Tensor]]) -> list[Tensor]:
    """The mean of several lists of gradients, tensor by tensor."""
    return [torch.stack(each).mean(0) for each in zip(*values, strict=True)]
