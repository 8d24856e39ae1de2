"""The tables of a report, as rows of text: for the terminal, and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from classifier.examples import splits as splitting
from classifier.models.trust import LEVEL
from generator.console import Shown
from generator.dataset.noise import MODES

Rows = list[list[str]]


class Section(NamedTuple):
    """A part of a report: its heading, a table (header and rows), and the name of a picture without its ending."""

    title: str
    rows: Rows | None = None
    picture: str | None = None


def plus_minus(found: dict[str, float | None]) -> str:
    """Mean ± error, where there is one."""
    return f"{found['mean']:z.3f}" + ("" if found["sem"] is None else f" ± {found['sem']:.3f}")


def interval(found: dict[str, float | None]) -> str:
    """Mean ± half of the 95 % interval, where there is one."""
    return plus_minus({"mean": found["mean"], "sem": found["reach"]})


def of(networks: int, unfinished: str = "") -> str:
    """So many networks, in words; `unfinished` as `progress` says it."""
    far = f" (not finished: {unfinished})" if unfinished else ""
    return f"{networks:,} network{'s' * (networks != 1)}{far}"


def basis(networks: int, splits: int, unfinished: str = "") -> str:
    """What scores rest on, in words."""
    return f"{of(networks, unfinished)}, {splits} split{'s' * (splits != 1)}"


def counted(evaluation: Mapping[str, Any]) -> str:
    """What the counts of a confusion matrix count."""
    splits = len(evaluation["folds"])
    return f"counts over {splits} splits; a network counts each time it is tested" if splits > 1 else "of one split"


def accuracy_rows(evaluation: dict[str, Any], level: str) -> Rows:
    """Header and a row per model: the score from each set of observables."""
    models = evaluation["models"]
    names = list(next(iter(models.values())))
    header = [f"per {level}", *("loss and accuracy curves alone" if name == "curves" else name for name in names)]
    return [
        header,
        *([model, *(interval(scores[name][level]) for name in names)] for model, scores in models.items()),
    ]


def split_rows(evaluations: Sequence[dict[str, Any]]) -> Rows:
    """Header and a row per split: the selected model's score on all observables, and the features that it chose if it could."""
    rows = [["split", "per layer", "per network", "features chosen (splits)"]]
    for one in evaluations:
        model = one["selected"]["model"]
        found = one["models"][model]["all"]
        kind = (
            one["split"]
            if one["split"] in splitting.RANDOM
            else f"held-out {one['split']}, mean of {len(one['folds'])}"
        )
        kind += f" ({one['caution']})" if one["caution"] else ""
        chosen = ", ".join(f"{name} ({count})" for name, count in one["chosen"][model].items())
        rows.append([kind, interval(found["layer"]), interval(found["network"]), chosen])
        if one["split"] not in splitting.RANDOM:
            rows += [
                [_value(value, fold["lacks"]), f"{fold['layer']:.3f}", f"{fold['network']:.3f}", ""]
                for value, fold in one["folds"].items()
            ]
    alone = len({name for one in evaluations for name in one["chosen"][one["selected"]["model"]]}) == 1
    return [row[:-1] for row in rows] if alone else rows


def _value(name: str, lacks: Sequence[str]) -> str:
    """A held-out value, and the classes that it does not have."""
    return f"· {name}" + (f" (has no {', '.join(lacks)})" if lacks else "")


def importance_rows(table: pd.DataFrame, without: pd.DataFrame) -> Rows:
    """Header and a row per cluster of statistics: the loss of log score (accuracy per layer) permuted, and trained without it."""
    header = ["", "statistics", "permuted: nats ± s.e.m. over repeats (accuracy)"]
    rows = [[*header, "trained again without: nats ± s.e.m. over scenarios (accuracy)"]]
    refitted = {row["name"]: _loss(row) for row in without.to_dict("records")}
    for place, row in enumerate(table.to_dict("records"), start=1):
        rows.append([str(place), row["members"], _loss(row), refitted.get(row["name"], "")])
    return rows


def _loss(row: Mapping[Any, Any]) -> str:
    """Of log score ± s.e.m., and of accuracy."""
    return f"{plus_minus({'mean': row['importance'], 'sem': row['sem']})} ({row['accuracy_drop']:z.3f})"


def seed_rows(evaluations: Sequence[dict[str, Any]]) -> Rows:
    """Header and a row per level: the selected model's score on all observables, for each seed of splits."""
    model = evaluations[0]["selected"]["model"]
    header = ["seed of the splits", *(str(one["seed"]) for one in evaluations)]
    scores = [one["models"][model]["all"] for one in evaluations]
    return [header, *([f"per {level}", *(interval(one[level]) for one in scores)] for level in ("network", "layer"))]


