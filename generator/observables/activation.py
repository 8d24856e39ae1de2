"""`activation`: over the recorded units of a layer's output for one stimulus, averaged over the stimuli (Nayebi et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import LayerSize
from generator.dataset.electrodes import Electrode
from generator.observables.contract import Observable, Reading
from generator.observables.signals import Outputs
from generator.observables.tensors import SECONDS_PER_ELEMENT, Rows, assembled, joined, of_tensors, reduced_each


class Activation(Observable):
    """The outputs of the layer's units, averaged over the probe stimuli.

    A plain mean: a stimulus that leaves one undefined makes it undefined.
    """

    name = "activation"
    statistics = of_tensors(
        name, "over the units of the layer's output for one stimulus, averaged over the probe stimuli"
    )
    signals = (Outputs,)

    def reduce(self, reading: Reading) -> tuple[int, Rows]:
        """The number of stimuli, and a row per network and stimulus."""
        return self.reduce_all([reading])[0]

    def reduce_all(self, readings: Sequence[Reading]) -> list[tuple[int, Rows]]:
        """Rows of one length together."""
        outputs = [reading.picked[Outputs] for reading in readings]
        rows = reduced_each([each.flatten(0, 1) for each in outputs])
        return [(each.shape[1], of_one) for each, of_one in zip(outputs, rows, strict=True)]

    def assemble(self, reduced: Sequence[tuple[int, Rows]]) -> Float[Tensor, "k readings statistics"]:
        """All rows at once."""
        stimuli, n = reduced[0][0], len(reduced)
        table = assembled(joined([rows for _, rows in reduced]))
        return table.unflatten(1, (n, -1, stimuli)).mean(3).transpose(0, 2)

    def seconds(self, size: LayerSize, electrode: Electrode, probe: int) -> float:
        """Of every recorded output."""
        return probe * electrode.count(size.units) * SECONDS_PER_ELEMENT
