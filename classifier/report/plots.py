"""The pictures of a report. Each function returns a matplotlib figure; `looks` makes files of them. No pyplot state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from numpy.typing import NDArray

from classifier.examples.trajectories import Examples
from classifier.report import looks
from classifier.report.looks import style

NEAR_ZERO = (
    0.1  # of the median start: where one network in twenty starts nearer to zero, per cent of the start mean nothing
)
FAR = 0.01  # of the median change: the same


def percent(share: float) -> str:
    """A share as a person reads it: none and all only where it is none and all."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    if share < 0.01:
        return f"{100 * share:.1g} %"
    return f"{100 * share:.0f} %" if share < 0.995 else f"{min(100 * share, 99.9):.1f} %"


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


def _is_ratio(start: NDArray[np.float64], change: NDArray[np.float64]) -> bool:
    """Whether changes can be given in per cent of where they start: (examples,) of one sign and clearly not zero.

    Args:
        start: (examples,) the values at the first checkpoint.
        change: (examples, checkpoints) since then.
    """
    defined = np.isfinite(start) & np.isfinite(change).any(axis=1)
    if not defined.any():
        return True
    size = np.abs(start[defined])
    least = max(NEAR_ZERO * np.median(size), FAR * np.median(np.nanmax(np.abs(change[defined]), axis=1)))
    one_sign = (start[defined] > 0).all() or (start[defined] < 0).all()
    return bool(one_sign and np.quantile(size, 0.05) >= least)


def diagonal(axes: Axes, chance: float) -> None:
    """What a reliability diagram is compared with: probabilities that are what they say, and chance."""
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="as probable as said")
    axes.axhline(chance, color="black", linewidth=1, linestyle=":", label=f"chance ({chance:.2g})")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel("probability of the named", fontsize=9)
    axes.set_ylabel("share that is right", fontsize=9)


def reliability(trust: Mapping[str, Any], chance: float, rests: str) -> Figure:
    """How often the named class is right, over how probable it was said to be; a line per level.

    Args:
        trust: as `evaluate.believed` gives it.
        rests: what it rests on, for the title.
    """
    figure = Figure(figsize=(4.4, 4.6), layout="constrained")
    axes = figure.subplots()
    diagonal(axes, chance)
    for number, (level, found) in enumerate(trust.items()):
        said, right = ([part[name] for part in found["reliability"]] for name in ("said", "right"))
        color, marker = (looks.BLUE, looks.ORANGE)[number], looks.MARKERS[number]
        axes.plot(
            said, right, color=color, marker=marker, markersize=5, linewidth=1, label=f"per {level}", clip_on=False
        )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.suptitle(f"Reliability of calibrated probabilities\n{rests}", fontsize=9)
    style(figure)
    return figure


