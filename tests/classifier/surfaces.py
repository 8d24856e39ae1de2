"""Tables of simulated conditions with a known surface and realistic errors, and a stand-in for what computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from synthetic import RULES

from classifier.examples.trajectories import Examples
from generator.dataset.electrodes import Electrode

CHANCE = 0.25
LARGEST = 560
UNITS = (10, 30, 100, 300, None)
NOISE = (0.0, 0.25, 0.5, 1.0, 2.0)
SESSIONS = (1, 2, 3, 4, 6, 8, 11, 16, 21)

Truth = Callable[[float, float, float], float]


def logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def smooth(units: float, noise: float, sessions: float) -> float:
    """More units help more where there are more sessions; saturates at 0.93."""
    u, s = np.log(units / 60), np.log(sessions / 5)
    return CHANCE + 0.68 * logistic(0.9 * u - 1.6 * (noise - 0.5) + 0.8 * s + 0.2 * u * s)


def cliff(units: float, noise: float, sessions: float) -> float:
    """Nothing is known before the third session."""
    return CHANCE + 0.6 * (sessions >= 3) * logistic(0.8 * np.log(units / 60) - 1.2 * (noise - 0.5))


def bump(units: float, noise: float, sessions: float) -> float:
    """Slightly not monotone: a dip of 0.04 at six sessions."""
    return smooth(units, noise, sessions) - 0.04 * np.exp(-(((np.log(sessions) - 1.8) / 0.4) ** 2))


def flat(units: float, noise: float, sessions: float) -> float:
    """Chance everywhere."""
    return CHANCE


def saturated(units: float, noise: float, sessions: float) -> float:
    """Near 1, and 1 itself in places."""
    return min(1.0, 0.92 + 0.08 * 1.05 * logistic(3 + np.log(units / 60) - noise + np.log(sessions / 5)))


def table(truth: Truth, sem: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Accuracies as `conditions.accuracies` gives them, of `UNITS` × `NOISE` × `SESSIONS`.

    Errors scale as a proportion's do, and a third of their variance each is shared by all conditions (they have the same
    splits), shared by those of one electrode, and of a condition's own. Scores are shares of 240 networks.
    """
    rng = np.random.default_rng(seed)
    of_all, rows = rng.normal(), []
    for units in UNITS:
        for noise in NOISE:
            electrode = Electrode(units=units, noise_mode="relative" if noise else "none", noise=noise)
            of_electrode = rng.normal()
            for sessions in SESSIONS:
                true = truth(units or LARGEST, noise, sessions)
                error = sem * 2 * np.sqrt(true * (1 - true))
                found = true + error * (of_all + of_electrode + rng.normal()) / np.sqrt(3)
                if sem:
                    found = np.clip(round(240 * found) / 240, 0, 1)
                rows.append(row(electrode, sessions, found, error))
    return finished(rows)


def row(electrode: Electrode, sessions: int, accuracy: float, sem: float) -> dict[str, Any]:
    """One condition. Of a hundred networks per rule those called wrongly are called the rule after theirs."""
    count = len(RULES)
    right = np.eye(count)
    return {
        **{"electrode": electrode.name, "units": float(electrode.units or LARGEST)},
        **{"asked_units": np.nan if electrode.units is None else float(electrode.units)},
        **{"noise": electrode.noise, "noise_mode": electrode.noise_mode},
        **{"sampling": f"sessions{sessions}", "sessions": sessions, "observable": "all", "layers": None},
        **{"trained": electrode.name, "layer_mean": accuracy, "layer_sem": sem, "network_mean": accuracy},
        **{
            "network_sem": sem,
            "confusion": (100 * accuracy * right + 100 * (1 - accuracy) * np.roll(right, 1, 1)).tolist(),
        },
    }


def finished(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as a table with its labels."""
    found = pd.DataFrame(rows)
    found.attrs["labels"] = sorted(RULES)
    return found


class Conditions:
    """In the place of classifiers: knows the accuracies, and counts how many conditions were measured."""

    def __init__(self, truth: Truth) -> None:
        self.truth, self.asked = truth, 0

    def measure(self, electrode: str, examples: Examples, asked: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        """As a bench of `conditions` does."""
        asked = [one for one in asked if one.condition.electrode == electrode]
        self.asked += len(asked)
        recorded, found = Electrode.named(electrode), {}
        severity = recorded.noise**-0.5 if recorded.noise_mode == "poisson" else recorded.noise
        for one in asked:
            sampling = one.condition.sampling
            sessions = examples.checkpoints if sampling == "all" else int(sampling.removeprefix("sessions"))
            known = row(recorded, sessions, self.truth(recorded.units or LARGEST, severity, sessions), 0.01)
            errors = {f"{level}_{name}": 0.01 for level in ("layer", "network") for name in ("reach", "low", "high")}
            scores = {name: known[name] for name in ("layer_mean", "layer_sem", "network_mean", "network_sem")}
            counts = np.array(known["confusion"]).round().astype(int).tolist()
            about = {
                "units": known["units"],
                "sessions": sessions,
                "networks": 96,
                "labels": sorted(RULES),
                "design": "",
            }
            found[one] = {**about, **errors, **scores, "confusion": counts}
        return found
