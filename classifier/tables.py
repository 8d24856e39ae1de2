"""The tables of a report, as rows of text: for the terminal, and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from classifier import splits as splitting

Rows = list[list[str]]


def plus_minus(found: dict[str, float]) -> str:
    """Mean ± s.e.m."""
    return f"{found['mean']:.3f} ± {found['sem']:.3f}"


def accuracy_rows(evaluation: dict[str, Any], level: str) -> Rows:
    """Header and a row per model: the score from each set of observables."""
    models = evaluation["models"]
    names = list(next(iter(models.values())))
    header = [f"per {level}", *("loss and accuracy curves alone" if name == "accuracy" else name for name in names)]
    return [
        header,
        *([model, *(plus_minus(scores[name][level]) for name in names)] for model, scores in models.items()),
    ]


def split_rows(evaluations: Sequence[dict[str, Any]]) -> Rows:
    """Header and a row per split: the selected model's score on all observables, and the features it chose."""
    rows = [["split", "per layer", "per network", "features chosen (splits)"]]
    for one in evaluations:
        model = one["selected"]["model"]
        found = one["models"][model]["all"]
        kind = one["split"] if one["split"] in splitting.UNITS else f"held-out {one['split']}"
        chosen = ", ".join(f"{name} ({count})" for name, count in one["chosen"][model].items())
        rows.append([kind, plus_minus(found["layer"]), plus_minus(found["network"]), chosen])
        if one["split"] not in splitting.UNITS:
            rows += [
                [f"· {value}", f"{fold['layer']:.3f}", f"{fold['network']:.3f}", ""]
                for value, fold in one["folds"].items()
            ]
    return rows


def importance_rows(table: pd.DataFrame) -> Rows:
    """Header and a row per cluster of statistics."""
    rows = [["", "statistics", "loss of log score (nats)", "loss of accuracy per layer"]]
    for place, row in enumerate(table.to_dict("records"), start=1):
        score = plus_minus({"mean": row["importance"], "sem": row["sem"]})
        rows.append([str(place), row["members"], score, f"{row['accuracy_drop']:.3f}"])
    return rows


def final_accuracy_rows(networks: pd.DataFrame) -> Rows:
    """Header and a row per architecture and task: each rule's median final probe accuracy at rate × 1, complete networks."""
    usual = networks[np.isclose(networks["learning_rate"], 1)]
    keys = ["architecture", "task"]
    table = usual.pivot_table("final_probe_accuracy", keys, "rule", aggfunc="median", observed=True)
    ended = (
        usual[usual["status"] == "complete"].groupby([*keys, "rule"], observed=True)["final_probe_accuracy"].median()
    )
    rows = [[*keys, *map(str, table.columns)]]
    for index in table.index:
        medians = [ended.get((*index, rule), np.nan) for rule in table.columns]
        none = ["–" if np.isnan(tried) else "diverged" for tried in table.loc[index]]
        cells = [word if np.isnan(median) else f"{median:.3f}" for word, median in zip(none, medians, strict=True)]
        rows.append([*map(str, index), *cells])
    return rows


def status_rows(networks: pd.DataFrame) -> Rows:
    """Header and a row per rule: networks of each status."""
    table = pd.crosstab(networks["rule"], networks["status"])
    return [
        ["rule", *map(str, table.columns)],
        *([str(rule), *map(str, row)] for rule, row in zip(table.index, table.to_numpy(), strict=True)),
    ]


def markdown(rows: Rows) -> str:
    """The table in Markdown."""
    header, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([header, "|" + "---|" * len(rows[0]), *body])


def show(console: Console, title: str, rows: Rows) -> None:
    """Print the table."""
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def sentence(evaluation: dict[str, Any]) -> str:
    """What was selected, and what permuted labels gave."""
    permuted = evaluation["permuted"]
    selected, chance = evaluation["selected"], f"chance is {evaluation['chance']:.2f}"
    chosen = f"Selected by the mean score inside the training parts: {selected['model']} on {selected['features']}"
    if permuted is None:
        return f"{chosen}; {chance}."
    return f"{chosen}. With permuted labels it scores {plus_minus(permuted)} per network; {chance}."


def print_evaluation(evaluation: dict[str, Any]) -> None:
    """Print an evaluation's tables, per network and per layer."""
    console = Console()
    for level in ("network", "layer"):
        title = f"Accuracy per {level} ({evaluation['split']} split, target {evaluation['target']})"
        show(console, title, accuracy_rows(evaluation, level))
    if evaluation["split"] not in splitting.UNITS:
        show(console, "By held-out value (selected model)", split_rows([evaluation]))
    console.print(sentence(evaluation), highlight=False)
