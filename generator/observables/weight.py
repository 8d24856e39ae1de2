"""`weight`: over all recorded elements of a layer's weight tensor, without the bias (Nayebi et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.observables.contract import Observable, Reading
from generator.observables.signals import Synapses
from generator.observables.tensors import SECONDS_PER_ELEMENT, Rows, assembled, joined, of_tensors, reduced_each


class Weight(Observable):
    """The layer's weights, without the bias."""

    name = "weight"
    statistics = of_tensors(name, "over all elements of the layer's weight tensor (no bias)")
    signals = (Synapses,)

    def reduce(self, reading: Reading) -> Rows:
        """One row per network."""
        return self.reduce_all([reading])[0]

    def reduce_all(self, readings: Sequence[Reading]) -> list[Rows]:
        """Rows of one length together."""
        blocks = [reading.picked[Synapses].blocks for reading in readings]
        rows = iter(reduced_each([block for of_one in blocks for block in of_one]))
        return [joined(list(islice(rows, len(of_one)))) for of_one in blocks]

    def assemble(self, reduced: Sequence[Rows]) -> Float[Tensor, "k readings statistics"]:
        """All rows at once."""
        return assembled(joined(reduced)).unflatten(1, (len(reduced), -1)).transpose(0, 2)

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every recorded weight."""
        return electrode.count(size.weights) * SECONDS_PER_ELEMENT
