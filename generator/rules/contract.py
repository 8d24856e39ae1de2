"""What a learning rule has to provide: a pathway turns a batch into weight gradients, an update turns those into moves."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective

TUNED = Path(__file__).parent / "tuned.json"  # written by training/search.py, with its grid and scores


@lru_cache(maxsize=1)
def tuned() -> dict[str, Any]:
    """What the search found."""
    return json.loads(TUNED.read_text(encoding="utf-8"))["chosen"]


class Lesson(NamedTuple):
    """What a batch taught: each network's loss, and a gradient for every tensor of `Pathway.learned()`."""

    losses: Float[Tensor, " k"]
    gradients: Sequence[Tensor]


class Pace(NamedTuple):
    """How fast the weights move at one update, for pathways whose own weights have to keep pace.

    Args:
        rate: one learning rate per network: multiplier × base rate × what the schedule says of this update.
        decay: of each layer that has one, by its name, the L2 coefficient λ per network; its gradient is λ W.
    """

    rate: Float[Tensor, " k"]
    decay: Mapping[str, Float[Tensor, " k"]]


class Products(NamedTuple):
    """How often per update a rule makes each of a layer's three products with a batch; backpropagation makes each once.

    Args:
        forward: W x, or the like.
        back: Mᵀ δ.
        correlate: δ xᵀ.
    """

    forward: float = 1
    back: float = 1
    correlate: float = 1

    @property
    def total(self) -> float:
        """How many products in all."""
        return float(self.forward + self.back + self.correlate)

    def __str__(self) -> str:
        """Floating-point operations as a multiple of backpropagation's."""
        return f"({self.forward:g} + {self.back:g} + {self.correlate:g}) / 3"


class Pathway(ABC):
    """How the error reaches a layer. Set up once per stack; free to run as many forward passes as it needs.

    Attributes:
        family: what it has in common with others, in a word or two.
        source: who proposed it, and where.
        local: whether a synapse needs nothing but what its two cells, and signals broadcast to all, tell it.
        flops: what it costs.
        relative_rate: factor on the base rate of a proportional update, where gradients are of another size than
            backpropagation's.
        labelled: whether it needs a label, or a loss, of every stimulus, so that the objective must have some.
        dense: whether it runs on chains alone: fully connected layers, each of which reads the output of the one before as it is.
        nonlinearities: those that hidden layers may have; empty where all will do.
        architectures: the families of architectures that it trains; empty where it trains all that let it (`Network.pathways`).
        shared_pass: whether its pass is backpropagation's but for the weights in `feedback`, drawn once, so that networks of
            several such rules can be one stack. Each class says so for itself: what derives from it may do more.
    """

    family: ClassVar[str]
    source: ClassVar[str]
    local: ClassVar[bool]
    flops: ClassVar[Products] = Products()
    relative_rate: ClassVar[float] = 1.0
    labelled: ClassVar[bool] = False
    dense: ClassVar[bool] = False
    nonlinearities: ClassVar[Collection[str]] = ()
    architectures: ClassVar[Collection[str]] = ()
    shared_pass: ClassVar[bool] = False
    defaults: ClassVar[dict[str, float]] = {}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {}  # low ≤ parameter < high; from 0 up where not given

    def __init__(self, network: Network, draw: Draw) -> None:
        self.network = network

    def learned(self) -> list[Tensor]:
        """The tensors that the update moves, each with its leading axis k."""
        return self.network.parameters()

    @abstractmethod
    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """Turn a batch into gradients, and move the pathway's own weights if it has any. Decay joins the gradients later."""

    def tensors(self) -> dict[str, Tensor]:
        """The pathway's own weights by name, for snapshots."""
        return {f"{layer.name}.feedback": layer.feedback for layer in self.network.layers if layer.feedback is not None}

    def decaying(self) -> Sequence[WeightLayer]:
        """The layers whose weights decay: all of them. Rules that have limits of their own for weights leave some out."""
        return self.network.layers

    def tensors_of(self, network: int) -> dict[str, Tensor]:
        """Those of one network of the stack."""
        return {name: tensor[network] for name, tensor in self.tensors().items()}


class Update(ABC):
    """How weights move along gradients. Keeps its state, with the leading axis k, for a fixed list of tensors.

    All that moves is a tensor, changed in place, so that training can be interrupted and gone on with; so it is in a pathway.

    Attributes:
        family, source, local: as of a pathway.
        flops: floating-point operations in products as a multiple of those of bp with `sgd`: a formula of a weight matrix's sides
            s ≤ l, the stimuli b of a batch and the positions p at which it acts.
        proportional: whether steps are as large as gradients, so that a factor on these is one on the rate.
        decoupled: whether decay shrinks the weights beside the step, w ← (1 − η λ) w, in place of joining the gradient.
    """

    family: ClassVar[str]
    source: ClassVar[str]
    local: ClassVar[bool] = True
    flops: ClassVar[str] = "1"
    proportional: ClassVar[bool] = True
    decoupled: ClassVar[bool] = False
    defaults: ClassVar[dict[str, float]] = {}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {}
    base_rate: ClassVar[float]

    @abstractmethod
    def __init__(self, tensors: Sequence[Tensor], **parameters: float) -> None:
        """Allocate the state. Parameters are passed by the names in `defaults`."""

    @abstractmethod
    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Float[Tensor, " k"]) -> None:
        """Move the tensors in place. `rate` is one learning rate per network."""


def per_network(values: Float[Tensor, " k"], like: Tensor) -> Tensor:
    """(k,) numbers, shaped to multiply a tensor with leading axis k."""
    return values.view(-1, *(1,) * (like.ndim - 1))
