"""The picture of what `identify` found: how likely each class is, how far that may be believed, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from classifier.models.trust import LEVEL
from classifier.report import looks, plots

MOST = 12  # classes that are drawn: the most probable
LONGEST = 36  # letters of a recording's name, and of a class's
VERDICTS = {
    "outside": "outside what was simulated",
    "no learning": "no learning is seen",
    "none of these": "none of these may fit",
    "cannot tell": "cannot be told",
    "named": "{best} is named",
}
KEYS = 3  # names of what is drawn, in a line
OUT = "0.8"  # the colour of what is not in the set


def verdict(answer: Mapping[str, Any]) -> str:
    """Its kind in words."""
    kind = answer["verdict"]["kind"]
    return VERDICTS[kind].format(best=likeliest(answer)[0]) if kind in VERDICTS else kind


def alone(answer: Mapping[str, Any]) -> bool:
    """Whether there is one recording."""
    return len(answer["recordings"]) == 1


def likeliest(found: Mapping[str, Any]) -> list[str]:
    """The classes of an answer, or of a recording's, the most probable first."""
    return sorted(found["posterior"], key=lambda name: (-found["posterior"][name], name))


def short(text: str) -> str:
    """A name as matplotlib may draw it, cut where it is long."""
    return looks.plain(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def picture(answer: Mapping[str, Any]) -> Figure:
    """The posterior with its set beside the reliability of such answers, and below the evidence of statistics."""
    recordings = answer["recordings"]
    lines = -(-len(recordings) // 2)  # of panels of evidence
    bars = max(len(one["evidence"]) for one in recordings)
    keys = -(-(3 + len(recordings) * (not alone(answer))) // KEYS)
    upper = max(3.2, 0.25 * min(len(answer["posterior"]), MOST) + 1.1) + 0.25 * keys
    lower = lines * (0.22 * bars + 1.0) + 0.2
    figure = Figure(figsize=(9.4, upper + lower + 0.4), layout="constrained")
    rows: Any = figure.subfigures(2, 1, height_ratios=[upper, lower])
    above, below = rows
    left, right = above.subplots(1, 2, width_ratios=[1.25, 1])
    posterior(left, answer)
    reliability(right, answer)
    evidence(below, recordings)
    above.legend(*left.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower left", ncols=KEYS)
    names = ", ".join(short(one["name"]) for one in recordings[:2])
    names += f" and {len(recordings) - 2} more" if len(recordings) > 2 else ""
    figure.suptitle(f"{names}: {looks.plain(verdict(answer))}", fontsize=11)
    looks.style(figure)
    return figure


def posterior(axes: Axes, answer: Mapping[str, Any]) -> None:
    """A bar per class, dark in the prediction set, its number to the right; what each recording alone says as points."""
    order = likeliest(answer)[:MOST]
    place = np.arange(len(order))[::-1]
    p = np.array([answer["posterior"][name] for name in order])
    inside = np.array([name in answer["set"] for name in order])
    for kind, color, said in ((inside, looks.BLUE, f"in the {LEVEL:.0%} set"), (~inside, OUT, "not in it")):
        if kind.any():
            axes.barh(place[kind], p[kind], 0.72, color=color, label=said)
    prior = answer["prior"] or dict.fromkeys(answer["posterior"], 1 / len(answer["posterior"]))
    drawn = [p, np.array([prior[name] for name in order])]
    axes.plot(drawn[1], place, "|", markersize=12, color="black", label="beforehand", zorder=3)
    for number, one in enumerate([] if alone(answer) else answer["recordings"]):
        drawn.append(np.array([one["posterior"][name] for name in order]))
        offset = 0.4 * (0.5 - number / (len(answer["recordings"]) - 1))
        look = {**looks.numbered(number), "linestyle": "", "markersize": 5, "zorder": 4}
        axes.plot(drawn[-1], place + offset, label=f"{short(one['name'])} alone", **look)
    for y, share in zip(place, p, strict=True):
        axes.text(1.01, y, f"{share:.2f}", transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set_yticks(place, [short(name) for name in order])
    axes.set_ylim(-0.7, len(order) - 0.3)
    most = np.max(drawn)
    axes.set_xlim(0, 1.02 if most > 0.25 else 1.2 * most)
    left_out = len(answer["posterior"]) - len(order)
    pooled = "" if alone(answer) else f", {len(answer['recordings'])} recordings together"
    rest = f"\n{left_out} less likely ones are not shown" if left_out else ""
    axes.set_title(f"How likely each {looks.plain(answer['target'])} is{pooled}{rest}", fontsize=9)
    axes.set_xlabel("probability", fontsize=9)


def reliability(axes: Axes, answer: Mapping[str, Any]) -> None:
    """Of held-out networks how often the named class is right, over how probable it was said to be."""
    chance = answer["recordings"][0]["quality"]["chance"]
    plots.diagonal(axes, chance)
    for number, one in enumerate(answer["recordings"]):
        look = looks.numbered(number, alone(answer))
        said, right = ([part[key] for part in one["quality"]["reliability"]] for key in ("said", "right"))
        axes.plot(said, right, markersize=4, linewidth=1, **look)
    axes.set_title("Reliability, on networks not trained on", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def evidence(figure: SubFigure, recordings: Sequence[Mapping[str, Any]]) -> None:
    """A panel per recording: a bar per statistic, to the right what speaks for the class that it names."""
    columns = min(2, len(recordings))
    grid = figure.subplots(-(-len(recordings) // 2), columns, squeeze=False).ravel().tolist()
    for axes, one in zip(grid, recordings, strict=False):
        found = one["evidence"]
        place = np.arange(len(found))[::-1]
        values = np.array([each["evidence"] for each in found])
        axes.barh(place, values, 0.72, color=[looks.BLUE if value > 0 else looks.ORANGE for value in values])
        axes.set_yticks(place, [short(each["statistic"]) for each in found])
        axes.axvline(0, color="black", linewidth=0.8)
        axes.margins(x=0.08)
        named, line = short(likeliest(one)[0]), " " if columns == 1 else "\n"
        axes.set_xlabel(f"evidence for {named}{line}(nats; left of 0: against it)", fontsize=9)
        axes.set_title("" if columns == 1 else short(one["name"]), fontsize=9)
    figure.suptitle("What it rests on", fontsize=10)
    for axes in grid[len(recordings) :]:
        axes.set_visible(False)
