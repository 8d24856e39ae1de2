"""What an objective has to provide: what a network sees of a stimulus, its loss, and how it is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from jaxtyping import Float, Int, Int64
from torch import Tensor

from generator.architectures.layers import Pass
from generator.architectures.network import Network


class Batch(NamedTuple):
    """Stimuli for every network of a stack.

    Args:
        keys: one key per network for whatever is random about this batch (see counters.py).
        step: updates made before it.
    """

    x: Float[Tensor, "k b c h w"]
    y: Int[Tensor, "k b"]
    keys: Int64[Tensor, " k"] | None = None
    step: int = 0


class Objective(ABC):
    """The contract of an objective.

    Attributes:
        labelled: whether it is to name labels, so that a rule may read them, and every stimulus has a loss of its own.
    """

    head: ClassVar[str]  # the head that a network needs for it
    shown: ClassVar[int] = 1  # views of a stimulus
    labelled: ClassVar[bool] = False
    bounded: ClassVar[bool] = False  # whether the loss stays small however far the weights go

    @abstractmethod
    def views(self, batch: Batch) -> Tensor:
        """What a network learns from of a batch: (k, views × b, c, h, w)."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of each network over the views of a batch, (k,)."""

    def each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of every stimulus, (k, b), where `labelled` says that each has one of its own."""
        raise NotImplementedError(f"{type(self).__name__} compares stimuli: none has a loss of its own")

    @abstractmethod
    def chance(self, classes: int, batch: int) -> float:
        """The loss of a network that knows nothing; a multiple of it counts as divergence."""

    @abstractmethod
    def assess(
        self, network: Network, probe: Batch, run: Pass, outputs: Tensor, reference: Callable[[], Batch]
    ) -> tuple[Tensor, Tensor]:
        """Loss and accuracy (k,), on the probe set, in evaluation mode.

        Args:
            run: the pass that made `outputs` of the probe stimuli as they are.
            reference: gives training stimuli to fit a read-out to, the same at every checkpoint and for every network.
        """
