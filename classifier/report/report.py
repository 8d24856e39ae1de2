"""Everything a reader wants to know of a dataset, in `<dataset>/report/`: scores, splits, rankings and pictures.

Run as a module it copies a report into a page: `python -m classifier.report.report docs/demo.md datasets/demo` puts results.md
between the markers `<!-- results:begin -->` and `<!-- results:end -->` and the pictures beside the page, in `pictures/`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from classifier.examples import splits as splitting
from classifier.examples.trajectories import Examples, load
from classifier.models.card import Card
from classifier.models.estimators import FEATURES
from classifier.report import plots
from classifier.report.tables import (
    Rows,
    accuracy_rows,
    final_accuracy_rows,
    importance_rows,
    markdown,
    nearest_rate,
    seed_rows,
    sentence,
    show,
    split_rows,
    status_rows,
)
from classifier.studies.evaluate import evaluate
from classifier.studies.importance import importance
from classifier.studies.train import train
from generator.dataset.storage import Dataset
from generator.errors import RequestError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MODELS = ("svm", "logistic", "forest", "xgboost")  # the convolution would add half a minute of one core
OTHER_SPLITS = ("strict", "architecture", "task", "network", "paper")
N_SPLITS = 10
OTHER_N_SPLITS = 5  # of the random ones among them
SEEDS = 5  # of the headline's splits
TOP = 10
PICTURES = ("accuracy.png", "confusion.png", "importance.png", "trajectories.png")


def _sections(
    headline: dict[str, Any],
    seeds: Sequence[dict[str, Any]],
    others: Sequence[dict[str, Any]],
    card: Card,
    ranked: pd.DataFrame,
    without: pd.DataFrame,
    networks: pd.DataFrame,
) -> dict[str, Rows]:
    """The tables by title."""
    kind = f"{headline['split']} split, target {headline['target']}, chance {headline['chance']:.2f}"
    rankings = importance_rows(ranked, without)
    return {
        f"Accuracy per network ({kind})": accuracy_rows(headline, "network"),
        f"Accuracy per layer ({kind})": accuracy_rows(headline, "layer"),
        f"The headline with other seeds of splits ({card.model}, all observables)": seed_rows([headline, *seeds]),
        f"Other splits ({card.model}, all observables)": split_rows([headline, *others]),
        f"The {len(ranked)} clusters of statistics on which the {card.model} relies most, and what it loses without": rankings,
        f"Median final probe accuracy at {_rate(networks)}": final_accuracy_rows(networks),
        "Networks by status": status_rows(networks),
    }


def _rate(networks: pd.DataFrame) -> str:
    """The learning rates of the table of final accuracies, in words."""
    found = sorted(nearest_rate(networks)["learning_rate"].unique())
    if len(found) == 1:
        return f"learning-rate multiplier {found[0]:g}"
    return f"the learning-rate multiplier nearest 1 ({', '.join(f'{one:g}' for one in found)})"


def _progress(dataset: Dataset, networks: pd.DataFrame) -> str:
    """How far an unfinished dataset is; empty for one that is done."""
    planned = dataset.networks()
    return f"The dataset is not finished: {len(networks)} of {planned} networks. " if len(networks) < planned else ""


def _document(headline: dict[str, Any], card: Card, sections: dict[str, Rows], progress: str) -> str:
    """results.md."""
    lines = [
        f"{progress}{headline['networks']} networks, {headline['examples']} layers. Balanced accuracy, mean over {N_SPLITS} "
        f"splits ± half of its 95 % interval; features and hyperparameters were chosen inside the training part of every split. "
        f"{sentence(headline)} {headline['design']}".rstrip()
    ]
    after = {0: "accuracy.png", 1: "confusion.png", 4: "importance.png"}
    for place, (title, rows) in enumerate(sections.items()):
        lines += [f"### {title}", markdown(rows)]
        if place in after:
            lines.append(f"![{title}]({after[place]})")
    lines += ["### Trajectories by rule", "![Trajectories by rule](trajectories.png)"]
    lines.append(
        f"Rankings are of the stored model, trained on {card.networks} networks; on the test part of its split it "
        f"scores {card.scores['network']:.3f} per network and {card.scores['layer']:.3f} per layer."
    )
    return "\n\n".join(lines) + "\n"


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
    dataset: str | os.PathLike[str], permute_labels: int = 20, seed: int = 0, models: Sequence[str] = MODELS
) -> Path:
    """Evaluate, train and draw: write `<dataset>/report/` and print the main tables.

    Writes evaluation.json (the headline: scenario split, rule), seeds.json and splits.json (other seeds of its splits, and other
    splits, selected model), results.md, four PNGs, and the trained model in `<dataset>/report/model/`.

    Args:
        dataset: a local dataset directory.
        permute_labels: label permutations of the headline.
        models: those compared; the best by inner score is stored and used for all else.

    Raises:
        RequestError: no dataset there, or too few networks.
    """
    examples = load(dataset)
    networks = Dataset(dataset).read_kind("networks").to_pandas()
    folder = Path(dataset) / "report"
    headline = evaluate(examples, tuple(models), FEATURES, permute_labels=permute_labels, n_splits=N_SPLITS, seed=seed)
    model = headline["selected"]["model"]
    seeds = [
        evaluate(examples, [model], FEATURES, ["all"], n_splits=N_SPLITS, seed=seed + more) for more in range(1, SEEDS)
    ]
    others = []
    for split in OTHER_SPLITS:
        if split in splitting.RANDOM or examples.identity[split].nunique() > 1:
            try:
                others.append(evaluate(examples, [model], FEATURES, ["all"], split, n_splits=OTHER_N_SPLITS, seed=seed))
            except RequestError as error:  # a split that this dataset is too small or too uneven for
                Console(stderr=True).print(f"left out: {error}", highlight=False)
    card = train(examples, folder / "model", model, FEATURES, seed=seed)
    ranking = importance(folder / "model", "statistic", None)
    ranked, without = ranking.head(TOP), importance(folder / "model", "statistic", None, "refit")

    classes = splitting.labels(examples.identity, headline["target"])
    shown, condition = _one_condition(examples.identity)
    pictures = {
        "accuracy.png": plots.accuracy(headline["models"], headline["chance"]),
        "confusion.png": plots.confusion(
            np.array(headline["confusion"]["counts"]),
            headline["confusion"]["labels"],
            f"{model}, {headline['split']} split",
        ),
        "importance.png": plots.importance(
            ranked,
            {name: parts.observable for name, parts in examples.statistics.items()},
            f"what the {model} relies on",
        ),
        "trajectories.png": plots.trajectories(
            examples.rows(shown), classes[shown], _most_important_of_each(examples, ranking), condition
        ),
    }
    for name, figure in pictures.items():
        (folder / name).write_bytes(plots.save(figure))
    (folder / "evaluation.json").write_text(json.dumps(headline, indent=1) + "\n")
    (folder / "seeds.json").write_text(json.dumps(seeds, indent=1) + "\n")
    (folder / "splits.json").write_text(json.dumps(others, indent=1) + "\n")
    sections = _sections(headline, seeds, others, card, ranked, without, networks)
    (folder / "results.md").write_text(_document(headline, card, sections, _progress(Dataset(dataset), networks)))
    console = Console()
    for title, rows in sections.items():
        show(console, title, rows)
    console.print(sentence(headline), highlight=False)
    console.print(f"written: {folder}", highlight=False)
    return folder


def copy_into_readme(readme: str | os.PathLike[str], dataset: str | os.PathLike[str]) -> None:
    """Copy a dataset's results.md between a page's markers and its pictures to `pictures/` beside the page.

    Raises:
        RequestError: no report there, or no markers in the page.
    """
    target, source = Path(readme), Path(dataset) / "report"
    if not (source / "results.md").is_file():
        raise RequestError(f"{source} has no results.md; `rulescope report {dataset}` writes it")
    text = target.read_text() if target.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise RequestError(f"{target} must hold the markers {BEGIN} and {END}, once each and in this order")
    pictures = target.parent / "pictures"
    pictures.mkdir(exist_ok=True)
    results = (source / "results.md").read_text()
    for name in PICTURES:
        (pictures / name).write_bytes((source / name).read_bytes())
        results = results.replace(f"]({name})", f"](pictures/{name})")
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    target.write_text(f"{before}\n\n{results}\n{after}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m classifier.report.report PAGE DATASET")
    try:
        copy_into_readme(*sys.argv[1:])
    except RequestError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
