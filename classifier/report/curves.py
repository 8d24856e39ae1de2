"""Learning curves: loss and accuracy over updates by rule, also of a dataset that is still growing."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from classifier.examples.gaps import progress
from classifier.examples.trajectories import CURVES
from classifier.report import looks
from classifier.report.tables import Section, final_accuracy_rows, usual_rate
from generator.dataset.storage import Dataset

NAMES = {"train_loss": "training loss", "probe_loss": "probe loss", "probe_accuracy": "probe accuracy"}
PANEL = ["architecture", "curriculum"]
WHO = ["network_id", "rule", "family", *PANEL]
OF_FINALS = (*PANEL, "rule", "task", "objective", "learning_rate", "status", "final_probe_accuracy")
MOST_PANELS = 144  # architectures × curricula, above which families are drawn: a sampled design has one for each shape
MOST_COLUMNS = 12  # of a table of final accuracies
QUARTILES = {"low": 0.25, "median": 0.5, "high": 0.75}


def _of_networks(table: pa.Table) -> pd.DataFrame:
    """Of cohorts' observables a row per network and checkpoint: all its layers and electrodes hold the same curves."""
    first = pc.equal(table.column("layer_index"), pc.min(table.column("layer_index")))
    first = pc.and_(first, pc.equal(table.column("electrode"), table.column("electrode")[0]))
    found = table.filter(first).select([*WHO, "checkpoint", "step", *CURVES]).to_pandas()
    return found.astype(dict.fromkeys(WHO, str))


def curves(dataset: str | os.PathLike[str] | Dataset) -> pd.DataFrame:
    """Quartiles over networks of the learning curves, from the complete cohorts alone, and only the columns that are needed.

    Diverged networks count as far as they got.

    Args:
        dataset: a dataset's path or URI; it may be unfinished.

    Returns:
        A row per architecture, curriculum, rule, curve (train_loss, probe_loss, probe_accuracy) and checkpoint (of very many
        architectures and tasks per family, under the same names): step (updates
        made; the median, where networks make different numbers), networks (that have a finite value there), low, median and
        high (quartiles over them). `attrs` has networks (by rule), diverged (by rule) and unfinished ("249 of 300 networks", or
        empty).

    Raises:
        RequestError: no dataset there, or a recording, no complete cohort, or a file that breaks the contract.
    """
    source = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    source.check_simulated("have learning curves")
    unfinished, runs = progress(source), source.runs()
    asked = [*WHO, "layer_index", "electrode", "checkpoint", "step", *CURVES]
    found = pd.concat(source.map(_of_networks, "observables", runs, columns=asked), ignore_index=True)
    if found["architecture"].nunique() * found["curriculum"].nunique() > MOST_PANELS:
        found["architecture"] = found["family"]
        found["curriculum"] = found["curriculum"].str.replace(r":\d+", "", regex=True)
    records = pa.concat_tables(
        source.map(lambda table: table, "networks", runs, columns=["rule", "status"])
    ).to_pylist()
    long = found.melt([*WHO, "checkpoint", "step"], list(CURVES), "curve")
    long = long[np.isfinite(long["value"])]
    groups = long.groupby([*PANEL, "rule", "curve", "checkpoint"], sort=False)
    table = groups.agg(step=("step", "median"), networks=("value", "size")).join(
        groups["value"].quantile(list(QUARTILES.values())).unstack().set_axis(list(QUARTILES), axis=1)
    )
    table = table.reset_index()
    table.attrs = {
        "networks": dict(Counter(row["rule"] for row in records)),
        "diverged": dict(Counter(row["rule"] for row in records if row["status"] == "diverged")),
        "unfinished": unfinished,
    }
    return table


