"""The pictures of a report. Each function returns a matplotlib figure; `save` makes it a small PNG. No pyplot state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from classifier.examples.trajectories import Examples

# Okabe & Ito's colours, told apart with any colour vision; lines also differ in dash, bars in order.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
DASHES = ("-", "--", "-.", ":")
OBSERVABLE_NAMES = {
    "all": "all observables",
    "weight": "weights",
    "activation": "activations",
    "change": "activity change",
    "accuracy": "loss and accuracy\ncurves alone",
}


def style(figure: Figure) -> None:
    """What all pictures have in common."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)


def save(figure: Figure) -> bytes:
    """The figure as PNG bytes of at most 128 colours: a third of the size, and no difference to the eye."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    palette = Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    palette.save(small, format="png", optimize=True)
    return small.getvalue()


def _quartiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, checkpoints): quartiles over examples at each checkpoint, NaN where no example is defined."""
    out = np.full((3, values.shape[1]), np.nan)
    for t in range(values.shape[1]):
        defined = values[np.isfinite(values[:, t]), t]
        if len(defined):
            out[:, t] = np.quantile(defined, (0.25, 0.5, 0.75))
    return out


def _limits(quartiles: NDArray[np.float64]) -> tuple[float, float] | None:
    """Limits for (classes, 3, checkpoints) that show every median and as much of the bands as leaves these readable."""
    if not np.isfinite(quartiles).any():
        return None
    lowest, highest = np.nanmin(quartiles), np.nanmax(quartiles)
    low, high = np.nanmin(quartiles[:, 1]), np.nanmax(quartiles[:, 1])
    room = 0.75 * (high - low)
    low, high = max(lowest, low - room), min(highest, high + room)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def trajectories(examples: Examples, classes: NDArray[np.str_], statistics: Sequence[str], condition: str) -> Figure:
    """Change of a few statistics since the first checkpoint, by class and layer: median and interquartile range.

    Args:
        examples: networks of one architecture.
        classes: (examples,) what the colours stand for.
        statistics: a row of panels each.
        condition: which networks these are, for the title.
    """
    chosen = examples.select(statistics)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = chosen.values[:, :1].astype(np.float64)
        relative = 100 * (chosen.values - first) / np.abs(first)
    layers = list(examples.identity.sort_values("layer_index")["layer"].unique())
    figure = Figure(figsize=(2.5 * len(layers) + 1.0, 1.9 * len(statistics) + 0.9), layout="constrained")
    grid = figure.subplots(len(statistics), len(layers), sharex=True, squeeze=False)
    time = np.arange(examples.checkpoints)
    for (row, column), axes in np.ndenumerate(grid):
        inside = (examples.identity["layer"] == layers[column]).to_numpy()
        drawn = []
        for number, label in enumerate(np.unique(classes)):
            low, middle, high = quartiles = _quartiles(relative[inside & (classes == label), :, row])
            drawn.append(quartiles)
            color = PALETTE[number % len(PALETTE)]
            axes.plot(time, middle, DASHES[number % len(DASHES)], color=color, label=str(label), linewidth=1.6)
            axes.fill_between(time, low, high, color=color, alpha=0.15, linewidth=0)
        axes.axhline(0, color="0.7", linewidth=0.6, zorder=0)
        axes.set_ylim(_limits(np.array(drawn)))
        if row == 0:
            axes.set_title(layers[column], fontsize=9)
        if row == len(statistics) - 1:
            axes.set_xlabel("checkpoint", fontsize=8)
        if column == 0:
            axes.set_ylabel(f"{statistics[row]}\nchange since start (%)", fontsize=8)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    figure.suptitle(f"{condition}: median and interquartile range over networks (cut where wide)", fontsize=9)
    style(figure)
    return figure


def confusion(counts: NDArray[np.intp], labels: Sequence[str], title: str) -> Figure:
    """Confusion matrix: rows are the truth and sum to 100 %."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.6 + 0.65 * len(labels)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(share.shape):
        axes.text(
            j,
            i,
            f"{100 * share[i, j]:.0f} %\n({counts[i, j]})",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if share[i, j] > 0.55 else "black",
        )
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("named", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    axes.set_title(title, fontsize=9)
    figure.colorbar(image, ax=axes, label="networks of a true class (%)", shrink=0.8)
    style(figure)
    return figure


def accuracy(models: Mapping[str, Mapping[str, Any]], chance: float, level: str = "network") -> Figure:
    """Accuracy by observable, a bar per model with its 95 % interval; a line at chance."""
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes = figure.subplots()
    names = list(next(iter(models.values())))
    width = 0.8 / len(models)
    for number, (model, scores) in enumerate(models.items()):
        x = np.arange(len(names)) + (number - (len(models) - 1) / 2) * width
        mean, low, high = (
            np.array([scores[name][level][key] for name in names], dtype=float) for key in ("mean", "low", "high")
        )
        reach = np.nan_to_num([mean - low, high - mean])  # none where there is no interval
        axes.bar(x, mean, width * 0.92, yerr=reach, color=PALETTE[number], label=model, error_kw={"linewidth": 1})
    axes.axhline(chance, color="black", linestyle="--", linewidth=1, label="chance")
    axes.set_xticks(range(len(names)), [OBSERVABLE_NAMES.get(name, name) for name in names])
    axes.set_ylabel(f"balanced accuracy per {level}", fontsize=9)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    style(figure)
    return figure


PERMUTED = "loss of log score when its trajectories are permuted (nats)"


def importance(table: pd.DataFrame, observable: Mapping[str, str], title: str, label: str = PERMUTED) -> Figure:
    """The clusters of statistics that matter most, with the s.e.m. over permutations.

    Args:
        table: rows of `importance.importance`, by statistic.
        observable: the observable of each statistic.
        label: what the importance is, and its unit.
    """
    figure = Figure(figsize=(7.5, 0.34 * len(table) + 1.1), layout="constrained")
    axes = figure.subplots()
    kinds = list(dict.fromkeys(observable.values()))
    place = np.arange(len(table))[::-1]
    for number, kind in enumerate(kinds):
        inside = np.array([observable[name] == kind for name in table["name"]], dtype=bool)
        if inside.any():
            rows = table[inside]
            axes.barh(
                place[inside],
                rows["importance"],
                xerr=rows["sem"].astype(float).fillna(0) if "sem" in rows else None,
                color=PALETTE[number],
                label=OBSERVABLE_NAMES.get(kind, kind),
                error_kw={"linewidth": 1},
            )
    pairs = zip(table["name"], table["size"], strict=True)
    names = [f"{name} (+ {size - 1} alike)" if size > 1 else name for name, size in pairs]
    axes.set_yticks(place, names)
    axes.set_xlabel(label, fontsize=9)
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    style(figure)
    return figure


def controls(table: pd.DataFrame) -> Figure:
    """Accuracy of each control with half of its 95 % interval, where it has one, beside its chance."""
    figure = Figure(figsize=(7.5, 0.3 * len(table) + 1.0), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(table))[::-1]
    reach = table["reach"].fillna(0) if "reach" in table else np.zeros(len(table))
    axes.barh(place, table["mean"].astype(float), xerr=reach.astype(float), color=PALETTE[0], error_kw={"linewidth": 1})
    axes.scatter(table["chance"], place, marker="|", s=120, color="black", label="chance", zorder=3)
    axes.set_yticks(place, table["control"])
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("balanced accuracy per network", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    style(figure)
    return figure