def trajectories(examples: Examples, classes: NDArray[np.str_], statistics: Sequence[str], condition: str) -> Figure:
    """Change of a few statistics since the first checkpoint, by class and layer: median and interquartile range.

    In per cent of the first checkpoint, or, where that is near zero in a layer, as the plain difference; or the value itself of
    what is undefined there, as changes are. The axis says which.

    Args:
        examples: networks of one architecture.
        classes: (examples,) what the colours stand for.
        statistics: a row of panels each.
        condition: which networks these are, for the title.
    """
    chosen = examples.select(statistics)
    first = chosen.values[:, :1].astype(np.float64)
    change = chosen.values - first
    layers = list(examples.identity.sort_values("layer_index")["layer"].unique())
    inside = {layer: (examples.identity["layer"] == layer).to_numpy() for layer in layers}
    networks = examples.identity.groupby(classes)["network_id"].nunique()
    figure = Figure(figsize=(2.5 * len(layers) + 1.0, 1.9 * len(statistics) + 0.9), layout="constrained")
    grid = figure.subplots(len(statistics), len(layers), sharex=True, squeeze=False)
    time = np.arange(examples.checkpoints)
    for row, name in enumerate(statistics):
        values, unit = change[:, :, row], "difference from start"
        if not np.isfinite(first[:, 0, row]).any():
            values, unit = chosen.values[:, :, row].astype(np.float64), "value"
        elif all(_is_ratio(first[rows, 0, row], values[rows]) for rows in inside.values()):
            values, unit = 100 * values / np.abs(first[:, :, row]), "change since start (%)"
        for layer, axes in zip(layers, grid[row], strict=True):
            drawn = []
            for number, label in enumerate(order := looks.ordered(classes.tolist())):
                low, middle, high = quartiles = _quartiles(values[inside[layer] & (classes == label)])
                drawn.append(quartiles)
                look, every = looks.rule(label), max(1, examples.checkpoints // 5)
                axes.plot(
                    time,
                    middle,
                    markevery=(number * every // len(order), every),
                    label=f"{looks.plain(label)} ({networks[label]})",
                    linewidth=1.6,
                    **look.line,
                )
                axes.fill_between(time, low, high, color=look.color, alpha=0.15, linewidth=0)
            axes.axhline(0, color="0.7", linewidth=0.6, zorder=0)
            axes.set_ylim(_limits(np.array(drawn)))
            if not np.isfinite(drawn).any():
                axes.set_yticks([])
                axes.text(0.5, 0.55, "undefined", transform=axes.transAxes, ha="center", color="0.5", fontsize=8)
            formatter = ScalarFormatter(useOffset=False)
            formatter.set_powerlimits((-3, 4))
            axes.yaxis.set_major_formatter(formatter)
            axes.yaxis.get_offset_text().set_fontsize(8)
        grid[row, 0].set_ylabel(f"{looks.plain(name)}\n{unit}", fontsize=8)
    for layer, top, bottom in zip(layers, grid[0], grid[-1], strict=True):
        top.set_title(looks.plain(layer), fontsize=9)
        bottom.set_xlabel("checkpoint", fontsize=8)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        title="rule (networks)",
        title_fontsize=9,
        loc="outside lower center",
        ncols=min(len(names), 2 * len(layers)),
        frameon=False,
        fontsize=9,
        handlelength=3,
    )
    figure.suptitle(
        f"{looks.plain(condition)}\nmedian and interquartile range over networks (cut where wide)", fontsize=9
    )
    style(figure)
    return figure


def confusion(
    values: NDArray[np.intp] | NDArray[np.float64], labels: Sequence[str], title: str, counted: bool = True
) -> Figure:
    """Confusion matrix: rows are the truth and sum to 100 %.

    Args:
        values: (labels, labels), true class by row: counts, which are shown beside the shares, or if not `counted` shares.
        title: what it is of, and what its counts count.
    """
    share = values / np.maximum(values.sum(axis=1, keepdims=True), 1e-300)
    side = max(1.6 + 0.65 * len(labels), 4.4)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(share.shape):
        axes.text(
            j,
            i,
            percent(share[i, j]) + (f"\n({values[i, j]:,})" if counted else ""),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if share[i, j] > 0.55 else "black",
        )
    shown = [looks.plain(label) for label in labels]
    axes.set_xticks(range(len(labels)), shown)
    axes.set_yticks(range(len(labels)), shown)
    axes.set_xlabel("named", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    axes.set_title(title, fontsize=9)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("networks of a true class (%)", fontsize=9)
    style(figure)
    return figure


def accuracy(models: Mapping[str, Mapping[str, Any]], chance: float, level: str, rests: str) -> Figure:
    """Accuracy by model, a bar per observable with its 95 % interval; a line at chance.

    Args:
        models: {model: {observable: {level: {mean, low, high}}}}.
        level: network or layer.
        rests: what it rests on, for the title.
    """
    names = list(next(iter(models.values())))
    figure = Figure(figsize=(max(7.5, 0.22 * len(names) * len(models) + 2.5), 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        x = np.arange(len(models)) + (number - (len(names) - 1) / 2) * width
        mean, low, high = (
            np.array([scores[name][level][key] for scores in models.values()], dtype=float)
            for key in ("mean", "low", "high")
        )
        reach = np.nan_to_num([mean - low, high - mean])  # none where there is no interval
        look, error = looks.observable(name), {"linewidth": 1, "ecolor": "0.45"}
        axes.bar(x, mean, width * 0.9, yerr=reach, color=look.color, label=looks.called(name), error_kw=error)
    axes.axhline(chance, color="black", linestyle="--", linewidth=1, label=f"chance ({chance:.2g})")
    axes.set_xticks(range(len(models)), [looks.plain(model) for model in models])
    axes.set_ylabel(f"balanced accuracy per {level}", fontsize=9)
    axes.set_ylim(0, 1.05)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title(f"{rests}; bars: mean over splits with 95 % interval", fontsize=9)
    style(figure)
    return figure


PERMUTED = "loss of log score when its trajectories are permuted (nats)"


def importance(table: pd.DataFrame, observable: Mapping[str, str], title: str, label: str = PERMUTED) -> Figure:
    """The clusters of statistics that matter most, with the s.e.m. where there is one.

    Args:
        table: rows of `importance.importance`, by statistic.
        observable: the observable of each statistic.
        title: what it is of, and rests on.
        label: what the importance is, and its unit.
    """
    figure = Figure(figsize=(7.5, 0.34 * len(table) + 1.3), layout="constrained")
    axes = figure.subplots()
    of = table["name"].map(observable)
    place = np.arange(len(table))[::-1]
    for kind in dict.fromkeys(observable.values()):
        if (inside := (of == kind).to_numpy()).any():
            rows = table[inside]
            axes.barh(
                place[inside],
                rows["importance"],
                xerr=rows["sem"].astype(float).fillna(0) if "sem" in rows else None,
                color=looks.observable(kind).color,
                label=looks.called(kind),
                error_kw={"linewidth": 1, "ecolor": "0.45"},
            )
    pairs = zip(table["name"], table["size"], strict=True)
    names = [looks.plain(str(name)) + (f" (+ {size - 1} alike)" if size > 1 else "") for name, size in pairs]
    axes.set_yticks(place, names)
    axes.axvline(0, color="0.7", linewidth=0.6, zorder=0)
    axes.set_xlabel(label, fontsize=9)
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="best")
    style(figure)
    return figure


def controls(table: pd.DataFrame) -> Figure:
    """Accuracy of each control with half of its 95 % interval, where it has one, beside its chance; and its networks."""
    figure = Figure(figsize=(7.5, 0.3 * len(table) + 1.0), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(table))[::-1]
    reach = table["reach"].fillna(0) if "reach" in table else np.zeros(len(table))
    error = {"linewidth": 1, "ecolor": "0.45"}
    axes.barh(place, table["mean"].astype(float), xerr=reach.astype(float), color=looks.BLUE, error_kw=error)
    axes.scatter(table["chance"], place, marker="|", s=120, color="black", label="chance", zorder=3)
    pairs = zip(table["control"], table["networks"], strict=True)
    axes.set_yticks(place, [f"{looks.plain(str(name))} ({networks:,} networks)" for name, networks in pairs])
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("balanced accuracy per network (mean, 95 % interval)", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    style(figure)
    return figure