def finals(dataset: Dataset) -> list[Section]:
    """The final accuracy of each rule by architecture and curriculum, from the complete cohorts.

    At the usual learning rate and, where there are several, at each rule's best. Nothing where there are many rules and many
    architectures, which no table holds.
    """
    networks = dataset.read_kind("networks", [*OF_FINALS]).to_pandas()
    panels = len(networks[PANEL].drop_duplicates())
    if panels > MOST_PANELS or min(panels, networks["rule"].nunique()) > MOST_COLUMNS:
        return []
    found = [Section(f"Median final probe accuracy at {usual_rate(networks)}", final_accuracy_rows(networks))]
    if networks["learning_rate"].nunique() > 1:
        found.append(
            Section("Median final probe accuracy at the best learning rate", final_accuracy_rows(networks, best=True))
        )
    return found


def basis(table: pd.DataFrame) -> str:
    """What a table of `curves` rests on, in words."""
    networks, diverged = (sum(table.attrs[name].values()) for name in ("networks", "diverged"))
    of = table.attrs["unfinished"] or f"{networks:,} networks"
    return of + (f", {diverged:,} of them diverged and end where they end" if diverged else "")


def draw(table: pd.DataFrame) -> Figure:
    """A table of `curves`: a row of panels per architecture, a column per curve and curriculum, a line and band per rule."""
    architectures, curricula = (list(dict.fromkeys(table[name])) for name in PANEL)
    columns = [(curve, curriculum) for curve in CURVES for curriculum in curricula]
    figure = Figure(figsize=(1.85 * len(columns) + 0.6, 1.45 * len(architectures) + 1.3), layout="constrained")
    grid = figure.subplots(len(architectures), len(columns), squeeze=False)
    sizes = table.groupby([*PANEL, "rule"])["networks"].max().groupby("architecture").sum()
    panels = dict(list(table.groupby([*PANEL, "curve"], sort=False)))
    rules, label = looks.ordered(table["rule"]), {}
    for rule in rules:
        networks, diverged = (table.attrs[name].get(rule, 0) for name in ("networks", "diverged"))
        label[rule] = f"{looks.plain(rule)} ({networks:,}{f', {diverged:,} diverged' if diverged else ''})"
    drawn = {}
    for (row, column), axes in np.ndenumerate(grid):
        curve, curriculum = columns[column]
        here = panels.get((architectures[row], curriculum, curve))
        if here is None:
            axes.spines[:].set_visible(False)
            axes.set(xticks=[], yticks=[])
            continue
        for number, rule in enumerate(rules):
            lines = here[here["rule"] == rule]
            if lines.empty:
                continue
            look, every = looks.rule(rule), max(1, len(lines) // 4)
            (drawn[rule],) = axes.plot(
                lines["step"],
                lines["median"],
                markevery=(number * every // len(rules), every),
                linewidth=1.4,
                label=label[rule],
                **look.line,
            )
            axes.fill_between(lines["step"], lines["low"], lines["high"], color=look.color, alpha=0.15, linewidth=0)
        if curve == "probe_accuracy":
            axes.set_ylim(0, 1.02)
        elif (here["median"] > 0).all():
            axes.set_yscale("log")
            narrow = here["high"].max() < 50 * here["low"].min()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,), numticks=6))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        axes.set_xlim(left=0)
    for axes, (curve, curriculum) in zip(grid[0], columns, strict=True):
        axes.set_title(f"{NAMES[curve]}\n{looks.plain(curriculum)}", fontsize=9)
    for axes, architecture in zip(grid[:, 0], architectures, strict=True):
        name = looks.wrapped(architecture)
        axes.set_ylabel(f"{name}\n{sizes[architecture]:,} networks", fontsize=7 if "\n" in name else 9)
    for axes in grid[-1]:
        axes.set_xlabel("updates", fontsize=8)
    figure.legend(
        [drawn[rule] for rule in rules],
        [label[rule] for rule in rules],
        title="rule (networks)",
        title_fontsize=9,
        loc="outside lower center",
        ncols=min(len(rules), len(columns)),
        frameon=False,
        fontsize=9,
        handlelength=3,
    )
    title = "Learning curves: median and interquartile range over networks; losses on a logarithmic scale"
    figure.suptitle(f"{title}\n{basis(table)}", fontsize=9)
    looks.style(figure)
    return figure
