"""The `[[electrode]]` blocks of a spec, expanded to electrodes."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictStr

from generator.dataset.electrodes import SYNAPSES, Electrode
from generator.dataset.noise import MODES, Relative
from generator.errors import RequestError, unknown
from generator.toml import Axis, NonNegativeFloat, PositiveFloat, PositiveInt, Table, axis, single


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
            ("noise mode", self.noise_mode, MODES),
            ("kind of synapses", self.synapses, SYNAPSES),
        ):
            for name in axis(names):
                if name not in known:
                    raise unknown(kind, name, known, where)
        if self.units is not None and self.fraction is not None:
            raise RequestError(f"{where}: give units or a fraction of them, not both")
        sizes = [{"units": None if each == "all" else each} for each in axis(self.units)]
        if self.fraction is not None:
            sizes = [{"fraction": each} for each in axis(self.fraction)]
        noises = [noise for name in axis(self.noise_mode) for noise in self._noises(name, where)]
        others = itertools.product(axis(self.synapses), axis(self.redraw), range(self.seeds))
        return [
            Electrode(**size, **noise, synapses=synapses, redraw=redraw, seed=seed)
            for size, noise, (synapses, redraw, seed) in itertools.product(sizes, noises, others)
        ]

    def _noises(self, name: str, where: str) -> list[dict[str, Any]]:
        """All levels of one kind of noise. A level that is a standard deviation may be left out, and is 0: no noise."""
        mode, every = MODES[name], dict.fromkeys(level for each in MODES.values() for level in each.levels)
        given = {level: axis(getattr(self, level)) for level in every if getattr(self, level) is not None}
        wanted = mode.levels if mode.levels else Relative.levels  # without noise, its level may stand there, and is 0
        needed = [level for level in wanted if level not in Relative.levels]
        if set(given) - set(wanted) or set(needed) - set(given):
            takes = " and ".join(f"{level} ({unit})" for level, unit in wanted.items())
            have = ", ".join(given) or "nothing"
            raise RequestError(
                f"{where}: noise_mode {name!r} takes {takes}, and the block gives {have}; "
                "give noise modes that take other levels a block of their own"
            )
        found: list[dict[str, Any]] = []
        for levels in itertools.product(*(given.get(level, [0.0]) for level in wanted)):
            of = dict(zip(wanted, levels, strict=True))
            try:
                single(mode.amount(**of))
            except ValueError as error:
                raise RequestError(
                    f"{where}: {' × '.join(f'{level} {of[level]:g}' for level in of)} {error}"
                ) from error
            silent = not mode.levels or (not needed and not any(levels))
            found.append({} if silent else {"noise_mode": name, **of, "noise": mode.amount(**of)})
        return found
