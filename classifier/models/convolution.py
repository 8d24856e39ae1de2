"""A convolution over time: filters slide along the checkpoints, and a linear read-out of what they find names the class.

One layer, as the paper's (Nayebi et al. 2020, whose code pools over all of time or not at all; here over windows of it,
so that the read-out knows roughly when). torch is imported when something is fitted or predicted, and not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from classifier.examples.features import Feature

if TYPE_CHECKING:
    from torch import Generator, Tensor

BATCH = 64
RATE = 3e-2  # of AdamW at the start; it falls to 0 linearly


class Convolution(ClassifierMixin, BaseEstimator):
    """One 1-D convolution over checkpoints, ReLU, means over windows of time, and a softmax of a linear read-out.

    A channel is one transform of one statistic, with its relation. Reads float32 (examples, features) whose columns are centred
    and scaled; what is undefined (NaN) becomes 0, and a channel that has gaps in the training examples gets a second channel
    that flags them. Columns without a checkpoint (the depth one-hot, say) go straight to the read-out. Trained with AdamW
    (Loshchilov & Hutter 2019) for a fixed number of epochs on one thread; equal seeds give equal models.

    Args:
        columns: the names of the table's columns, which say the channel and the checkpoint of each (`Feature.named`).
        filters: how many.
        width: checkpoints that a filter spans.
        windows: stretches of time over which a filter's outputs are averaged.
        weight_decay: of AdamW, relative to the learning rate.
        epochs: passes over the training examples.
        random_state: seed of the first weights and of the order of examples.

    Attributes:
        classes_: the classes, in the order of the probabilities.
        flagged_: (channels,) which channels have a channel of flags.
        kernels_: (filters, channels with flags, width); offsets_: (filters,).
        readout_: (classes, filters · windows + columns without checkpoint); intercept_: (classes,).
    """

    def __init__(
        self,
        columns: Sequence[str],
        filters: int = 32,
        width: int = 3,
        windows: int = 5,
        weight_decay: float = 1.0,
        epochs: int = 15,
        random_state: int = 0,
    ) -> None:
        self.columns = columns
        self.filters = filters
        self.width = width
        self.windows = windows
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit (examples, features) and (examples,) classes."""
        import torch
        from torch.nn import functional

        trajectories, rest = self._unflatten(X)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        self.flagged_ = np.isnan(trajectories).any(axis=(0, 2))
        self.n_features_in_ = len(self.columns)
        with one_thread():
            inputs, others, truth = self._fill(trajectories), torch.from_numpy(rest), torch.from_numpy(codes)
            rng = torch.Generator().manual_seed(self.random_state)
            weights = self._first_weights(inputs.shape[1], others.shape[1], rng)
            optimizer = torch.optim.AdamW(weights, RATE, weight_decay=self.weight_decay, fused=True)
            fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, self.epochs)
            for _ in range(self.epochs):
                for batch in torch.randperm(len(inputs), generator=rng).split(BATCH):
                    optimizer.zero_grad()
                    seen, beside, named = (each.index_select(0, batch) for each in (inputs, others, truth))
                    functional.cross_entropy(self._forward(weights, seen, beside), named).backward()
                    optimizer.step()
                fall.step()
        self.kernels_, self.offsets_, self.readout_, self.intercept_ = (one.detach().numpy() for one in weights)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """(examples, classes) probabilities."""
        import torch

        check_is_fitted(self)
        trajectories, rest = self._unflatten(X)
        weights = [torch.from_numpy(one) for one in (self.kernels_, self.offsets_, self.readout_, self.intercept_)]
        with one_thread(), torch.inference_mode():
            logits = self._forward(weights, self._fill(trajectories), torch.from_numpy(rest))
            return torch.softmax(logits.double(), dim=1).numpy()

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """(examples,) the most probable class."""
        found: NDArray[np.generic] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def _unflatten(self, X: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The trajectories, (examples, channels, checkpoints), and the columns without a checkpoint.

        The channels are in the order of their names. A checkpoint at which a channel has no column holds 0 (the first
        one of a difference, say).
        """
        table = np.asarray(X, dtype=np.float32)
        if table.ndim != 2 or table.shape[1] != len(self.columns):
            raise ValueError(f"expected a table of {len(self.columns)} columns, got an array of shape {table.shape}")
        timed, channel, step = _timed(tuple(self.columns))
        if not len(timed):  # nothing to slide along: what is left is the read-out
            return np.zeros((len(table), 1, 1), dtype=np.float32), np.nan_to_num(table)
        trajectories = np.zeros((len(table), channel.max() + 1, step.max() + 1), dtype=np.float32)
        trajectories[:, channel, step] = table[:, timed]
        return trajectories[:, :, step.min() :], np.nan_to_num(np.delete(table, timed, axis=1))

    def _fill(self, trajectories: NDArray[np.float32]) -> Tensor:
        """(examples, channels with flags, checkpoints): gaps become 0, and the flags stand behind."""
        import torch

        gaps = np.isnan(trajectories)
        filled = np.where(gaps, np.float32(0), trajectories)
        return torch.from_numpy(np.concatenate([filled, gaps[:, self.flagged_].astype(np.float32)], axis=1))

    def _first_weights(self, channels: int, others: int, rng: Generator) -> list[Tensor]:
        """Kernels, offsets, read-out and intercept, uniform within ± 1 / √inputs, as in torch's own layers."""
        import torch

        inputs, outputs = channels * self.width, self.filters * self.windows + others
        shapes = [
            ((self.filters, channels, self.width), inputs),
            ((self.filters,), inputs),
            ((len(self.classes_), outputs), outputs),
            ((len(self.classes_),), outputs),
        ]
        return [
            torch.empty(shape).uniform_(-(size**-0.5), size**-0.5, generator=rng).requires_grad_()
            for shape, size in shapes
        ]

    def _forward(self, weights: Sequence[Tensor], trajectories: Tensor, others: Tensor) -> Tensor:
        """(examples, classes) logits."""
        import torch
        from torch.nn import functional

        kernels, offsets, readout, intercept = weights
        found = functional.relu(functional.conv1d(trajectories, kernels, offsets, padding=self.width // 2))
        pooled = functional.adaptive_avg_pool1d(found, self.windows).flatten(1)
        return functional.linear(torch.cat([pooled, others], dim=1), readout, intercept)


@lru_cache(maxsize=64)  # a model is fitted to the same columns, and asked, hundreds of times
def _timed(columns: tuple[str, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The places of the columns with a checkpoint, and of each of these its channel and its checkpoint."""
    features = [Feature.named(name) for name in columns]
    timed = [place for place, feature in enumerate(features) if feature.checkpoint is not None]
    names = [":".join((each.transform, each.statistic, each.relation)) for each in map(features.__getitem__, timed)]
    _, channel = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    step = np.array([features[place].checkpoint for place in timed], dtype=np.intp)
    return np.array(timed, dtype=np.intp), channel, step


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: arrays are small, splits are fitted side by side, and sums keep their order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
