"""Pictures of accuracy over measurement conditions, from the table of `robustness.tidy`: one row per electrode but its seed.

Each function returns a figure, or None where the dataset's electrodes do not have what it shows; `rests` says in its title on
what it rests, and ends in "; ".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classifier.examples.sampling import ALL
from classifier.report import looks
from classifier.report.looks import Look, style

TRAINED = {"same": "trained under the same condition", "full": "trained on the full electrode"}
ALL_UNITS = np.inf  # where an electrode records all units, in place of how many it asks for


def _line(axes: Axes, rows: pd.DataFrame, x: Sequence[float] | pd.Series, look: Look, label: str) -> None:
    """Accuracy with its s.e.m. as a band."""
    mean, sem = rows["network_mean"].to_numpy(), rows["network_sem"].to_numpy()
    axes.plot(x, mean, label=label, linewidth=1.6, **look.line)
    axes.fill_between(x, mean - sem, mean + sem, color=look.color, alpha=0.15, linewidth=0)


def _panels(rows: Sequence[str], columns: Sequence[str], chance: float) -> tuple[Figure, np.ndarray]:
    """A grid of panels of accuracy, with titles above and training at the left."""
    figure = Figure(figsize=(max(2.3 * len(columns) + 1.0, 6.8), 2.1 * len(rows) + 0.9), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), sharey=True, squeeze=False)
    for (row, column), axes in np.ndenumerate(grid):
        axes.axhline(chance, color="black", linestyle="--", linewidth=0.8, zorder=0, label="chance")
        axes.set_ylim(0, 1.02)
        if row == 0:
            axes.set_title(columns[column], fontsize=9)
        if column == 0:
            trained = rows[row].replace(" the ", "\nthe ")
            axes.set_ylabel(f"{trained}\nbalanced accuracy".strip(), fontsize=8)
    return figure, grid


def _finish(figure: Figure, title: str, rests: str) -> Figure:
    """A title above, what it rests on, and one legend for all panels below."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    labels = sorted(entries, key=lambda label: label == "chance")
    handles = [entries[label] for label in labels]
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), int(figure.get_figwidth() / 1.6)),
        frameon=False,
        fontsize=9,
        handlelength=3,
    )
    figure.suptitle(f"{title}\n{rests}band: s.e.m. over splits", fontsize=9)
    style(figure)
    return figure


def _log_ticks(axes: Axes, values: pd.Series) -> None:
    """A logarithmic axis with ticks at the values themselves, but for those that would overlap."""
    ticks: list[float] = []
    for value in sorted(values.unique()):
        if not ticks or value > 1.4 * ticks[-1]:
            ticks.append(value)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.minorticks_off()


def _label(level: float) -> str:
    return "no noise" if level == 0 else f"noise {level:g}"


def _of_mode(table: pd.DataFrame, mode: str) -> pd.DataFrame:
    """The rows at all checkpoints without noise, and with noise of one mode."""
    return table[(table["sampling"] == ALL) & table["noise_mode"].isin(["none", mode])]


def units(table: pd.DataFrame, chance: float, rests: str = "") -> Figure | None:
    """Accuracy against the units recorded, a line per level of relative noise, a panel per observable and training."""
    shown = _of_mode(table, "relative")
    counts = shown.groupby("noise")["asked_units"].nunique()
    shown = shown[shown["noise"].isin(counts.index[counts > 1])]
    if shown.empty:
        return None
    observables, trainings = list(shown["observable"].unique()), list(shown["trained"].unique())
    figure, grid = _panels([TRAINED[one] for one in trainings], [looks.called(one) for one in observables], chance)
    for (row, column), axes in np.ndenumerate(grid):
        here = shown[(shown["trained"] == trainings[row]) & (shown["observable"] == observables[column])]
        for number, (name, rows) in enumerate(here.groupby("noise")):
            rows, level = rows.sort_values("units"), float(str(name))
            drawn = (looks.DASHES[number % len(looks.DASHES)], looks.MARKERS[number % len(looks.MARKERS)])
            _line(axes, rows, rows["units"], Look(looks.noise(level), *drawn), _label(level))
        _log_ticks(axes, shown["units"])
        if row == len(trainings) - 1:
            axes.set_xlabel("units recorded per layer\n(geometric mean)", fontsize=8)
    return _finish(figure, "Accuracy per network over units and relative noise, at all checkpoints", rests)


def _noisy(table: pd.DataFrame) -> str | None:
    """The undersampled electrode with relative noise that is nearest to 30 units and noise of 0.5."""
    noisy = table[(table["noise_mode"] == "relative") & np.isfinite(table["asked_units"])]
    if noisy.empty:
        return None
    distance = np.abs(np.log(noisy["asked_units"] / 30)) + np.abs(np.log(noisy["noise"] / 0.5))
    return str(noisy.loc[distance.idxmin(), "electrode"])


