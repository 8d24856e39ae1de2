"""The pictures of `transfer`: accuracy on each unseen domain, and how it grows with the domains trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from classifier.report import looks
from classifier.report.looks import style
from classifier.report.tables import of
from classifier.studies.law import Law

DATASETS = (looks.BLUE, looks.ORANGE, looks.GREEN, looks.PINK, looks.RED, looks.SKY, looks.WINE, looks.BLACK)


def pictures(found: dict[str, Any]) -> dict[str, Figure]:
    """Those that there are, by name."""
    curve = {"scaling": scaling(found)} if found["scaling"] is not None else {}
    return {"domains": domains(found)} | curve


def domains(found: dict[str, Any]) -> Figure:
    """A row per test domain: balanced accuracy with its interval, and of each rule the share that is named rightly."""
    main, rows = found["main"], [(name, one) for name, test in found["tests"].items() for one in test["domains"]]
    figure = Figure(figsize=(7.5, 0.36 * len(rows) + 1.9), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(rows))[::-1]
    cells = [one["observables"][main] for _, one in rows]
    mean = np.array([one["mean"] for one in cells])
    low, high = (
        np.array([one["mean"] if one[end] is None else one[end] for one in cells], dtype=float)
        for end in ("low", "high")
    )
    reach = np.abs([mean - low, high - mean])
    error = {"linewidth": 1, "ecolor": "0.45"}
    axes.barh(place, mean, 0.7, xerr=reach, color="0.85", label="balanced accuracy", error_kw=error)
    labels = looks.ordered(found["labels"])
    for number, label in enumerate(labels):
        there = [(y, one["recall"][label]) for y, (_, one) in zip(place, rows, strict=True) if label in one["recall"]]
        if not there:
            continue
        y, share = np.array(there).T
        look, offset = looks.rule(label), 0.5 * (number / max(len(labels) - 1, 1) - 0.5)
        axes.plot(share, y - offset, look.marker, color=look.color, markersize=5, label=looks.plain(label))
    axes.axvline(found["chance"], color="black", linestyle="--", linewidth=1, label=f"chance ({found['chance']:.2g})")
    names = [
        f"{one['architecture']} on {one['task']} ({cell['networks']:,})" + " *" * one["shared"]
        for (_, one), cell in zip(rows, cells, strict=True)
    ]
    axes.set_yticks(place, [looks.plain(name) for name in names])
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share of networks named rightly", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    total = sum(cell["networks"] for cell in cells)
    shared = "; * also in training" * any(one["shared"] for _, one in rows)
    title = (
        f"{of(total)} on {len(rows)} domain{'s' * (len(rows) != 1)}, trained on {of(found['train']['used'])} of others"
    )
    axes.set_title(f"{title}; bars: 95 % over scenarios{shared}", fontsize=9)
    style(figure)
    return figure


def scaling(found: dict[str, Any]) -> Figure:
    """Accuracy over the number of training domains, a colour per test dataset: draws, means, the law, and what was foretold."""
    curves = found["scaling"]["curves"]
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (name, curve) in enumerate(curves.items()):
        color, points = DATASETS[number % len(DATASETS)], curve["points"]
        n = np.array([one["domains"] for one in points])
        for one in points:
            axes.plot(
                [one["domains"]] * len(one["accuracies"]), one["accuracies"], ".", color=color, alpha=0.5, markersize=4
            )
        axes.plot(n, [one["mean"] for one in points], "o", color=color, markersize=6, label=looks.plain(name))
        if curve["law"] is not None:
            law = Law(*(curve["law"][part]["value"] for part in ("floor", "scale", "exponent")))
            fine = np.geomspace(n[0], n[-1], 100)
            axes.plot(fine, 1 - law.error(fine), color=color, linewidth=1.2)
        if (one := curve["predicted"]) is not None:
            ends = [one["high"], one["low"]]
            reach = None if None in ends else np.abs(np.array(ends)[:, None] - one["error"])
            place = one["domains"] * 1.04  # beside what was measured
            axes.errorbar(place, 1 - one["error"], yerr=reach, fmt="x", color=color, linewidth=1, markersize=6)
    axes.axhline(found["chance"], color="black", linestyle="--", linewidth=1, label=f"chance ({found['chance']:.2g})")
    axes.set_xscale("log")
    axes.set_xticks(n, [f"{one:.0f}" for one in n], minor=False)
    axes.minorticks_off()
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("domains trained on (architecture × task)", fontsize=9)
    axes.set_ylabel("balanced accuracy per network", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title(
        "dots: draws of tasks, and their means; line: fitted law;\n×: foretold from the smaller, 95 %", fontsize=9
    )
    style(figure)
    return figure
