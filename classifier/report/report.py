"""Everything a reader wants to know of a dataset, in `<dataset>/report/`: scores, splits, rankings and pictures.

Run as a module it copies a report into a page: `python -m classifier.report.report docs/demo.md datasets/demo` puts results.md
between the markers `<!-- results:begin -->` and `<!-- results:end -->` and the pictures beside the page, in `pictures/`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples import splits as splitting
from classifier.examples.gaps import gaps, progress
from classifier.examples.trajectories import Examples, load
from classifier.models.card import Card
from classifier.models.estimators import FEATURES
from classifier.models.stored import check_place
from classifier.report import curves, looks, page, plots
from classifier.report.tables import (
    Section,
    accuracy_rows,
    basis,
    confusion_title,
    count_rows,
    counted,
    final_accuracy_rows,
    importance_rows,
    inner_sentences,
    markdown,
    of,
    seed_rows,
    sentence,
    split_rows,
    status_rows,
    trust_rows,
    trust_title,
    usual_rate,
)
from classifier.studies.evaluate import evaluate
from classifier.studies.importance import importance
from classifier.studies.study import Study
from classifier.studies.train import train
from generator.console import Shown
from generator.dataset.storage import Dataset
from generator.errors import RequestError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MODELS = ("logistic", "forest")  # a linear model and trees; the others would add a minute of two cores
OTHER_SPLITS = ("strict", "architecture", "task", "paper")
N_SPLITS = 10
OTHER_N_SPLITS = 5  # of the random ones among them, and with other seeds
SEEDS = 3  # of the headline's splits
TOP = 10
PICTURES = (
    "accuracy",
    "confusion",
    "reliability",
    "importance",
    "trajectories",
)  # of results.md, each a .png and an .svg


def _sections(
    headline: dict[str, Any],
    seeds: Sequence[dict[str, Any]],
    others: Sequence[dict[str, Any]],
    card: Card,
    ranked: pd.DataFrame,
    without: pd.DataFrame,
    networks: pd.DataFrame,
) -> list[Section]:
    """What results.md holds, in order."""
    kind = f"{headline['split']} split, target {headline['target']}, chance {headline['chance']:.2f}"
    relied = (
        f"The {len(ranked)} clusters of statistics on which the {card.model} relies most, and what it loses without"
    )
    return [
        Section(f"Accuracy per network ({kind})", accuracy_rows(headline, "network"), "accuracy"),
        Section(f"Accuracy per layer ({kind})", accuracy_rows(headline, "layer")),
        Section(confusion_title(headline), count_rows(headline["confusion"]), "confusion"),
        *([Section(trust_title(headline), trust_rows(headline), "reliability")] if headline["trust"] else []),
        Section(
            f"The headline with other seeds of splits, {OTHER_N_SPLITS} each ({card.model}, all observables)",
            seed_rows([headline, *seeds]),
        ),
        Section(f"Other splits ({card.model}, all observables)", split_rows([headline, *others])),
        Section(relied, importance_rows(ranked, without), "importance"),
        Section(f"Median final probe accuracy at {usual_rate(networks)}", final_accuracy_rows(networks)),
        Section("Networks by status", status_rows(networks)),
        Section("Trajectories by rule", picture="trajectories"),
    ]


def _summary(headline: dict[str, Any], lacks: Sequence[str]) -> str:
    """The first paragraph: what the tables rest on, and what was selected; `lacks`: the dataset's gaps, a sentence each."""
    rests = f"{headline['networks']} networks, {headline['examples']} layers."
    return (
        f"{' '.join([*lacks, rests])} Balanced accuracy, mean over {N_SPLITS} "
        f"splits ± half of its 95 % interval; features and hyperparameters were chosen inside the training part of every split. "
        f"{' '.join(filter(None, (sentence(headline), *inner_sentences(headline), headline['design'])))}"
    )


def _stored(card: Card) -> str:
    """The last paragraph: whose the rankings are."""
    return (
        f"Rankings are of the stored model, trained on {card.networks} networks; on the test part of its split it "
        f"scores {card.scores['network']:.3f} per network and {card.scores['layer']:.3f} per layer."
    )


def _document(summary: str, sections: Sequence[Section], end: str) -> str:
    """results.md."""
    lines = [summary]
    for section in sections:
        lines.append(f"### {section.title}")
        if section.rows is not None:
            lines.append(markdown(section.rows))
        if section.picture is not None:
            lines.append(f"![{section.title}]({section.picture}.png)")
    return "\n\n".join([*lines, end]) + "\n"


def _most_important_of_each(examples: Examples, ranking: pd.DataFrame) -> list[str]:
    """The most important statistic of every observable, in order of importance."""
    first: dict[str, str] = {}
    for name in ranking["name"]:
        first.setdefault(examples.statistics[name].observable, name)
    return list(first.values())


def _one_condition(identity: pd.DataFrame) -> tuple[NDArray[np.bool_], str]:
    """The examples of one architecture and task at the rate nearest × 1, the best populated, and what it is called."""
    distance = np.abs(np.log(identity["learning_rate"]))
    inside = distance == distance.min()
    architecture, task = identity[inside].groupby(["architecture", "task"]).size().idxmax()
    inside &= (identity["architecture"] == architecture) & (identity["task"] == task)
    rate = identity["learning_rate"][inside].iloc[0]
    return inside.to_numpy(), f"{architecture} on {task}, learning rate × {rate:g}"


