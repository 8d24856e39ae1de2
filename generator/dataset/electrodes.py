"""Measurement conditions: how many units and synapses are recorded, how noisily, and which ones.

The full, noiseless electrode is always there. An electrode's name says everything about it and is read back
(`Electrode.named`), so a dataset names its electrodes and needs no other record of them. `observables/recorder.py` measures
with them. Imports no torch.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar

from generator.dataset.noise import MODES, NoiseMode
from generator.errors import RequestError

SYNAPSES = ("single", "between")


@dataclass(frozen=True)
class Electrode:
    """One measurement condition.

    Args:
        units: how many units (and single synapses) of a layer are recorded, as many as it has at most; None: a fraction.
        fraction: share of the units (and single synapses) recorded, if `units` is None.
        noise_mode: a name in `noise.MODES`.
        noise: standard deviation of Gaussian noise; of spikes their number, `rate` × `window`.
        rate: spikes per second of a unit as active as its layer is on average at the first checkpoint.
        window: seconds in which the spikes of one stimulus are counted.
        synapses: which weights are recorded: `single` ones, drawn from all, or those `between` the recorded units.
        redraw: whether other units are recorded at every checkpoint (an acute recording, not a chronic implant).
        seed: of the units recorded and the noise.
    """

    units: int | None = None
    fraction: float = 1.0
    noise_mode: str = "none"
    noise: float = 0.0
    rate: float = 0.0
    window: float = 0.0
    synapses: str = "single"
    redraw: bool = False
    seed: int = 0

    _NUMBER: ClassVar[str] = r"[\d.e+-]+"
    _NAME: ClassVar[re.Pattern[str]] = re.compile(
        r"(?:(?:units(?P<units>\d+)|fraction(?P<fraction>[\d.e-]+))_)?"
        rf"(?:(?P<mode>{'|'.join(mode for mode in MODES if MODES[mode].levels)})(?P<levels>{_NUMBER}(?:x{_NUMBER})*)_)?"
        r"(?P<between>between_)?(?P<redraw>redraw_)?(?:seed(?P<seed>\d+)_)?"
    )

    @property
    def name(self) -> str:
        """What differs from the full electrode, e.g. `units30_relative0.5_seed1`; or `full`."""
        levels = self.mode.levels
        parts = [
            f"units{self.units}"
            if self.units is not None
            else f"fraction{_short(self.fraction)}" * (self.fraction < 1),
            self.noise_mode + "x".join(_short(getattr(self, level)) for level in levels) if levels else "",
            "between" * (self.synapses == "between"),
            "redraw" * self.redraw,
            f"seed{self.seed}" * (self.seed > 0),
        ]
        return "_".join(filter(None, parts)) or "full"

    @property
    def quiet(self) -> Electrode:
        """The same electrode without noise: what it records."""
        return replace(self, noise_mode="none", noise=0.0, rate=0.0, window=0.0)

    @property
    def mode(self) -> NoiseMode:
        """Its kind of noise."""
        return MODES[self.noise_mode]

    def count(self, size: int) -> int:
        """How many of `size` units or synapses are recorded: ⌈fraction · size⌉, or as many as asked for, or all.

        A fraction is the decimal that was written: in binary, 0.07 · 100 is a little more than 7.
        """
        return math.ceil(Decimal(repr(self.fraction)) * size) if self.units is None else min(self.units, size)

    @classmethod
    def named(cls, name: str) -> Electrode:
        """Read an electrode's name back; the inverse of `Electrode.name`. Raises RequestError if it is not one."""
        found = cls._NAME.fullmatch("" if name == "full" else f"{name}_")
        try:
            if found is None:
                raise ValueError
            of = found.groupdict()
            noise: dict[str, Any] = {}
            if of["mode"]:
                levels = dict(zip(MODES[of["mode"]].levels, map(float, of["levels"].split("x")), strict=True))
                noise = {"noise_mode": of["mode"], **levels, "noise": MODES[of["mode"]].amount(**levels)}
            electrode = cls(
                units=int(of["units"]) if of["units"] else None,
                fraction=float(of["fraction"] or 1),
                synapses="between" if of["between"] else "single",
                redraw=bool(of["redraw"]),
                seed=int(of["seed"] or 0),
                **noise,
            )
        except ValueError:
            electrode = None
        if electrode is None or electrode.name != name:
            raise RequestError(f"{name!r} is not the name of an electrode, such as units30_relative0.5_seed1 or full")
        return electrode


def _short(number: float) -> str:
    return repr(number).removesuffix(".0")


FULL = Electrode()
