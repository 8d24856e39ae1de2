"""Kinds of noise that a recording comes with. A new one is a class here and a line in `MODES`.

An electrode's name says which, and how much. Imports no torch: a mode works on the tensors that it is given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


_TINY = 1e-9


class Draws(ABC):
    """Random numbers, keyed by the network, its layer, the checkpoint and the electrode's seed."""

    @abstractmethod
    def normal(self, purpose: str, shape: tuple[int, ...], network: int) -> Tensor:
        """Standard normal numbers of a purpose and a shape, of one network in the stack."""

    @abstractmethod
    def poisson(self, expected: Tensor) -> Tensor:
        """Counts of these means, whose first axis are the networks."""


class NoiseMode(ABC):
    """A kind of noise.

    Attributes:
        levels: what says how much of it there is, as keys of a spec's electrode block, each with its unit.
        unit: of the column `noise`, in words.
        better: whether more of `noise` is better, as of spikes.
    """

    name: ClassVar[str]
    levels: ClassVar[Mapping[str, str]] = {"noise": "a standard deviation"}
    unit: ClassVar[str] = ""
    better: ClassVar[bool] = False

    def amount(self, **levels: float) -> float:
        """The column `noise`, from the levels."""
        return levels["noise"]

    @abstractmethod
    def disturb(
        self,
        signal: Any,
        picked: Any,
        noise: float,
        scales: Tensor,
        draws: Draws,
    ) -> Any:
        """What an electrode picked up of a signal, with noise.

        Args:
            signal: an `observables.contract.Signal`, which knows what its noise is on.
            scales: of the signal (`Signal.scales`).
            draws: what random numbers come from.
        """

    def draws(self, weights: int, outputs: int) -> float:
        """How many Gaussian numbers take as long to draw as this noise on so many weights and outputs."""
        return float(weights + outputs)

    def severity(self, noise: Any) -> NDArray[np.float64]:
        """How bad the column `noise` is: 0 is none, and more is worse."""
        return np.asarray(noise, dtype=float)

    def noise(self, severity: Any) -> NDArray[np.float64]:
        """The column `noise`; the inverse of `severity`."""
        return np.asarray(severity, dtype=float)


class Quiet(NoiseMode):
    """No noise."""

    name = "none"
    levels: ClassVar[Mapping[str, str]] = {}

    def amount(self, **levels: float) -> float:
        """0."""
        return 0.0

    def disturb(self, signal: Any, picked: Any, noise: float, scales: Tensor, draws: Draws) -> Any:
        """What was picked up."""
        return picked

    def draws(self, weights: int, outputs: int) -> float:
        """None."""
        return 0.0


class Relative(NoiseMode):
    """Gaussian, in units of the standard deviation of what is measured in that layer at the first checkpoint."""

    name = "relative"

    def disturb(self, signal: Any, picked: Any, noise: float, scales: Tensor, draws: Draws) -> Any:
        """On everything."""
        return signal.noisy(picked, noise * scales, draws.normal)


class Absolute(NoiseMode):
    """Gaussian, of equal size everywhere, as in the paper."""

    name = "absolute"

    def disturb(self, signal: Any, picked: Any, noise: float, scales: Tensor, draws: Draws) -> Any:
        """On everything."""
        return signal.noisy(picked, scales.new_full(scales.shape, noise), draws.normal)


class Poisson(NoiseMode):
    """Activations are spike counts, at a rate in a window; weights and changes have no noise. `noise`: spikes on average."""

    name = "poisson"
    levels: ClassVar[Mapping[str, str]] = {"rate": "spikes per second", "window": "seconds"}
    unit, better = "spikes per stimulus", True

    def amount(self, **levels: float) -> float:
        """Spikes in the window, on average."""
        return levels["rate"] * levels["window"]

    def disturb(self, signal: Any, picked: Any, noise: float, scales: Tensor, draws: Draws) -> Any:
        """Counts, of what fires."""
        return signal.counted(picked, noise, scales, draws.poisson)

    def draws(self, weights: int, outputs: int) -> float:
        """A count takes ten times as long as a Gaussian number."""
        return 10.0 * outputs

    def severity(self, noise: Any) -> NDArray[np.float64]:
        """The standard deviation of n spikes in units of n, 1 / √n; of none, as without noise, 0."""
        found = np.asarray(noise, dtype=float)
        return np.where(found > 0, np.maximum(found, _TINY) ** -0.5, 0)

    def noise(self, severity: Any) -> NDArray[np.float64]:
        """Spikes on average."""
        found = np.asarray(severity, dtype=float)
        return np.where(found > 0, np.maximum(found, _TINY) ** -2.0, 0)


MODES: dict[str, NoiseMode] = {mode.name: mode for mode in (Quiet(), Relative(), Absolute(), Poisson())}
