"""The accuracies that come with Rulescope: what `identify` would name of planned recordings, so that a planner answers at once.

They are of the activity of any one layer, in networks of random shapes under the paper's four rules, measured with 10 to 300
units, noise relative to the signal, and by one animal or more. `classifier.identify.conditions` makes them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from classifier.power.design import Design
from classifier.power.simulated import Question
from generator.dataset.electrodes import Electrode
from generator.dataset.folder import Folder
from generator.errors import RequestError

FOLDER = Path(__file__).parent / "shipped"
ANIMALS = (1, 2, 4, 8)
MEASURED = Question("relative", "activity", 1, None, "identify")


def shipped(name: str | os.PathLike[str] | Any) -> bool:
    """Whether a table of this name comes with Rulescope. A dataset of yours goes first."""
    return isinstance(name, str) and (FOLDER / f"{name}.json").is_file() and not Folder.of(name).exists("cohorts.json")


def check(question: Question) -> Question:
    """The question that the table answers. Raises RequestError for another one."""
    asked = {
        "noise mode": (question.noise_mode, MEASURED.noise_mode),
        "observable": (question.observable, MEASURED.observable),
        "layers": (question.layers, MEASURED.layers),
        "rules": (question.rules, MEASURED.rules),
        "model": (question.model, MEASURED.model),
    }
    for what, (given, known) in asked.items():
        if given is not None and given != known:
            raise RequestError(
                f"the table that comes with Rulescope has {what} {'all' if known is None else known}, not {given}: name a "
                "dataset to ask otherwise"
            )
    return MEASURED


def read(name: str, animals: int) -> tuple[pd.DataFrame, Design]:
    """The conditions of a table, as `simulated` returns them, and their design. Raises RequestError for so many animals."""
    if animals not in ANIMALS:
        raise RequestError(f"animals must be {', '.join(map(str, ANIMALS[:-1]))} or {ANIMALS[-1]}, not {animals}")
    known = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    rows = pd.DataFrame([one for one in known["conditions"] if one["animals"] == animals])
    table = pd.DataFrame(
        {
            "asked_units": rows["units"].astype(float),
            "noise": rows["noise"],
            "sessions": rows["sessions"],
            "network_mean": rows["accuracy"],
            "network_sem": rows["sem"],
            "confusion": rows["confusion"],
        }
    )
    table.attrs = {"labels": known["labels"], "design": "", "networks": known["networks"]}
    electrodes = [
        Electrode(int(units), noise_mode="relative" if noise else "none", noise=noise).name
        for units, noise in rows[["units", "noise"]].drop_duplicates().itertuples(index=False)
    ]
    sizes = np.array([float(rows["units"].max())])
    sessions = tuple(sorted(int(count) for count in rows["sessions"].unique()))
    return table, Design("relative", tuple(electrodes), sizes, np.ones(1), sessions)
