"""The `[[electrode]]` blocks of a spec, expanded to electrodes."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictStr

from generator.dataset.electrodes import NOISE_MODES, SYNAPSES, Electrode
from generator.errors import RequestError, unknown
from generator.toml import Axis, NonNegativeFloat, PositiveFloat, PositiveInt, Table, axis


class ElectrodeGrid(Table):
    """Measurement conditions: a product of axes, each a scalar or a list. See `electrodes.Electrode`."""

    units: Axis[PositiveInt | Literal["all"]] | None = None
    fraction: Axis[Annotated[StrictFloat, Field(gt=0, le=1)]] | None = None
    noise: Axis[NonNegativeFloat] | None = None
    noise_mode: Axis[StrictStr] = "relative"
    rate: Axis[NonNegativeFloat] | None = None
    window: Axis[PositiveFloat] | None = None
    synapses: Axis[StrictStr] = "single"
    redraw: Axis[StrictBool] = False
    seeds: PositiveInt = 1

    def electrodes(self, where: str) -> list[Electrode]:
        """All of them. Raises RequestError for a combination that says nothing, or two things at once."""
        for kind, names, known in (
            ("noise mode", self.noise_mode, NOISE_MODES),
            ("kind of synapses", self.synapses, SYNAPSES),
        ):
            for name in axis(names):
                if name not in known:
                    raise unknown(kind, name, known, where)
        modes = axis(self.noise_mode)
        spikes = "poisson" in modes
        if self.units is not None and self.fraction is not None:
            raise RequestError(f"{where}: give units or a fraction of them, not both")
        if spikes and (len(modes) > 1 or self.noise is not None):
            raise RequestError(
                f'{where}: noise_mode "poisson" counts spikes at a rate in a window and takes no noise beside it; '
                "give other modes a block of their own"
            )
        for key in ("rate", "window"):
            if (getattr(self, key) is None) == spikes:
                raise RequestError(
                    f'{where}: noise_mode "poisson" needs a rate (Hz) and a window (s); other modes take neither'
                )
        sizes = [{"units": None if each == "all" else each} for each in axis(self.units)]
        if self.fraction is not None:
            sizes = [{"fraction": each} for each in axis(self.fraction)]
        if spikes:
            pairs = itertools.product(axis(self.rate), axis(self.window))
            noises = [{"noise_mode": "poisson", "noise": r * w, "rate": r, "window": w} for r, w in pairs]
        else:
            levels = itertools.product(modes, axis(0.0 if self.noise is None else self.noise))
            noises = [
                {"noise_mode": mode, "noise": level} if level and mode != "none" else {} for mode, level in levels
            ]
        others = itertools.product(axis(self.synapses), axis(self.redraw), range(self.seeds))
        return [
            Electrode(**size, **noise, synapses=synapses, redraw=redraw, seed=seed)
            for size, noise, (synapses, redraw, seed) in itertools.product(sizes, noises, others)
        ]
