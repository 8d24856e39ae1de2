"""Records a stack of networks with electrodes: some units and synapses of each network, and the noise that comes with them.

Every network is a subject of its own: which units an electrode meets, and its noise, are keyed by the network's identity, the
electrode's seed and the layer. All electrodes of a checkpoint share one forward pass; each costs what it records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from generator.architectures.layers import WeightLayer
from generator.architectures.network import Network
from generator.dataset.electrodes import Electrode
from generator.dataset.noise import Draws
from generator.keys import stream
from generator.observables import OBSERVABLES, PAPER
from generator.observables.contract import Found, Implant, Places, Reading, Scene, Signal, mask

Passed = Sequence[tuple[WeightLayer, Tensor, Tensor]]  # each layer, what it read and what it wrote


TOGETHER = 1 << 19  # weights and outputs that are reduced in one call, unless a single layer has more
_QUIET = torch.empty(0)  # what noise is relative to where no electrode has any


class Streams(Draws):
    """Draws of one layer at one checkpoint, for electrodes of one seed: each network has streams of its own."""

    def __init__(self, networks: Sequence[str], scene: Scene, seed: int) -> None:
        self.networks, self.scene, self.seed = networks, scene, seed
        self._drawn: dict[tuple[object, ...], Tensor] = {}

    def normal(self, purpose: str, shape: tuple[int, ...], network: int) -> Tensor:
        """Standard normal numbers of a purpose; the same ones when asked again."""
        if (known := self._drawn.get((purpose, shape, network))) is None:
            key = (self.seed, self.networks[network], self.scene.layer.name, self.scene.checkpoint)
            drawn = stream(f"noise {purpose}", *key).standard_normal(shape, np.float32)
            known = torch.from_numpy(drawn).to(self.scene.y.device, self.scene.y.dtype)
            self._drawn[purpose, shape, network] = known
        return known

    def poisson(self, expected: Tensor) -> Tensor:
        """Counts of these means, whose first axis are the networks."""
        key = (self.seed, self.scene.layer.name, self.scene.checkpoint)
        pairs = zip(self.networks, expected.cpu().numpy(), strict=True)
        return torch.from_numpy(np.stack([stream("spikes", name, *key).poisson(mean) for name, mean in pairs]))


class Recorder:
    """The electrodes in one stack of networks.

    Args:
        electrodes: each of them is in every layer of every network.
        networks: the networks' identities, in stacking order.
        network: the stack.
        observables: what is made of what they pick up.

    Attributes:
        scales: of each layer and signal, what noise is relative to (`Signal.scales`), set at the first checkpoint; empty if no
            electrode needs it.
        memory: of each layer, electrode and observable that remembers, what it keeps.
    """

    def __init__(
        self,
        electrodes: Sequence[Electrode],
        networks: Sequence[str],
        network: Network,
        observables: Sequence[str] = PAPER,
    ) -> None:
        self.electrodes, self.networks = tuple(electrodes), networks
        self.observables = [OBSERVABLES[name]() for name in observables]
        self.signals: dict[type[Signal], Signal] = {
            each: each() for observable in self.observables for each in observable.signals
        }
        ahead = [each for each in self.observables if any(kind.looks_ahead or kind.behind for kind in each.signals)]
        within = network.rescalable() if all(each.of_rescalable for each in ahead) else network.readers()
        self.following = {first.name: second.name for first, second in within if ahead}
        self.rescalable = {first.name for first, _ in network.rescalable()}
        self.noisy = any(electrode.noise_mode != "none" for electrode in electrodes)
        self.scales: dict[str, Tensor] = {}
        self.memory: dict[str, dict[str, Tensor]] = {}
        self._chronic: dict[tuple[Electrode, str], Implant] = {}
        self._drawn: dict[tuple[str, int], dict[int, Streams]] = {}

    def measure(
        self, passed: Passed, checkpoint: int, labels: Int64[Tensor, "k b"] | None = None
    ) -> Float[Tensor, "k electrodes layers statistics"]:
        """All statistics of what the layers read and wrote, in float64, in the order of `observables.statistics`."""
        reduced: list[list[Any]] = [[] for _ in self.observables]
        scenes = self.scenes(passed, checkpoint, labels)
        for readings in _together(reading for scene in scenes for reading in self.read(scene)):
            for observable, parts in zip(self.observables, reduced, strict=True):
                parts += observable.reduce_all(readings)
        tables = [each.assemble(parts) for each, parts in zip(self.observables, reduced, strict=True)]
        found = torch.cat(tables, dim=2).unflatten(1, (len(passed), len(self.electrodes))).transpose(1, 2)
        return found + 0.0  # no −0, which sorts anywhere

    def scenes(self, passed: Passed, checkpoint: int, labels: Int64[Tensor, "k b"] | None = None) -> Iterator[Scene]:
        """The layers, with where each electrode is in them."""

        def scene(layer: WeightLayer, x: Tensor, y: Tensor, following: Scene | None = None) -> Scene:
            implants = {each.quiet: self._implant(each.quiet, layer, x, y, checkpoint) for each in self.electrodes}
            return Scene(layer, x, y, checkpoint, labels, implants, following, layer.name in self.rescalable)

        by_name = {layer.name: (layer, x, y) for layer, x, y in passed}
        for layer, x, y in passed:
            behind = by_name.get(self.following.get(layer.name, ""))
            yield scene(layer, x, y, scene(*behind) if behind else None)

    def read(self, scene: Scene) -> Iterator[Reading]:
        """What each electrode reads in a layer."""
        name = scene.layer.name
        seen = {kind: at for kind in self.signals if (at := scene.following if kind.behind else scene)}
        if self.noisy and scene.checkpoint == 0:
            self.scales |= {f"{at.layer.name}.{kind.name}": self.signals[kind].scales(at) for kind, at in seen.items()}
        quiet = {
            electrode: {kind: self.signals[kind].pick(at, electrode) for kind, at in seen.items()}
            for electrode in scene.implants
        }

        draws = {kind: self._draws(at) for kind, at in seen.items()}
        for electrode in self.electrodes:
            picked: dict[type[Signal], Any] = dict.fromkeys(self.signals)
            for kind, at in seen.items():
                picked[kind] = electrode.mode.disturb(
                    self.signals[kind],
                    quiet[electrode.quiet][kind],
                    electrode.noise,
                    self.scales.get(f"{at.layer.name}.{kind.name}", _QUIET),
                    draws[kind][electrode.seed],
                )
            keys = {each.name: f"{name}.{electrode.name}.{each.name}" for each in self.observables if each.remembers}
            memory = {observable: self.memory.setdefault(key, {}) for observable, key in keys.items()}
            yield Reading(scene, electrode, picked, memory)
        self._drawn.pop((name, scene.checkpoint), None)

    def _draws(self, scene: Scene) -> dict[int, Streams]:
        """By the electrodes' seeds: the same ones for a layer in its turn and for the one before, which looks ahead at it."""
        of_layer = self._drawn.setdefault((scene.layer.name, scene.checkpoint), {})
        for electrode in self.electrodes:
            if electrode.seed not in of_layer:
                of_layer[electrode.seed] = Streams(self.networks, scene, electrode.seed)
        return of_layer

    def _implant(self, electrode: Electrode, layer: WeightLayer, x: Tensor, y: Tensor, checkpoint: int) -> Implant:
        if (known := self._chronic.get((electrode, layer.name))) is not None:
            return known
        place = (layer.name, checkpoint) if electrode.redraw else (layer.name,)
        inputs = self._places(electrode, "inputs", x[0, 0].numel(), place, y.device)
        outputs = self._places(electrode, "outputs", y[0, 0].numel(), place, y.device)
        if electrode.synapses == "single":
            found = Implant(
                inputs, outputs, self._places(electrode, "synapses", layer.weight[0].numel(), place, y.device)
            )
        else:
            found = Implant(inputs, outputs, _between(layer, x, y, inputs, outputs))
        if not electrode.redraw:
            self._chronic[electrode, layer.name] = found
        return found

    def _places(
        self, electrode: Electrode, what: str, size: int, place: tuple[str | int, ...], device: torch.device
    ) -> Places:
        """Which of so many, of each network; None if all."""
        if (count := electrode.count(size)) == size:
            return None
        streams = [stream(f"recorded {what}", electrode.seed, network, *place) for network in self.networks]
        return torch.from_numpy(np.stack([np.sort(each.permutation(size)[:count]) for each in streams])).to(device)

    def state(self) -> dict[str, Tensor]:
        """All that is kept from checkpoint to checkpoint, by name."""
        kept = {f"memory.{key}/{name}": t for key, of in self.memory.items() for name, t in of.items()}
        return {f"scales.{name}": tensor for name, tensor in self.scales.items()} | kept

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to such a state."""
        self.scales, self.memory = {}, {}
        for name, tensor in state.items():
            kind, _, key = name.partition(".")
            if kind == "scales":
                self.scales[key] = tensor
            else:
                place, _, what = key.rpartition("/")
                self.memory.setdefault(place, {})[what] = tensor


def _together(readings: Iterable[Reading]) -> Iterator[list[Reading]]:
    """Readings in groups, in order: small ones side by side, a large one alone, so that few numbers wait to be reduced."""
    group: list[Reading] = []
    waiting = 0
    for reading in readings:
        if group and waiting + reading.elements > TOGETHER:
            yield group
            group, waiting = [], 0
        group.append(reading)
        waiting += reading.elements
    if group:
        yield group


def _between(layer: WeightLayer, x: Tensor, y: Tensor, inputs: Places, outputs: Places) -> Places | list[Found]:
    """The weights that connect some recorded input with some recorded output, at any position; None if all are recorded."""
    if inputs is None and outputs is None:
        return None
    connections = layer.correlate(mask(inputs, x), mask(outputs, y)).flatten(1)
    return [torch.nonzero(of_one > 0.5).T for of_one in connections]
