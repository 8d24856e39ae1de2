"""Unsupervised rules by which the cells of a layer compete, under a read-out. As in hebbian.py ΔW = ⟨q xᵀ⟩ − ⟨q ⊙ u⟩ W, with

    krotov_hopfield      q = 1 for the most driven cell, −δ for the one of a given rank, else 0 (2019, 1806.10181)
    soft_hebb            q = softmax(u / τ), negative but for the most driven cell (Journé et al. 2023, 2209.11883)
    similarity_matching  q = (I + M)⁻¹ u, which takes u's place, too (Pehlevan et al. 2015, 1503.00680);
                         ΔM = ⟨q qᵀ⟩ − ⟨q²⟩ M off the diagonal

In convolutions channels compete, at every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch
from generator.rules.contract import tuned
from generator.rules.pathways.hebbian import Hebbian


class KrotovHopfield(Hebbian):
    """Krotov and Hopfield's rule: the most driven cell learns a stimulus, and one of the next unlearns it."""

    source, drives = "Krotov & Hopfield 2019, 1806.10181", True
    defaults: ClassVar[dict[str, float]] = {"delta": 0.4, "rank": 2.0} | tuned()["krotov_hopfield"]
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"rank": (1, 1001)}

    def __init__(self, network: Network, draw: Draw, delta: float, rank: float, hidden_rate: float) -> None:
        super().__init__(network, draw, hidden_rate)
        self.delta, self.rank = delta, int(rank)

    def signals(self, layer: WeightLayer, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """As above."""
        first = y.topk(min(self.rank, y.shape[2]), dim=2).indices
        q = torch.zeros_like(y).scatter_(2, first[:, :, -1:], -self.delta)
        return q.scatter_(2, first[:, :, :1], 1.0), y


class SoftHebb(Hebbian):
    """SoftHebb: soft competition, in which the most driven cell learns a stimulus, and all others unlearn it."""

    source, drives = "Moraitis et al. 2022; Journé et al. 2023, 2209.11883", True
    defaults: ClassVar[dict[str, float]] = {"tau": 1.0} | tuned()["soft_hebb"]
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"tau": (1e-3, 1e3)}

    def __init__(self, network: Network, draw: Draw, tau: float, hidden_rate: float) -> None:
        super().__init__(network, draw, hidden_rate)
        self.tau = tau

    def signals(self, layer: WeightLayer, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """As above."""
        shares = (y / self.tau).softmax(2)
        first = y.argmax(2, keepdim=True)
        return (-shares).scatter_(2, first, shares.gather(2, first)), y


class SimilarityMatching(Hebbian):
    """Similarity matching: Hebbian from below and anti-Hebbian between cells, which so come to span the first components.

    The lateral weights M act on learning alone: what a layer puts out is φ(W x + b). All cells learn at one rate, where the
    authors' slow down as they have been active. [ours]
    """

    source, drives = "Pehlevan, Hu & Chklovskii 2015, 1503.00680", True
    defaults: ClassVar[dict[str, float]] = tuned()["similarity_matching"]

    def __init__(self, network: Network, draw: Draw, hidden_rate: float) -> None:
        super().__init__(network, draw, hidden_rate)
        sizes = [(layer, layer.weight.shape[:2]) for layer in self.hidden]
        self.lateral = {layer.name: layer.weight.new_zeros((k, units, units)) for layer, (k, units) in sizes}

    def taught(self) -> list[Tensor]:
        """M, too."""
        return [*super().taught(), *self.lateral.values()]

    def teach(self, run: Pass, views: Tensor, batch: Batch) -> Sequence[Tensor]:
        """−ΔW, then −ΔM."""
        changes, moves = [], []
        with torch.no_grad():
            for layer, x, u in zip(self.hidden, run.received, run.drives or [], strict=False):
                z = self.settled(layer, u)
                changes.append(self.change(layer, x, z).neg_())
                rows, lateral = z.transpose(1, 2).flatten(2), self.lateral[layer.name]
                both = torch.bmm(rows, rows.mT).div_(rows.shape[2])
                moves.append((lateral * both.diagonal(dim1=1, dim2=2)[..., None]).sub_(both))
                moves[-1].diagonal(dim1=1, dim2=2).zero_()
        return [*changes, *moves]

    def settled(self, layer: WeightLayer, u: Tensor) -> Tensor:
        """(I + M)⁻¹ u: where the activity of cells settles that inhibit one another."""
        lateral, rows = self.lateral[layer.name], u.transpose(1, 2)
        matrix = lateral + torch.eye(lateral.shape[1], dtype=lateral.dtype, device=lateral.device)
        # One network that has diverged does not stop the others.
        return torch.linalg.solve_ex(matrix, rows.flatten(2)).result.view(rows.shape).transpose(1, 2)

    def signals(self, layer: WeightLayer, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """As above."""
        return y, y

    def tensors(self) -> dict[str, Tensor]:
        """M of every hidden layer, (k, units, units)."""
        return {f"{name}.lateral": tensor for name, tensor in self.lateral.items()}