def report(
    dataset: str | os.PathLike[str],
    permute_labels: int = 20,
    seed: int = 0,
    models: Sequence[str] = MODELS,
    quiet: bool = False,
    inner: str | None = None,
) -> str:
    """Evaluate, train and draw: write `<dataset>/report/` and print the main tables.

    Writes evaluation.json (the headline: scenario split, rule), seeds.json and splits.json (other seeds of its splits, and other
    splits, selected model), results.md, index.html (the same on one page that needs nothing else), six pictures as PNG and as
    SVG, and the trained model in `<dataset>/report/model/`.

    Args:
        dataset: a dataset's path or URI.
        permute_labels: label permutations of the headline.
        models: those compared; the best by inner score is stored and used for all else.
        quiet: print no tables.
        inner: as `Study` takes it.

    Returns:
        Where it is.

    Raises:
        RequestError: no dataset there, too few networks, or a place that cannot be written to.
    """
    study = Study(features=FEATURES, n_splits=N_SPLITS, seed=seed, inner=inner)
    study.check(models)
    target = Dataset(dataset)
    target.check_simulated("be learned from")
    unfinished, place = progress(target), target.inside("report/model")
    target.check_writable("report/results.md")
    check_place(place)
    examples, networks = load(dataset), target.read_kind("networks").to_pandas()
    lacks = gaps(target, study.target)
    headline = evaluate(examples, tuple(models), study, permute_labels=permute_labels)
    model = headline["selected"]["model"]
    fewer, others = replace(study, n_splits=OTHER_N_SPLITS), []
    seeds = [evaluate(examples, [model], replace(fewer, seed=seed + more), ["all"]) for more in range(1, SEEDS)]
    for split in OTHER_SPLITS:
        if split in splitting.RANDOM or examples.identity[split].nunique() > 1:
            try:
                others.append(evaluate(examples, [model], replace(fewer, split=split), ["all"]))
            except RequestError as error:  # a split that this dataset is too small or too uneven for
                Shown(stderr=True).print(f"left out: {error}")
    card = train(examples, place, model, study)
    ranking = importance(place, "statistic", None)
    ranked, without = ranking.head(TOP), importance(place, "statistic", None, "refit")

    classes = splitting.labels(examples.identity, headline["target"])
    shown, condition = _one_condition(examples.identity)
    rests = basis(headline["networks"], len(headline["folds"]), unfinished)
    tested = examples.identity["network_id"][replace(study, n_splits=1).folds(examples.identity)[0].test].nunique()
    learned = curves.curves(target)
    figures = {
        "accuracy": plots.accuracy(headline["models"], headline["chance"], "network", rests),
        "confusion": plots.confusion(
            np.array(headline["confusion"]["counts"]),
            headline["confusion"]["labels"],
            f"{model}, {headline['split']} split; {of(headline['networks'], unfinished)}\n{counted(headline)}",
        ),
        "importance": plots.importance(
            ranked,
            {name: parts.observable for name, parts in examples.statistics.items()},
            f"What the {model} relies on: trained on {card.networks:,} networks, measured on {tested:,} others\n"
            "error bars: s.e.m. over repeats" + (f"; not finished: {unfinished}" if unfinished else ""),
        ),
        "trajectories": plots.trajectories(
            examples.rows(shown),
            classes[shown],
            _most_important_of_each(examples, ranking),
            f"{condition}: {of(examples.identity[shown]['network_id'].nunique(), unfinished)}",
        ),
        "curves": curves.draw(learned),
    }
    if headline["trust"]:
        figures["reliability"] = plots.reliability(headline["trust"], headline["chance"], f"{model}; {rests}")
    pictures = {name: looks.publish(target, f"report/{name}", figure) for name, figure in figures.items()}
    for name, found in (("evaluation", headline), ("seeds", seeds), ("splits", others)):
        target.publish(f"report/{name}.json", (json.dumps(found, indent=1) + "\n").encode())
    sections = _sections(headline, seeds, others, card, ranked, without, networks)
    summary, end = _summary(headline, lacks), _stored(card)
    target.publish("report/results.md", _document(summary, sections, end).encode())
    every = [*sections, Section("Learning curves", picture="curves")]
    command = [
        "report",
        target.root.name,
        f"--permute-labels={permute_labels}",
        f"--seed={seed}",
        f"--models={','.join(models)}",
        *([] if inner is None else [f"--inner={inner}"]),
    ]
    about = page.facts(target, networks, headline, [*seeds, *others], card)
    target.publish("report/index.html", page.render(target, about, command, summary, every, pictures, end).encode())
    console = Shown(quiet=quiet)
    for section in sections:
        if section.rows is not None:
            console.table(section.title, section.rows)
    for text in (*lacks, sentence(headline), *inner_sentences(headline)):
        console.print(text)
    console.print(f"written: {target}/report")
    return f"{target}/report"


def copy_into_readme(readme: str | os.PathLike[str], dataset: str | os.PathLike[str]) -> None:
    """Copy a dataset's results.md between a page's markers and its pictures to `pictures/` beside the page.

    Raises:
        RequestError: no report there, or no markers in the page.
    """
    target, source = Path(readme), Path(dataset) / "report"
    if not (source / "results.md").is_file():
        raise RequestError(f"{source} has no results.md; `rulescope report {dataset}` writes it")
    text = target.read_text(encoding="utf-8") if target.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise RequestError(f"{target} must hold the markers {BEGIN} and {END}, once each and in this order")
    pictures = target.parent / "pictures"
    pictures.mkdir(exist_ok=True)
    results = (source / "results.md").read_text(encoding="utf-8")
    for name in (f"{picture}.png" for picture in PICTURES if f"]({picture}.png)" in results):
        (pictures / name).write_bytes((source / name).read_bytes())
        results = results.replace(f"]({name})", f"](pictures/{name})")
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    target.write_text(f"{before}\n\n{results}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m classifier.report.report PAGE DATASET")
    try:
        copy_into_readme(*sys.argv[1:])
    except RequestError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
