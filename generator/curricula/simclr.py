"""`simclr`: contrastive learning of two augmented views (Chen et al. 2020, 2002.05709), judged by a ridge read-out."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from generator import counters
from generator.architectures.layers import Pass
from generator.architectures.network import Network, Projection
from generator.curricula.augmentation import augment
from generator.curricula.contract import Batch, Objective

TEMPERATURE = 1.0  # the released code's default
RIDGE = 1e-2  # of the read-out, in units of the mean variance of a feature over the reference stimuli [ours]


class SimCLR(Objective):
    """NT-Xent between two views of a stimulus, both in one pass: batch norm sees the 2 b of them together."""

    head, shown, bounded = "projection", 2, True

    def views(self, batch: Batch) -> Float[Tensor, "k twob c h w"]:
        """All first views, then all second ones."""
        assert batch.keys is not None
        return torch.cat([augment(batch.x, counters.derive(batch.keys, f"view {i}")) for i in (1, 2)], dim=1)

    def loss(self, outputs: Float[Tensor, "k twob p"], labels: Int[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """NT-Xent: the cross-entropy of finding a view's partner among the other 2 b − 1 by cosine similarity."""
        z = F.normalize(outputs, dim=-1)
        count = z.shape[1]
        itself = torch.eye(count, dtype=torch.bool, device=z.device)
        similarity = (torch.bmm(z, z.mT) / TEMPERATURE).masked_fill(itself, -math.inf)
        partner = torch.arange(count, device=z.device).roll(count // 2)
        return F.cross_entropy(similarity.mT, partner.expand(len(z), count), reduction="none").mean(1)

    def chance(self, classes: int, batch: int) -> float:
        """ln(2 b − 1), the loss of equal similarities."""
        return math.log(2 * batch - 1)

    def assess(
        self, network: Network, probe: Batch, run: Pass, outputs: Tensor, reference: Callable[[], Batch]
    ) -> tuple[Tensor, Tensor]:
        """NT-Xent of augmented probe stimuli, and the accuracy of a ridge read-out of the backbone on them as they are."""
        losses = self.loss(network.forward(self.views(probe), Pass()), probe.y)
        known, seen = reference(), Pass()
        network.forward(known.x, seen)
        before_head = -Projection.layers
        return losses, ridge_accuracy(
            seen.received[before_head].flatten(2),
            known.y,
            run.received[before_head].flatten(2),
            probe.y,
            network.shape.classes,
        )


def ridge_accuracy(
    train: Float[Tensor, "k n d"],
    train_labels: Int[Tensor, "k n"],
    test: Float[Tensor, "k m d"],
    labels: Int[Tensor, "k m"],
    classes: int,
) -> Float[Tensor, " k"]:
    """Share of test stimuli whose class a ridge regression of one-hot labels on features gets right.

    Features and targets are centred, the penalty is `RIDGE` × the mean variance of a feature × n, and the dual form (Saunders
    et al. 1998) needs one n × n system whatever the number of features. A network whose features are not finite is at 0.
    """
    mean = train.double().mean(1, keepdim=True)
    x, t = train.double() - mean, test.double() - mean
    targets = F.one_hot(train_labels, classes).double()
    offset = targets.mean(1, keepdim=True)
    gram = torch.bmm(x, x.mT)
    penalty = RIDGE * gram.diagonal(dim1=1, dim2=2).sum(1) / x.shape[2] + torch.finfo(torch.float64).tiny
    finite = gram.isfinite().all((1, 2)) & t.isfinite().all((1, 2))
    gram = torch.where(finite[:, None, None], gram, 0.0)
    penalty = torch.where(finite, penalty, 1.0).clamp(min=1e-12)
    system = gram + torch.diag_embed(penalty[:, None].expand(-1, x.shape[1]))
    dual = torch.linalg.solve(system, targets - offset)
    scores = torch.bmm(torch.bmm(t, x.mT), dual) + offset
    right = (scores.argmax(-1) == labels).double().mean(1)
    return torch.where(finite, right, 0.0).to(train.dtype)
