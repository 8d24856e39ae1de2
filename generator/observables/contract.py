"""What an observable has to provide: statistics of what an electrode picks up in one layer at one checkpoint.

An electrode picks up *signals*: synapses' weights, units' outputs, the terms of the activity change (`signals.py`). Noise belongs
to a signal, so observables that read the same signal read the same noisy numbers. An observable makes statistics of them, and
may remember what the same units did at the first checkpoint or the one before. Every observable is a file in this
folder and a line in `__init__.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from generator.architectures.layers import WeightLayer
from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import Statistic

Found = Int64[Tensor, "_ _"]  # (networks, recorded): which are recorded, in ascending order
Places = Found | None  # None: all of them
Normal = Callable[[str, tuple[int, ...], int], Tensor]  # standard normal numbers: of a purpose, a shape and a network


class Implant(NamedTuple):
    """Where an electrode is in one layer: the units recorded before and behind it, and the synapses, per network or of all."""

    inputs: Places = None
    outputs: Places = None
    synapses: Places | list[Found] = None

    @property
    def whole(self) -> bool:
        """Whether it misses nothing."""
        return all(part is None for part in self)


@dataclass(frozen=True, eq=False)
class Scene:
    """What there is to be measured in one layer at one checkpoint, of which an electrode sees a part.

    Attributes:
        x, y: what the layer read (k, b, …) and wrote (k, b, …) on the probe set.
        labels: the classes of the probe stimuli.
        implants: where each (noiseless) electrode is.
        following: the scene of the layer that reads this one's units (`Network.readers`); None behind the last.
        rescalable: whether a unit's incoming weights may be scaled up and its outgoing ones down without any effect
            (`Network.rescalable`).
    """

    layer: WeightLayer
    x: Tensor
    y: Tensor
    checkpoint: int
    labels: Int64[Tensor, "k b"] | None = None
    implants: dict[Electrode, Implant] = field(default_factory=dict)
    following: Scene | None = None
    rescalable: bool = False

    @cached_property
    def weights(self) -> Float[Tensor, "k synapses"]:
        """All of the layer's weights."""
        return self.layer.weight.flatten(1)

    @cached_property
    def units(self) -> Float[Tensor, "k b units"]:
        """The layer's output."""
        return units(self.y)

    @cached_property
    def known(self) -> Float[Tensor, "k b units"]:
        """What tells φ′ at each unit: the layer's output, or what its nonlinearity reads (`Nonlinearity.of_input`)."""
        return units(self.layer.preactivation(self.x)) if self.layer.phi.of_input else self.units

    @cached_property
    def response(self) -> Float[Tensor, "k 1 units"]:
        """W applied to an input of ones."""
        return units(self.layer.ones_response(self.x))

    @cached_property
    def _responses(self) -> dict[Electrode, Float[Tensor, "k 1 units"]]:
        """The same with ones at the inputs that each partial electrode records, and zeros elsewhere; all in one pass."""
        partial = {electrode: one for electrode, one in self.implants.items() if not one.whole}
        masks = torch.cat([mask(one.inputs, self.x) for one in partial.values()], dim=1)
        found = units(self.layer.forward(masks, self.layer.weight, None)).split(1, dim=1)
        return dict(zip(partial, found, strict=True))

    def implant(self, electrode: Electrode) -> Implant:
        """Where an electrode is, noisy or not."""
        return self.implants[electrode.quiet]

    def response_to(self, electrode: Electrode) -> Float[Tensor, "k 1 units"]:
        """W applied to an input of ones at the recorded inputs and zeros elsewhere."""
        return self.response if self.implant(electrode).whole else self._responses[electrode.quiet]


MANY = 1 << 19  # numbers that are made in float64 at once: bounds the copies