def nearest_rate(networks: pd.DataFrame) -> pd.DataFrame:
    """Of each architecture and curriculum the networks at the learning-rate multiplier nearest to 1."""
    distance = networks["learning_rate"].astype(float).map(np.log).abs()
    keys = [networks["architecture"], networks["curriculum"]]
    return networks[np.isclose(distance, distance.groupby(keys, observed=True).transform("min"))]


def final_accuracy_rows(networks: pd.DataFrame, best: bool = False) -> Rows:
    """Header and a row per architecture and curriculum: each rule's median final probe accuracy, complete networks.

    Of more rules than these a row per rule.

    Args:
        best: at the learning rate at which that is highest, in place of the one nearest 1.
    """
    keys = ["architecture", "task" if networks["objective"].nunique() == 1 else "curriculum"]
    usual = networks if best else nearest_rate(networks)
    table = usual.pivot_table("final_probe_accuracy", keys, "rule", aggfunc="median", observed=True)
    complete = usual[usual["status"] == "complete"].groupby([*keys, "rule", "learning_rate"], observed=True)
    ended = complete["final_probe_accuracy"].median().groupby([*keys, "rule"], observed=True).max()
    rows = [[*keys, *map(str, table.columns)]]
    for index in table.index:
        medians = [ended.get((*index, rule), np.nan) for rule in table.columns]
        none = ["–" if np.isnan(tried) else "diverged" for tried in table.loc[index]]
        cells = [word if np.isnan(median) else f"{median:.3f}" for word, median in zip(none, medians, strict=True)]
        rows.append([*map(str, index), *cells])
    if len(table.columns) <= len(table):
        return rows
    header = ["rule", *(", ".join(row[: len(keys)]) for row in rows[1:])]
    return [header, *(list(each) for each in zip(*(row[len(keys) :] for row in rows), strict=True))]


def usual_rate(networks: pd.DataFrame) -> str:
    """The learning rates of the table of final accuracies, in words."""
    found = sorted(nearest_rate(networks)["learning_rate"].unique())
    if len(found) == 1:
        return f"learning-rate multiplier {found[0]:g}"
    return f"the learning-rate multiplier nearest 1 ({', '.join(f'{one:g}' for one in found)})"


def status_rows(networks: pd.DataFrame) -> Rows:
    """Header and a row per rule: networks of each status."""
    table = pd.crosstab(networks["rule"], networks["status"])
    return [
        ["rule", *map(str, table.columns)],
        *([str(rule), *map(str, row)] for rule, row in zip(table.index, table.to_numpy(), strict=True)),
    ]


def markdown(rows: Rows) -> str:
    """The table in Markdown."""
    header, *body = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join([header, "|" + "---|" * len(rows[0]), *body])


def _cell(text: str) -> str:
    """Text from a dataset, of which Markdown shall read nothing as a column or a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def sentence(evaluation: dict[str, Any]) -> str:
    """What was selected, and what permuted labels gave."""
    permuted = evaluation["permuted"]
    selected, chance = evaluation["selected"], f"chance is {evaluation['chance']:.2f}"
    inside = f"inside the training parts, on folds that hold out the {held_out(evaluation['inner'])}"
    chosen = f"Selected by the mean score {inside}: {selected['model']} on {selected['features']}"
    if permuted is None:
        return f"{chosen}; {chance}."
    error = "" if permuted["sem"] is None else f", s.e.m. {permuted['sem']:.3f},"
    return f"{chosen}. With permuted labels it scores {permuted['mean']:.3f}{error} per network; {chance}."


def held_out(inner: Mapping[str, Any]) -> str:
    """What inner folds hold out, in words; of several splits that differ, in how many."""
    found: dict[str, int] = inner["held_out"]
    return " or ".join(f"{words} ({count})" if len(found) > 1 else words for words, count in found.items())


def inner_sentences(evaluation: Mapping[str, Any]) -> list[str]:
    """Where inner folds hold out less than was asked; and what the selected model scores on folds that it was not chosen on."""
    inner = evaluation["inner"]
    others = [
        f"{one['score']:.3f} on those that hold out the {held_out(one)}"
        for one in inner["beside"]
        if one["score"] is not None and one["held_out"] != inner["held_out"]
    ]
    said = f"Inside the training parts it scores {inner['score']:.3f} on these folds, and {' and '.join(others)}."
    return [text for text in (inner["sentence"], said if others else "") if text]


def print_evaluation(evaluation: dict[str, Any]) -> None:
    """Print an evaluation's tables, per network and per layer, and what it does not speak of."""
    console = Shown()
    for level in ("network", "layer"):
        condition = ", ".join(f"{key} {evaluation[key]}" for key in ("target", "electrode", "sampling"))
        title = f"Accuracy per {level} ({evaluation['split']} split, {condition})"
        console.table(title, accuracy_rows(evaluation, level))
    if evaluation["split"] not in splitting.RANDOM:
        console.table("By held-out value (selected model)", split_rows([evaluation]))
    console.table(confusion_title(evaluation), count_rows(evaluation["confusion"]))
    if evaluation["trust"]:
        console.table(trust_title(evaluation), trust_rows(evaluation))
    said = (*evaluation["gaps"], sentence(evaluation), *inner_sentences(evaluation), evaluation["design"])
    for text in filter(None, said):
        console.print(text)
    if evaluation["caution"]:
        console.print(f"The {evaluation['split']} split is for comparison only; it {evaluation['caution']}.")


