"""A classifier that reads a network as the set of its layers (Deep Sets; Zaheer et al. 2017, 1703.06114).

One encoder reads each layer, means and maxima over the layers pool what it finds, and a decoder names the class. Nothing depends
on the order of the rows: where a layer stands in its network is a feature like any other. torch is imported when something is
fitted or predicted, and not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from classifier.examples.features import Feature
from classifier.models.convolution import one_thread
from classifier.models.pooling import LAYOUT, Networks

if TYPE_CHECKING:
    from torch import Generator, Tensor

BATCH = 16  # networks
PLACE = 3  # columns that say where a layer stands: its relative depth, whether it is the first, and the last


class DeepSets(ClassifierMixin, BaseEstimator):
    """Layers encoded one by one, pooled over their network, and decoded: an ensemble whose members are trained side by side.

    Reads float32 (rows, features + 2), NaN where undefined: layers and what networks they are of (`pooling`). Features are tamed
    first. What is undefined becomes 0, and a feature that has gaps in the training rows gets a second column that flags them.
    The encoder is two layers of ReLU units, the decoder one and a softmax. Each member is trained with AdamW (Loshchilov &
    Hutter 2019), on a rate that falls to 0, for a fixed number of epochs on one thread; equal seeds give equal models. Members
    differ in their first weights and in which units are dropped. What is said of a network is the mean of their
    probabilities, and every layer gets what is said of its network.

    Args:
        columns: the names of the features, which say of what statistic each is (`Feature.named`).
        tame: a transformer that scales the features; a copy is fitted.
        hidden: units of each layer of encoder and decoder.
        members: of the ensemble.
        dropout: the share of units that is dropped in training (Srivastava et al. 2014).
        column_dropout: the share of statistics that a network loses in training, in all its layers.
        layer_dropout: the share of its layers that a network loses in training; one is always left.
        smoothing: of the labels (Szegedy et al. 2016).
        rate: of AdamW at the start.
        weight_decay: of AdamW, relative to the rate.
        epochs: passes over the training networks.
        random_state: seed of the first weights, of the order of networks and of what is dropped.

    Attributes:
        classes_: the classes, in the order of the probabilities.
        tame_: the transformer, fitted.
        flagged_: (features,) which have a column of flags.
        weights_: four arrays (members, inputs, outputs): two of the encoder, two of the decoder. Kept, and used, in float16.
        offsets_: four arrays (members, 1, outputs), as well.
    """

    reads_networks: ClassVar[bool] = True

    def __init__(
        self,
        columns: Sequence[str],
        tame: Any,
        hidden: int = 64,
        members: int = 3,
        dropout: float = 0.3,
        column_dropout: float = 0.1,
        layer_dropout: float = 0.2,
        smoothing: float = 0.1,
        rate: float = 5e-3,
        weight_decay: float = 1.0,
        epochs: int = 40,
        random_state: int = 0,
    ) -> None:
        self.columns = columns
        self.tame = tame
        self.hidden = hidden
        self.members = members
        self.dropout = dropout
        self.column_dropout = column_dropout
        self.layer_dropout = layer_dropout
        self.smoothing = smoothing
        self.rate = rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit (rows, features + 2) and (rows,) classes, one for each network."""
        import torch

        networks = Networks.of(X, len(self.columns))
        self.classes_, codes = np.unique(networks.one_each(y), return_inverse=True)
        self.tame_ = clone(self.tame).fit(networks.table)
        self.flagged_ = np.isnan(networks.table).any(axis=0)
        self.n_features_in_ = len(self.columns) + LAYOUT
        with one_thread():
            rng = torch.Generator().manual_seed(self.random_state)
            layers, sizes, truth = self._inputs(networks), torch.from_numpy(networks.sizes), torch.from_numpy(codes)
            statistic = torch.from_numpy(self._statistics())
            weights, offsets = self._first(layers.shape[1], rng)
            optimizer = torch.optim.AdamW([*weights, *offsets], self.rate, weight_decay=self.weight_decay, fused=True)
            fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, self.epochs)
            for _ in range(self.epochs):
                for some, rows in _batches(sizes, rng):
                    optimizer.zero_grad()
                    kept, of = self._left(layers[rows], sizes[some], statistic, rng)
                    self._loss(self._forward(weights, offsets, kept, of, rng), truth[some]).backward()
                    optimizer.step()
                fall.step()
        self.weights_, self.offsets_ = ([one.detach().half().numpy() for one in each] for each in (weights, offsets))
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """(rows, classes) probabilities."""
        import torch

        check_is_fitted(self)
        networks = Networks.of(X, len(self.columns))
        weights, offsets = ([torch.from_numpy(one).float() for one in each] for each in (self.weights_, self.offsets_))
        with one_thread(), torch.inference_mode():
            of = torch.from_numpy(np.repeat(np.arange(len(networks.sizes)), networks.sizes))
            logits = self._forward(weights, offsets, self._inputs(networks), of)
            found: NDArray[np.float64] = torch.softmax(logits.double(), dim=2).mean(dim=0).numpy()
        return networks.to_rows(found)

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """(rows,) the most probable class."""
        found: NDArray[np.generic] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def _inputs(self, networks: Networks) -> Tensor:
        """(rows, inputs): the features, tamed, the flags of gaps, and where each layer stands in its network."""
        import torch

        gaps = np.isnan(networks.table)
        tamed = np.where(gaps, 0, self.tame_.transform(networks.table))
        start, last = (np.repeat(one, networks.sizes) for one in (networks.starts, networks.sizes - 1))
        place = np.arange(len(gaps)) - start
        stands = [place / np.maximum(last, 1), place == 0, place == last]
        return torch.from_numpy(np.column_stack([tamed, gaps[:, self.flagged_], *stands]).astype(np.float32))

    def _statistics(self) -> NDArray[np.intp]:
        """(inputs,) the number of the statistic that each input is of. Depth and place are one of their own."""
        features = [Feature.named(name) for name in self.columns]
        names = np.array(["" if each.column is None else each.statistic for each in features])
        found = np.unique([*names, *names[self.flagged_], *[""] * PLACE], return_inverse=True)[1]
        return found.astype(np.intp)

    def _first(self, inputs: int, rng: Generator) -> tuple[list[Tensor], list[Tensor]]:
        """First weights and offsets, uniform within ± 1 / √inputs, as in torch's own layers."""
        import torch

        hidden = self.hidden
        shapes = [(inputs, hidden), (hidden, hidden), (2 * hidden, hidden), (hidden, len(self.classes_))]

        def drawn(rows: int, outputs: int, size: int) -> Tensor:
            empty = torch.empty((self.members, rows, outputs))
            return empty.uniform_(-(size**-0.5), size**-0.5, generator=rng).requires_grad_()

        weights = [drawn(size, outputs, size) for size, outputs in shapes]
        return weights, [drawn(1, outputs, size) for size, outputs in shapes]

    def _left(self, layers: Tensor, sizes: Tensor, statistic: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        """(rows, inputs) and (rows,) of which network each is, after some networks have lost layers, and all some statistics."""
        import torch

        count = len(sizes)
        of = torch.repeat_interleave(torch.arange(count), sizes)
        kept = torch.rand(len(of), generator=rng) >= self.layer_dropout
        kept |= (torch.zeros(count).index_add(0, of, kept.float()) == 0)[of]  # lost all: keeps all
        seen = _scaled((count, int(statistic.max()) + 1), self.column_dropout, rng)
        of = of[kept]
        return layers[kept] * seen[:, statistic][of], of

    def _forward(
        self,
        weights: Sequence[Tensor],
        offsets: Sequence[Tensor],
        layers: Tensor,
        of: Tensor,
        rng: Generator | None = None,
    ) -> Tensor:
        """(members, networks, classes) logits of (rows, inputs), whose networks are numbered 0, 1, … in `of`.

        Args:
            rng: of what is dropped; None: nothing is.
        """
        import torch

        def units(x: Tensor, number: int) -> Tensor:
            found = torch.relu(torch.matmul(x, weights[number]) + offsets[number])
            return found if rng is None else found * _scaled(found.shape, self.dropout, rng)

        encoded = units(units(layers, 0), 1)  # (members, rows, hidden)
        places = of[None, :, None].expand_as(encoded)
        nothing = encoded.new_zeros((len(encoded), int(of.max()) + 1, encoded.shape[2]))
        pools = [nothing.scatter_reduce(1, places, encoded, how, include_self=False) for how in ("mean", "amax")]
        return torch.matmul(units(torch.cat(pools, dim=2), 2), weights[3]) + offsets[3]

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """The members' cross-entropies, summed: each learns as if it were alone."""
        from torch.nn import functional

        every = truth.repeat(len(logits))
        loss = functional.cross_entropy(logits.flatten(0, 1), every, label_smoothing=self.smoothing)
        return loss * len(logits)


def _batches(sizes: Tensor, rng: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """The numbers of some networks, and of their rows, until every network was there once."""
    import torch

    rows = torch.arange(int(sizes.sum())).split(sizes.tolist())
    for some in torch.randperm(len(sizes), generator=rng).split(BATCH):
        yield some, torch.cat([rows[number] for number in some.tolist()])


def _scaled(shape: Sequence[int], dropped: float, rng: Generator) -> Tensor:
    """0 for a share that is dropped, and for the others what keeps their mean."""
    import torch

    return torch.empty(shape).bernoulli_(1 - dropped, generator=rng) / (1 - dropped)
