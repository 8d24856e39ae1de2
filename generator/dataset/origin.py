"""Where a dataset comes from: networks that were simulated, or a recording of something that learned by a rule nobody knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SIMULATION, RECORDING = "simulation", "recording"
ORIGINS = (SIMULATION, RECORDING)


@dataclass(frozen=True)
class About:
    """What a recording's dataset says of it in its settings.

    Attributes:
        name: what it is called.
        areas: their names; they are its layers.
        sessions, stimuli: how many; sessions are its checkpoints.
        followed: whether a unit keeps its place from session to session.
        up_to: in what its values are not determined: rotation, baseline.
        times: of sessions, in any unit; None where they are evenly spread, or nobody said.
        noise: of each area the standard deviation of its means' errors over that of its responses; None where it is not known.
        distances: of each area (sessions, sessions), how much the activity of each two differs.
        notes: a sentence for everything that was left out, and for what a reader should know.
    """

    name: str
    areas: tuple[str, ...]
    sessions: int
    stimuli: int
    followed: bool
    up_to: tuple[str, ...]
    times: tuple[float, ...] | None
    noise: Mapping[str, float | None]
    distances: Mapping[str, list[list[float]]]
    notes: tuple[str, ...]

    def settings(self, electrode: str, observables: list[str]) -> dict[str, Any]:
        """The settings of its dataset, as JSON keeps them."""
        return {
            "name": self.name,
            "origin": RECORDING,
            "checkpoints": self.sessions,
            "electrodes": [electrode],
            "observables": observables,
            "recording": {
                "areas": list(self.areas),
                "sessions": self.sessions,
                "stimuli": self.stimuli,
                "followed": self.followed,
                "up_to": list(self.up_to),
                "times": None if self.times is None else list(self.times),
                "noise": dict(self.noise),
                "distances": dict(self.distances),
                "notes": list(self.notes),
            },
        }

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> About:
        """The inverse. Raises TypeError, KeyError or ValueError if the settings are no recording's."""
        about = settings["recording"]
        found = cls(
            name=settings["name"],
            areas=tuple(about["areas"]),
            sessions=about["sessions"],
            stimuli=about["stimuli"],
            followed=about["followed"],
            up_to=tuple(about["up_to"]),
            times=None if about["times"] is None else tuple(about["times"]),
            noise=dict(about["noise"]),
            distances=dict(about["distances"]),
            notes=tuple(about["notes"]),
        )
        if not all(isinstance(one, str) for one in (found.name, *found.areas, *found.up_to, *found.notes)):
            raise TypeError("a name or a note is no text")
        if any(type(one) is not int or one < 1 for one in (found.sessions, found.stimuli)):
            raise TypeError("sessions or stimuli are no number")
        if type(found.followed) is not bool:
            raise TypeError("units are neither followed nor not")
        if not found.areas or len(set(found.areas)) < len(found.areas) or found.noise.keys() != set(found.areas):
            raise ValueError("areas do not have a name each, and a noise each")
        if any(one is not None and type(one) not in (int, float) for one in found.noise.values()):
            raise TypeError("a noise is no number")
        tables = [*found.distances.values()] + ([] if found.times is None else [[found.times] * found.sessions])
        for table in tables:
            if len(table) != found.sessions or any(len(row) != found.sessions for row in table):
                raise ValueError("times or distances are not of as many sessions")
            if not all(type(one) in (int, float) and math.isfinite(one) for row in table for one in row):
                raise TypeError("a time or a distance is no number")
        if found.distances.keys() != set(found.areas):
            raise ValueError("areas do not have distances each")
        if settings["checkpoints"] != found.sessions or len(settings["electrodes"]) != 1:
            raise ValueError("sessions are not the checkpoints, or there is not one electrode")
        return found
