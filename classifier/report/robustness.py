"""How accuracy holds up when fewer units are recorded, more noisily, in fewer sessions: into `<dataset>/report/robustness/`.

Every electrode of the dataset × sampling × observable, trained under the same condition and on the full electrode.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from classifier.examples.gaps import gaps, progress
from classifier.examples.sampling import ALL
from classifier.report import looks, robustness_plots
from classifier.report.robustness_plots import ALL_UNITS, compared
from classifier.report.tables import Rows, basis
from classifier.studies.conditions import FEATURES, N_SPLITS, Condition, accuracies, known_electrodes
from classifier.studies.store import Store
from classifier.studies.study import Study
from generator.console import Shown
from generator.dataset import electrodes
from generator.dataset.schema import header
from generator.dataset.storage import Dataset

SESSIONS = (11, 6, 3, 2, 1)
FOLDER = "report/robustness"  # in a dataset
FILES = ("conditions.parquet", "conditions.json")
# name without .png and .svg: (what draws it, what it needs)
PICTURES: dict[str, tuple[Callable[[pd.DataFrame, float, str], Figure | None], str]] = {
    "units": (robustness_plots.units, "electrodes with different numbers of units and equal relative noise"),
    "sessions": (robustness_plots.sessions, "trajectories of more than one checkpoint"),
    "units_noise": (robustness_plots.heat, "electrodes with different numbers of units, and with relative noise"),
    "noise_modes": (robustness_plots.modes, "electrodes with relative and with absolute noise and equal units"),
}


def conditions(dataset: str | os.PathLike[str]) -> list[Condition]:
    """Every electrode of a dataset × all checkpoints and fewer sessions × all observables and each."""
    source = Dataset(dataset)
    source.check_simulated("be learned from")
    settings = source.settings() or {}
    schema = source.schema("observables", source.complete_in_order()[0])
    observables = dict.fromkeys(parts["observable"] for parts in header(schema, str(source))["statistics"].values())
    fewer = [f"sessions{number}" for number in SESSIONS if number < settings["checkpoints"]]
    return [
        Condition(electrode, sampling, observable)
        for electrode in known_electrodes(dataset)
        for sampling in (ALL, *fewer)
        for observable in ("all", *observables)
    ]


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """What the pictures show of `accuracies`: implanted electrodes, single synapses, Gaussian noise; a row for all seeds.

    Means and s.e.m. are averaged over electrode seeds: these share networks and splits, so they add nothing independent.
    Where all units are recorded (or a fraction of them), `asked_units` is infinite (their mean number).
    """
    parsed = table["electrode"].map(electrodes.Electrode.named)
    plain = [not one.redraw and one.synapses == "single" and not one.mode.better for one in parsed]
    named = table.assign(electrode=[replace(one, seed=0).name for one in parsed])[plain]
    keys = ["electrode", "asked_units", "noise", "noise_mode", "sampling", "sessions", "observable", "trained"]
    found = named.groupby(keys, sort=False, dropna=False)[["units", "network_mean", "network_sem"]].mean().reset_index()
    share = found["electrode"].map(lambda name: electrodes.Electrode.named(name).fraction)
    unlimited = np.where(share < 1, found["units"].round(1), ALL_UNITS)
    return found.assign(asked_units=found["asked_units"].fillna(pd.Series(unlimited, found.index)))


def accuracy_rows(table: pd.DataFrame) -> Rows:
    """Header and a row per electrode and training: accuracy per network at all checkpoints, by observable."""
    shown = table[table["sampling"] == ALL]
    observables = list(shown["observable"].unique())
    rows = [["electrode", "trained", *observables]]
    for (electrode, trained), part in shown.groupby(["electrode", "trained"], sort=False):
        means = part.set_index("observable")["network_mean"]
        rows.append([str(electrode), str(trained), *(f"{means[name]:.3f}" for name in observables)])
    return rows


def noise_rows(table: pd.DataFrame) -> Rows | None:
    """Header and a row per noise mode and training: accuracy lost, mean over the levels of noise, by observable.

    It answers whether activations are more robust than weights, and whether only where noise is absolute. None if the
    electrodes do not have both modes, and no noise.
    """
    shown = compared(table)
    if shown is None or "none" not in set(shown["noise_mode"]):
        return None
    observables = list(shown["observable"].unique())
    means = shown.groupby(["trained", "noise_mode", "observable"], sort=False)["network_mean"].mean()
    return [
        ["noise", "trained", *observables],
        *(
            [mode, trained, *(f"{means[trained, 'none', one] - means[trained, mode, one]:.3f}" for one in observables)]
            for mode in ("relative", "absolute")
            for trained in shown["trained"].unique()
        ),
    ]


def rests(table: pd.DataFrame, unfinished: str = "") -> str:
    """What the pictures of a table of `accuracies` rest on, for their titles; `unfinished` as `gaps.progress` says it."""
    about = table.attrs
    return f"{basis(about['networks'], about['n_splits'], unfinished)}, {about['model']}; "


def as_json(table: pd.DataFrame) -> dict[str, Any]:
    """The table of `accuracies` with its labels and settings, as it is written to JSON; undefined numbers are null."""
    about = {str(key): value for key, value in table.attrs.items()}
    return {**about, "conditions": json.loads(table.to_json(orient="records", double_precision=6))}


def robustness(
    dataset: str | os.PathLike[str],
    model: str = "forest",
    study: Study = Study(features=FEATURES, n_splits=N_SPLITS),
    quiet: bool = False,
) -> pd.DataFrame:
    """Accuracy over units × noise × sessions × observable, in `<dataset>/report/robustness/`; prints the main tables.

    Writes conditions.parquet and conditions.json (a row per condition and training) and, as PNG and SVG, the pictures
    that the dataset's electrodes suffice for.

    Args:
        dataset: a dataset's path or URI.
        model: a name in `estimators.MODELS`, with its usual hyperparameters.
        study: what is named, and on which split; conditions say how it is measured.
        quiet: print nothing.

    Returns:
        The table of `conditions.accuracies`; its `attrs` have also gaps (what the dataset lacks) and omitted (pictures), a
        sentence each.

    Raises:
        RequestError: no dataset there, too few networks, or a place that cannot be written to.
    """
    study.check([model])
    asked = conditions(dataset)
    target, omitted = Dataset(dataset), list[str]()
    target.check_writable(f"{FOLDER}/{FILES[0]}")
    table = accuracies(dataset, asked, model, study, transfer="both", store=Store(target, model, study))
    table.attrs["gaps"] = gaps(target, study.target)
    stored = io.BytesIO()
    table.to_parquet(stored, index=False)
    target.publish(f"{FOLDER}/{FILES[0]}", stored.getvalue())
    target.publish(f"{FOLDER}/{FILES[1]}", (json.dumps(as_json(table), indent=1) + "\n").encode())
    shown = tidy(table)
    for name, (draw, needs) in PICTURES.items():
        figure = draw(shown, table.attrs["chance"], rests(table, progress(target)))
        if figure is None:
            for kind in ("png", "svg"):
                target.remove(f"{FOLDER}/{name}.{kind}")
            omitted.append(f"{name} is left out: it needs {needs}")
        else:
            looks.publish(target, f"{FOLDER}/{name}", figure)
    table.attrs["omitted"] = omitted
    if not quiet:
        show_study(target, table)
    return table


def show_study(dataset: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Print what a study found, and where its pictures are."""
    console, shown = Shown(), tidy(table)
    for sentence in [*table.attrs["gaps"], *table.attrs["omitted"]]:
        console.print(sentence)
    title = f"Accuracy per network at all checkpoints (mean over splits; chance {table.attrs['chance']:.2f})"
    console.table(title, accuracy_rows(table))
    if lost := noise_rows(shown):
        console.table("Accuracy lost to noise (mean over its levels)", lost)
    if table.attrs["design"]:
        console.print(table.attrs["design"])
    console.print(f"written: {Dataset(dataset)}/{FOLDER}")