def portions(*tables: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Tables (networks, …) of equal length, or None, some networks at a time."""
    first = next(table for table in tables if table is not None)
    some = max(1, MANY // max(1, first[0].numel()))
    count = -(-len(first) // some)
    yield from zip(*([None] * count if table is None else table.split(some) for table in tables), strict=True)


def side_by_side(tables: Sequence[Tensor]) -> Tensor:
    """Tables (networks, …) one after the other; a single one as it is, without a copy."""
    return tables[0] if len(tables) == 1 else torch.cat(list(tables))


def alike(keys: Sequence[Any]) -> list[list[int]]:
    """The places of equal keys, in the order in which each came first."""
    found: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return list(found.values())


def units(y: Tensor) -> Float[Tensor, "k b units"]:
    """A layer's input or output, units in the order of memory (position by position, channels innermost): no copy."""
    return (y if y.ndim == 3 else y.movedim(2, -1)).flatten(2)


def mask(places: Places, like: Tensor) -> Tensor:
    """1 at the places and 0 elsewhere, in the shape of one stimulus of `like`: (k, 1, …)."""
    if places is None:
        return torch.ones_like(like[:, :1])
    one = like[:, :1] if like.ndim == 3 else like[:, :1].movedim(2, -1)
    found = one.new_zeros(len(one), one[0].numel()).scatter_(1, places, 1.0).view(one.shape)
    return found if like.ndim == 3 else found.movedim(-1, 2)


class Signal(ABC):
    """Something an electrode picks up, and the noise that comes with it.

    Attributes:
        looks_ahead: whether it needs the scene of the layer behind (`Scene.following`).
        behind: whether it is what the same electrode picks up in that layer. It is None where there is no such layer.
    """

    name: ClassVar[str]
    looks_ahead: ClassVar[bool] = False
    behind: ClassVar[bool] = False

    @abstractmethod
    def scales(self, scene: Scene) -> Float[Tensor, "scales k"]:
        """What noise is relative to: of the whole layer at the first checkpoint, float64. The first is a standard deviation."""

    @abstractmethod
    def pick(self, scene: Scene, electrode: Electrode) -> Any:
        """What the electrode picks up, without noise."""

    @abstractmethod
    def noisy(self, picked: Any, sizes: Float[Tensor, "scales k"], normal: Normal) -> Any:
        """The same with independent Gaussian noise of these standard deviations on everything."""

    def counted(
        self, picked: Any, spikes: float, scales: Float[Tensor, "scales k"], poisson: Callable[[Tensor], Tensor]
    ) -> Any:
        """The same as counts of `spikes` on average: of outputs alone, nothing else fires."""
        return picked


@dataclass(frozen=True, eq=False)
class Reading:
    """What one electrode reads in one layer at one checkpoint.

    Attributes:
        picked: by signal, as the signal defines it, with noise.
        memory: what each observable that remembers keeps from checkpoint to checkpoint, by its name: it begins empty.
    """

    scene: Scene
    electrode: Electrode
    picked: Mapping[type[Signal], Any]
    memory: Mapping[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def followed(self) -> bool:
        """Whether the same units are met at every checkpoint."""
        return not self.electrode.redraw

    @property
    def elements(self) -> int:
        """How many weights and outputs it holds, of all networks."""
        networks, stimuli, units = self.scene.units.shape
        weights = self.electrode.count(self.scene.weights.shape[1])
        return networks * (stimuli * self.electrode.count(units) + weights)


class Observable(ABC):
    """A kind of statistics.

    Attributes:
        statistics: what it makes, in order.
        signals: what it reads.
        remembers: whether it looks back at earlier checkpoints.
        of_rescalable: whether it is defined where units can be rescaled alone (`Scene.rescalable`).
    """

    name: ClassVar[str]
    statistics: ClassVar[Sequence[Statistic]]
    signals: ClassVar[Sequence[type[Signal]]]
    remembers: ClassVar[bool] = False
    of_rescalable: ClassVar[bool] = False

    @abstractmethod
    def reduce(self, reading: Reading) -> Any:
        """Read every element once, and leave a few numbers per network: (k, statistics), or what `assemble` takes."""

    def reduce_all(self, readings: Sequence[Reading]) -> list[Any]:
        """What `reduce` leaves of each. Where many small readings are faster in one call, an observable makes it here."""
        return [self.reduce(reading) for reading in readings]

    def assemble(self, reduced: Sequence[Any]) -> Float[Tensor, "k readings statistics"]:
        """The statistics of all readings of a checkpoint, from what `reduce` left of each; float64, NaN where undefined."""
        return torch.stack(list(reduced), dim=1)

    @abstractmethod
    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Estimated seconds of one core for one network, layer, checkpoint and electrode."""