def recording_sentence(asked: dict[str, Any]) -> str:
    """A planned recording, and what is to be told apart, in words."""
    units = "all units" if asked["units"] is None else f"{asked['units']} units"
    unit = MODES[asked["noise_mode"]].unit
    noise = f"noise {asked['noise']:g}{unit and ' '}{unit} ({asked['noise_mode']})" if asked["noise"] else "no noise"
    layers = {None: "all layers", 1: "any one layer"}.get(asked["layers"], f"layers {asked['layers']}")
    rules = "all rules" if asked["rules"] is None else f"rules {', '.join(asked['rules'])}"
    named = "" if asked.get("target", "rule") == "rule" else f" by {asked['target']}"
    what = f"{layers}, observable {asked['observable']}; {rules}{named}; {asked['model']}"
    count = asked.get("animals", 1)
    animals = "" if count == 1 else f", {count} animals"
    return f"{units}, {noise}, {asked['sessions']} sessions{animals}; {what}"


def confusion_title(evaluation: Mapping[str, Any]) -> str:
    """The title of an evaluation's confusion matrix."""
    return (
        f"Networks by true and named class ({evaluation['selected']['model']}, all observables; {counted(evaluation)})"
    )


def trust_title(evaluation: Mapping[str, Any]) -> str:
    """The title of the table that says how far probabilities may be believed."""
    values = evaluation["split"] not in splitting.RANDOM
    other = f"other values of {evaluation['split']}" if values else "other scenarios"
    return f"How far its probabilities may be believed ({evaluation['selected']['model']}, calibrated on {other})"


def trust_rows(evaluation: Mapping[str, Any]) -> Rows:
    """Header and a row per level: log loss before and after calibration, what is left of its error, and prediction sets."""
    classes = len(evaluation["confusion"]["labels"])
    sets = f"{LEVEL:.0%} set"
    header = ["", "log loss as scored (nats)", f"calibrated (who knows nothing: {math.log(classes):.3f})"]
    header += ["calibration error, debiased", f"{sets}s that hold the truth", f"mean size of {sets}s, of {classes}"]
    cells = [[one["log_loss_raw"], one["log_loss"], one["calibration_error"]] for one in evaluation["trust"].values()]
    rows = [[*(f"{number:.3f}" for number in each)] for each in cells]
    ends = [[f"{one['coverage']:.1%}", f"{one['size']:.2f}"] for one in evaluation["trust"].values()]
    return [header, *([f"per {name}", *a, *b] for name, a, b in zip(evaluation["trust"], rows, ends, strict=True))]


def count_rows(confusion: dict[str, Any]) -> Rows:
    """Header and a row per true class: how many of its networks are named each."""
    counts = zip(confusion["labels"], confusion["counts"], strict=True)
    return [["true, named", *confusion["labels"]], *([label, *map(str, row)] for label, row in counts)]


def confusion_rows(confusion: dict[str, Any]) -> Rows:
    """Header and a row per true class: the shares of its networks that are taken for each."""
    labels = confusion["labels"]
    shares = ([f"{share:.2f}" for share in row] for row in confusion["shares"])
    return [["true, taken for", *labels], *([label, *row] for label, row in zip(labels, shares, strict=True))]