def sessions(table: pd.DataFrame, chance: float, rests: str = "") -> Figure | None:
    """Accuracy against sessions, a line per observable; the full electrode, and an undersampled noisy one."""
    if table["sessions"].nunique() < 2:
        return None
    noisy = _noisy(table)
    panels = [("full", "same"), *((noisy, trained) for trained in table["trained"].unique() if noisy)]
    titles = ["full electrode", *(f"{electrode}\n{TRAINED[trained]}" for electrode, trained in panels[1:])]
    figure, grid = _panels([""], titles, chance)
    for axes, (electrode, trained) in zip(grid[0], panels, strict=True):
        here = table[(table["electrode"] == electrode) & (table["trained"] == trained)]
        for name, rows in here.groupby("observable", sort=False):
            rows = rows.sort_values("sessions")
            _line(axes, rows, rows["sessions"], looks.observable(str(name)), looks.called(str(name)))
        _log_ticks(axes, table["sessions"])
        axes.set_xlabel("sessions, evenly spread (1: the last)", fontsize=8)
    return _finish(figure, "Accuracy per network over sessions", rests)


def heat(table: pd.DataFrame, chance: float, rests: str = "") -> Figure | None:
    """Accuracy by units asked for and relative noise, a map per observable and training; what was not measured is blank."""
    shown = _of_mode(table, "relative")
    asked, levels = sorted(shown["asked_units"].unique()), sorted(shown["noise"].unique())
    if len(asked) < 2 or len(levels) < 2:
        return None
    observables, trainings = list(shown["observable"].unique()), list(shown["trained"].unique())
    size = (0.55 * len(asked) * len(observables) + 2.2, (0.42 * len(levels) + 0.6) * len(trainings) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(trainings), len(observables), sharex=True, sharey=True, squeeze=False)
    for (row, column), axes in np.ndenumerate(grid):
        here = shown[(shown["trained"] == trainings[row]) & (shown["observable"] == observables[column])]
        means = here.pivot_table("network_mean", "noise", "asked_units").reindex(index=levels, columns=asked).to_numpy()
        image = axes.imshow(means, cmap="Blues", vmin=chance, vmax=1, aspect="auto", origin="lower")
        for i, j in np.argwhere(np.isfinite(means)):
            color = "white" if means[i, j] > chance + 0.55 * (1 - chance) else "black"
            axes.text(j, i, f"{means[i, j]:.2f}", ha="center", va="center", fontsize=8, color=color)
        axes.set_xticks(range(len(asked)), ["all" if one == ALL_UNITS else f"{one:g}" for one in asked])
        axes.set_yticks(range(len(levels)), [f"{level:g}" for level in levels])
        if row == 0:
            axes.set_title(looks.called(observables[column]), fontsize=9)
        if row == len(trainings) - 1:
            axes.set_xlabel("units recorded", fontsize=8)
        if column == 0:
            training = TRAINED[trainings[row]].replace(" the ", "\nthe ")
            axes.set_ylabel(f"{training}\nrelative noise", fontsize=8)
    title = "Accuracy per network over units and relative noise, at all checkpoints"
    figure.suptitle(f"{title}\n{rests}mean over splits; blank: not measured", fontsize=9)
    figure.colorbar(image, ax=grid, label="balanced accuracy per network", shrink=0.9)
    style(figure)
    return figure


def compared(table: pd.DataFrame) -> pd.DataFrame | None:
    """The rows that compare absolute with relative noise: at the units that have most levels of both, without them None."""
    shown = table[(table["sampling"] == ALL) & table["noise_mode"].isin(["none", "relative", "absolute"])]
    shown = shown[shown["observable"] != "all"]
    levels = shown.groupby(["asked_units", "noise_mode"])["noise"].nunique().unstack(fill_value=0)
    if not {"relative", "absolute"} <= set(levels):
        return None
    both = levels[["relative", "absolute"]].min(axis=1)
    best = both[both == both.max()].index.max()
    return shown[shown["asked_units"] == best] if both.max() else None


def modes(table: pd.DataFrame, chance: float, rests: str = "") -> Figure | None:
    """Accuracy against the level of noise, a line per observable: relative beside absolute noise, a row per training."""
    shown = compared(table)
    if shown is None:
        return None
    trainings, asked = list(shown["trained"].unique()), shown["asked_units"].iloc[0]
    names = ["relative", "absolute"]
    titles = ["relative noise\n(× s.d. at the first checkpoint)", "absolute noise\n(equal for all that is measured)"]
    figure, grid = _panels([TRAINED[one] for one in trainings], titles, chance)
    for (row, column), axes in np.ndenumerate(grid):
        here = shown[(shown["trained"] == trainings[row]) & shown["noise_mode"].isin(["none", names[column]])]
        levels = sorted(here["noise"].unique())
        for name, rows in here.groupby("observable", sort=False):
            rows = rows.sort_values("noise")
            _line(
                axes,
                rows,
                [levels.index(level) for level in rows["noise"]],
                looks.observable(str(name)),
                looks.called(str(name)),
            )
        axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
        if row == len(trainings) - 1:
            axes.set_xlabel("standard deviation of the noise", fontsize=8)
    recorded = "all" if asked == ALL_UNITS else f"{asked:g}"
    return _finish(figure, f"Accuracy per network over noise, {recorded} units per layer, at all checkpoints", rests)
