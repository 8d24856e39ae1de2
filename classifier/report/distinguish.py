"""What `distinguish` found: tables of text for the terminal, and pictures."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from adjustText import adjust_text
from matplotlib.figure import Figure

from classifier.report import looks
from classifier.report.tables import Rows
from classifier.report.transfer import ends
from generator.console import Shown

MOST = 3  # classes that a left-out one is taken for, in a table


def accuracy_rows(found: dict[str, Any]) -> Rows:
    """Header and a row per set of observables."""
    families = found["families"]
    rows = [["named from", found["target"], "matched in final accuracy", *(["family"] if families else [])]]
    for name, one in found["observables"].items():
        matched = found["matched"][name]
        row = [
            looks.called(name).replace("\n", " "),
            ends(one),
            f"{matched['mean']:.3f} (chance {matched['chance']:.3f})",
        ]
        rows.append([*row, *([ends(families["observables"][name])] if families else [])])
    chance = [f"{found['chance']:.3f}", "", *([f"{families['chance']:.3f}"] if families else [])]
    return [*rows, ["chance", *chance]]


def domain_rows(found: dict[str, Any]) -> Rows:
    """Header and a row per architecture and task of another dataset."""
    names = list(found["observables"])
    rows = [["architecture", "task", "networks", *(looks.called(name).replace("\n", " ") for name in names)]]
    for one in found["domains"]:
        cells = [ends(one["observables"][name]) for name in names]
        rows.append([one["architecture"], one["task"], f"{one['networks']:,}", *cells])
    return rows


def class_rows(found: dict[str, Any]) -> Rows:
    """Header and a row per class: how often it is named, what else it is called, what it is taken for if it was never seen."""
    labels, counts, families = found["labels"], np.array(found["confusion"]), found["families"]
    header = [found["target"], "family", "named", "most often called, else"]
    rows = [[*header, *(["left out: taken for", "left out: AUROC"] if found["left_out"] else [])]]
    for place in found["order"]:
        name, row = labels[place], counts[place].copy()
        alone = found["left_out"].get(name, {"taken_for": {}, "auroc": None})
        total, row[place] = row.sum(), 0
        other = int(row.argmax())
        share = [f"{labels[other]} {row[other] / total:.2f}"] if row[other] else [""]
        taken, many = list(alone["taken_for"].items()), sum(alone["taken_for"].values())
        says = ", ".join(f"{one} {count / many:.2f}" for one, count in taken[:MOST])
        family = families["of"][name] if families else ""
        auroc = "" if alone["auroc"] is None else f"{alone['auroc']:.2f}"
        recall = "" if found["recall"][name] is None else f"{found['recall'][name]:.2f}"
        rows.append([name, family, recall, *share, *([says, auroc] if found["left_out"] else [])])
    return rows


def sentences(found: dict[str, Any]) -> list[str]:
    """What a reader must know of the numbers."""
    said = [
        f"{found['model']} on {found['features']}, {where(found)}, {found['networks']:,} networks, "
        f"{len(found['labels'])} classes, electrode {found['electrode']}, sampling {found['sampling']}."
    ]
    sets = [", ".join(one) for one in found["sets"]]
    inside = {frozenset(pair) for one in found["sets"] for pair in itertools.combinations(one, 2)}
    others = [" and ".join(pair) for pair in found["pairs"] if frozenset(pair) not in inside]
    said.append(f"Not told apart, pair by pair, at 95 % over scenarios: {'; '.join(sets) or 'none'}.")
    said += [f"Nor are, beside these sets: {', '.join(others)}."] if others else []
    unjudged = sum(one is None for row in found["apart"] for one in row) // 2
    said += [f"{unjudged} pairs share too few scenarios to be judged."] if unjudged else []
    return [*said, *found["missing"], *filter(None, [found["design"]])]


def where(found: dict[str, Any]) -> str:
    """What was tested on."""
    return f"{found['split']} split" if found["test"] is None else f"tested on {found['test']}"


def print_distinguish(found: dict[str, Any]) -> None:
    """Print all tables, and what a reader must know of them."""
    console = Shown()
    console.table(f"Accuracy per network, {len(found['labels'])} classes", accuracy_rows(found))
    if found["domains"]:
        console.table("By architecture and task", domain_rows(found))
    console.table(f"By {found['target']}, alike ones together", class_rows(found))
    for line in sentences(found):
        console.print(line)


def pictures(found: dict[str, Any]) -> dict[str, Figure]:
    """The confusion of all classes, and a map of them."""
    return {"confusion": confusion(found), "map": placed(found)}


def confusion(found: dict[str, Any]) -> Figure:
    """Rows are the truth, and sum to 100 %; classes that are hard to tell apart stand together."""
    order = found["order"]
    counts = np.array(found["confusion"])[np.ix_(order, order)]
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    labels = [looks.plain(found["labels"][place]) for place in order]
    side = 0.19 * len(labels) + 2.6
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("named", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    axes.set_title(f"{where(found)}; alike ones stand together", fontsize=9)
    axes.set_xticks(np.arange(len(labels)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels)) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.4)
    axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.7)
    bar.set_label("networks of a true class (%)", fontsize=9)
    looks.style(figure)
    axes.tick_params(labelsize=7)
    return figure


def placed(found: dict[str, Any]) -> Figure:
    """Classes on a map: the nearer, the harder to tell apart. Families have a colour and a marker each."""
    families = found["families"]["of"] if found["families"] else dict.fromkeys(found["labels"], "")
    figure = Figure(figsize=(9.4, 7.0), layout="constrained")
    axes = figure.subplots()
    for number, family in enumerate(dict.fromkeys(families[one] for one in found["labels"])):
        members = [one for one in found["labels"] if families[one] == family]
        x, y = np.array([found["map"][one] for one in members]).T
        color = (
            (*looks.RULES.values(),)[number % len(looks.RULES)].color
            if number < len(looks.RULES)
            else looks.OTHERS[number % 8]
        )
        marker = looks.MARKERS[(number + number // len(looks.OTHERS)) % len(looks.MARKERS)]  # no two look the same
        axes.plot(x, y, marker, color=color, markersize=5, label=family or None)
    axes.set_aspect("equal", "datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title("the nearer two are, the harder they are to tell apart", fontsize=9)
    x, y = np.array([found["map"][one] for one in found["labels"]]).T
    places = found["map"].items()
    texts = [axes.text(right, up, looks.plain(one), fontsize=7, color="0.25") for one, (right, up) in places]
    if found["families"]:
        figure.legend(frameon=False, fontsize=8, loc="outside right center")
    looks.style(figure)
    axes.spines[["left", "bottom"]].set_visible(False)
    figure.draw_without_rendering()  # so that all is where it will be
    adjust_text(
        texts,
        x,
        y,
        ax=axes,
        iter_lim=300,
        expand=(1.15, 1.5),
        arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.5},
    )
    return figure
