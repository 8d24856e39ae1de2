"""The dataset's statistics of a recording: what `Recorder` makes of networks, made of arrays by the same observables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generator.architectures.layers import Linear
from generator.dataset.electrodes import FULL, Electrode
from generator.dataset.schema import Statistic
from generator.observables import OBSERVABLES
from generator.observables.contract import Observable, Reading, Scene, Signal
from generator.observables.coupling import Behind
from generator.observables.signals import Outputs, Synapses, Weights
from generator.recordings import undetermined
from generator.recordings.recording import Area, Recording

REDRAWN = Electrode(redraw=True)
NO_LAYER = Linear("", 1, 1, "linear", lambda *_: torch.zeros(1, 1, 1))  # nothing is asked of it
Activity = Sequence[Sequence[NDArray[Any]]]  # of each area and session (stimuli, units)
READ = {Outputs, Behind, Synapses}  # signals that a recording may hold


def observables(recording: Recording) -> list[Observable]:
    """Those of which a recording has a signal to read: of activity alone, or of weights too."""
    there: set[type[Signal]] = {Outputs} | ({Behind} if len(recording.areas) > 1 else set())
    there |= {Synapses} if any(area.weights is not None for area in recording.areas) else set()
    return [each() for each in OBSERVABLES.values() if set(each.signals) <= READ and set(each.signals) & there]


def measured(recording: Recording) -> tuple[list[Statistic], NDArray[np.float32]]:
    """The statistics, and (sessions, areas, statistics) of them; NaN where undefined, as everywhere.

    A statistic that is undefined in every session and area was not measured, and is not there. Nor is one that is not determined
    (`Recording.up_to`).
    """
    made = observables(recording)
    values = _values(recording, [area.activity for area in recording.areas], made).astype(np.float32) + np.float32(0)
    there = np.isfinite(values).any(axis=(0, 1))
    for altered in _altered(recording, made).values():
        there &= ~altered
    return [one for one, is_there in zip(_statistics(made), there, strict=True) if is_there], values[..., there]


def left_out(recording: Recording) -> list[str]:
    """Of each thing that the values are known up to, a sentence that says how many statistics are left out for it."""
    made = observables(recording)
    defined = np.isfinite(_values(recording, [area.activity for area in recording.areas], made)).any(axis=(0, 1))
    return [
        f"{(defined & altered).sum()} of {defined.sum()} statistics are left out: they would change with "
        f"{undetermined.CHANGES[word].meaning}, up to which values are known"
        for word, altered in _altered(recording, made).items()
    ]


def _altered(recording: Recording, made: Sequence[Observable]) -> dict[str, NDArray[np.bool_]]:
    """(statistics,) of each thing that the values are known up to: whether it alters a statistic."""
    found = {word: np.zeros(len(_statistics(made)), bool) for word in recording.up_to}
    for activity in (undetermined.exact(recording.areas), undetermined.drawn(recording.areas)) if found else ():
        values = _values(recording, activity, made)
        for word in found:
            others = _values(recording, undetermined.changed(activity, recording.followed, word), made)
            found[word] |= undetermined.altered(values, others)
    return found


def _statistics(made: Sequence[Observable]) -> list[Statistic]:
    return [one for each in made for one in each.statistics]


def _values(recording: Recording, activity: Activity, made: Sequence[Observable]) -> NDArray[np.float64]:
    """(sessions, areas, statistics) of the activity of a recording's areas, or of other activity of the same shape."""
    memory: list[dict[str, dict[str, torch.Tensor]]] = [{each.name: {} for each in made} for _ in activity]
    labels = None if recording.classes is None else torch.from_numpy(recording.classes)[None]
    electrode = FULL if recording.followed else REDRAWN
    found = []
    for session in range(recording.sessions):
        scenes = _scenes(activity, session, labels)
        readings = [
            Reading(scene, electrode, _picked(area, session, scene), kept)
            for area, scene, kept in zip(recording.areas, scenes, memory, strict=True)
        ]
        tables = [each.assemble(each.reduce_all(readings)) for each in made]
        found.append(torch.cat(tables, dim=2)[0].numpy())
    return np.stack(found)


def _scenes(activity: Activity, session: int, labels: torch.Tensor | None) -> list[Scene]:
    """A scene per area, each with the next one behind it."""
    found = list[Scene]()
    for sessions in reversed(activity):
        y = torch.from_numpy(sessions[session])[None]
        found.append(Scene(NO_LAYER, y, y, session, labels, {}, found[-1] if found else None))
    return found[::-1]


def _picked(area: Area, session: int, scene: Scene) -> dict[type[Signal], Any]:
    weights = np.empty(0, np.float32) if area.weights is None else area.weights[session]
    return {
        Outputs: scene.units,
        Behind: None if scene.following is None else scene.following.units,
        Synapses: Weights([torch.from_numpy(weights)[None]], False),
    }