def _bound(axis: str, at: float | None, noise_mode: str) -> str:
    """The least of an axis that is enough, in words; None: nothing is."""
    if at is None:
        return "–"
    if axis != "noise":
        return f"≥ {at:g} {axis}"
    if at == 0:
        return "no noise"
    mode = MODES[noise_mode]
    return f"≥ {at:.3g} {mode.unit or 'noise'}" if mode.better else f"noise ≤ {at:.3g}"


def way_rows(target: dict[str, Any], noise_mode: str) -> Rows:
    """Header and a row per thing that can be changed alone to reach a target accuracy."""
    rows = [["changed alone", "expected to reach it", "low end of the interval, too", "best within what was simulated"]]
    for axis, way in target["ways"].items():
        best = f"{way['best']['expected']:.3f}: {_bound(axis, way['best']['at'], noise_mode)}"
        rows.append([axis, *(_bound(axis, way[key], noise_mode) for key in ("expected", "assured")), best])
    return rows


def target_sentence(target: dict[str, Any], noise_mode: str) -> str:
    """What would reach the target, each thing changed alone."""
    ways = {axis: way["expected"] for axis, way in target["ways"].items()}
    reached = [_bound(axis, at, noise_mode) for axis, at in ways.items() if at is not None]
    lacking = [axis for axis, at in ways.items() if at is None]
    start = "Enough for" if target["expected"] else "Needed for"
    parts = [f"{start} {target['accuracy']:g}, the rest as asked: {', or '.join(reached)}"] if reached else []
    if lacking:
        parts.append(f"{target['accuracy']:g} is not reached by {' or '.join(lacking)} alone within what was simulated")
    return "; ".join(parts) + "."


def print_power(found: dict[str, Any]) -> None:
    """Print the answer to a power analysis."""
    console, accuracy = Shown(), found["accuracy"]
    console.print(recording_sentence(found["asked"]))
    interval = f"{accuracy['low']:.3f} – {accuracy['high']:.3f}"
    rows = [
        ["expected", f"{accuracy['level']:.0%} interval", "chance"],
        [f"{accuracy['expected']:.3f}", interval, f"{found['chance']:.3f}"],
    ]
    console.table("Balanced accuracy per network", rows)
    console.table(
        f"Share of networks by {found['asked'].get('target', 'rule')} (interpolated)",
        confusion_rows(found["confusion"]),
    )
    if found["target"] is not None:
        console.table(
            f"What reaches {found['target']['accuracy']:g}",
            way_rows(found["target"], found["asked"]["noise_mode"]),
        )
        console.print(target_sentence(found["target"], found["asked"]["noise_mode"]))
    simulated = found["simulated"]
    console.print(
        f"Interpolated between {simulated['conditions']} simulated conditions, whose own s.e.m. is {simulated['sem']:.3f} on "
        "average; --validate says how well.",
        highlight=False,
    )
    for text in filter(None, (*found["gaps"], found["design"])):
        console.print(text)


def print_validation(found: dict[str, Any]) -> None:
    """Print how well simulated conditions are predicted from others."""
    rows = [
        ["held out", "predictions", "mean absolute error", "their own s.e.m.", f"in the {found['level']:.0%} interval"]
    ]
    for kind in ("conditions", "electrodes"):
        if kind in found:
            one = found[kind]
            cells = [f"{one['held_out']}", f"{one['error']:.3f}", f"{one['sem']:.3f}", f"{one['coverage']:.1%}"]
            rows.append([f"{kind}", *cells])
    Shown().table("Simulated conditions predicted from the others (balanced accuracy per network)", rows)


def control_rows(found: dict[str, Any]) -> Rows:
    """Header and a row per control."""
    return [
        ["control", "accuracy per network", "chance", "networks", "what it means"],
        *(
            [
                one["control"],
                interval(one) if "reach" in one else plus_minus(one),
                f"{one['chance']:.2f}",
                str(one["networks"]),
                one["meaning"],
            ]
            for one in found["controls"]
        ),
    ]


def print_controls(found: dict[str, Any]) -> None:
    """Print the table, what it does not speak of, and a sentence for each control left out."""
    console = Shown()
    title = (
        f"Controls ({found['model']} on {found['features']}; ± half of the 95 % interval, of permutations the s.e.m.)"
    )
    console.table(title, control_rows(found))
    inner = found["inner"]
    chosen = f"Settings of the curves alone are chosen on folds that hold out the {held_out(inner)}."
    for text in filter(None, (chosen, inner["sentence"], *found["gaps"], found["design"])):
        console.print(text)
    for sentence in found["skipped"]:
        console.print(f"left out: {sentence}")
