"""The classifier's commands. Light to import: what is heavy is imported when a command runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from generator.errors import RequestError


def _writable(path: Path | None) -> Path | None:
    """Refuse before any work a file that could not be written after it. Raises RequestError."""
    if path is not None:
        from generator.dataset.folder import check_writable

        check_writable(path)
    return path


DatasetPath = Annotated[str, typer.Argument(metavar="DATASET", help="directory or URI of a dataset")]
ModelPath = Annotated[str, typer.Argument(metavar="MODEL", help="directory or URI of a trained model")]
Features = Annotated[
    str | None,
    typer.Option(
        help='feature sets to choose among, comma-separated; transforms joined by "+", e.g. relative+shape '
        "(`rulescope names features`)"
    ),
]
Split = Annotated[
    str,
    typer.Option(
        help="scenario, strict, network, paper, or a property of the networks to hold out (`rulescope names splits`)"
    ),
]
Inner = Annotated[
    str | None,
    typer.Option(
        help="what the folds hold out on which settings are chosen: split (what --split does), domain (architecture and task), "
        "architecture, task or scenario; by default split, for networks drawn at random domain (`rulescope names inner`)"
    ),
]
Target = Annotated[str, typer.Option(help="the property to name: rule, pathway, update, …")]
Seed = Annotated[int, typer.Option(min=0, help="seed of splits and classifiers")]
Electrode = Annotated[
    str, typer.Option(help="what is measured with, e.g. units30_relative0.5 (of those in the dataset)")
]
Sampling = Annotated[
    str,
    typer.Option(help="checkpoints seen: all, sessions8 (evenly spread), every3, first5, last5, only7 or jittered8"),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="where to compute, as `generate --cluster` takes it: slurm, a scheduler or a site file; else here"
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="write the answer as JSON", callback=_writable)
]


def register(app: typer.Typer) -> None:
    """Add the classifier's commands to a command line."""
    for command, example in (
        (curves, "rulescope curves datasets/demo"),
        (report, "rulescope report datasets/demo"),
        (evaluate, "rulescope evaluate datasets/demo --models forest,xgboost --split strict"),
        (controls, "rulescope controls datasets/demo"),
        (transfer, "rulescope transfer datasets/synthetic datasets/demo --nulls"),
        (distinguish, "rulescope distinguish datasets/zoo --families rules.json --pictures ."),
        (trust, "rulescope trust datasets/atlas --units 100 --noise 0.25 --sessions 8 --test datasets/unseen"),
        (identify, "rulescope identify datasets/monkey --reference atlas --page monkey.html"),
        (train, "rulescope train datasets/demo --model forest --out models/forest"),
        (predict, "rulescope predict models/forest datasets/other"),
        (importance, "rulescope importance models/forest --by observable"),
        (robustness, "rulescope robustness datasets/electrodes"),
        (power, "rulescope power datasets/electrodes --units 200 --noise 0.5 --sessions 8 --target-accuracy 0.75"),
    ):
        app.command(rich_help_panel="From a dataset to an answer", epilog=f"Example: {example}")(command)


def _list(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _property(text: str | None) -> dict[str, list[str]]:
    """A property and its values, written family=mlp,knet. Raises RequestError for anything else."""
    if text is None:
        return {}
    name, _, values = text.partition("=")
    if not name or not _list(values):
        raise RequestError(f"--train-on takes a property and its values, such as family=mlp, not {text!r}")
    return {name: _list(values)}


def _features(text: str | None) -> Sequence[str]:
    """The feature sets to choose among, or the usual ones."""
    from classifier.models.estimators import FEATURES

    return FEATURES if text is None else _list(text)


def _prior(text: str | None) -> dict[str, float] | None:
    """How likely classes are beforehand, written sgdm=0.5,adam=0.5. Raises RequestError for anything else."""
    if text is None:
        return None
    try:
        pairs = [(name.strip(), float(share)) for name, share in (one.split("=") for one in _list(text))]
    except ValueError:
        pairs = []
    found = dict(pairs)
    if not found or len(found) < len(pairs) or not all(found):
        raise RequestError(
            f"--prior takes each class once and how likely it is, such as sgdm=0.5,adam=0.5, not {text!r}"
        )
    return found


def _times(text: str | None) -> list[float] | None:
    """When sessions were, written 0,1,4,9. Raises RequestError for anything else."""
    try:
        return None if text is None else [float(one) for one in _list(text)]
    except ValueError:
        raise RequestError(f"--times takes a number for each session, such as 0,1,4,9, not {text!r}") from None


def _families(path: Path | None) -> dict[str, str] | None:
    """The family of each pathway and update, as `rulescope rules --json` prints them."""
    if path is None:
        return None
    try:
        return {one["name"]: str(one["family"]) for one in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RequestError(f"{path} is not what `rulescope rules --json` prints: {error!r}") from error


def _on(cluster: str | None) -> AbstractContextManager[None]:
    """Compute there."""
    from classifier.models.parallel import on

    return on(cluster, lambda text: typer.echo(text, err=True))


def _write(path: Path, content: str | bytes) -> None:
    try:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror or error}") from error


def curves(
    dataset: DatasetPath,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="a .png, .svg or .pdf file; by default curves.png and .svg in DATASET/report",
            callback=_writable,
        ),
    ] = None,
) -> None:
    """Draw loss and accuracy over updates by rule, and print what networks end at, also while a dataset is being made.

    Of a recording, of which nobody knows a loss: its statistics over sessions.
    """
    kind = "" if out is None else out.suffix.removeprefix(".").lower()
    if out is not None and kind not in ("png", "svg", "pdf"):
        raise RequestError(f"--out must end in .png, .svg or .pdf, not {str(out)!r}")
    from classifier.report import curves as learning
    from classifier.report import looks
    from classifier.report import sessions as recorded
    from generator.console import Shown
    from generator.dataset.storage import Dataset

    source = Dataset(dataset)
    if out is None:
        source.check_writable("report/curves.png")
    if source.recording is not None:
        table, finals = recorded.sessions(source), []
        figure, rests = recorded.draw(table), recorded.basis(table)
    else:
        table, finals = learning.curves(source), learning.finals(source)
        figure, rests = learning.draw(table), learning.basis(table)
    if out is None:
        looks.publish(source, "report/curves", figure)
    else:
        _write(out, looks.draw(figure, kind))
    for section in finals:
        Shown().table(section.title, section.rows or [])
    typer.echo(f"{rests}: {out or f'{source}/report/curves.png and .svg'}")


def evaluate(
    dataset: DatasetPath,
    models: Annotated[
        str, typer.Option(help="comma-separated; pooled and layers may join (`rulescope names models`)")
    ] = "svm, logistic, forest, xgboost, conv",
    features: Features = None,
    observables: Annotated[str, typer.Option(help="comma-separated")] = "all,weight,activation,change",
    split: Split = "scenario",
    target: Target = "rule",
    rules: Annotated[str | None, typer.Option(help="only networks with these, comma-separated")] = None,
    permute_labels: Annotated[int, typer.Option(min=0, help="label permutations, of the selected model")] = 0,
    n_splits: Annotated[int, typer.Option(min=1, help="random splits")] = 10,
    inner: Inner = None,
    seed: Seed = 0,
    electrode: Electrode = "full",
    sampling: Sampling = "all",
    cluster: Cluster = None,
    json_file: JsonFile = None,
) -> None:
    """How well each model names the learning rule of networks it has not seen."""
    from classifier.report.tables import print_evaluation
    from classifier.studies.evaluate import evaluate as named
    from classifier.studies.study import Study

    only = None if rules is None else _list(rules)
    study = Study(target, only, electrode, sampling, _features(features), split, n_splits, seed, inner)
    with _on(cluster):
        found = named(dataset, _list(models), study, _list(observables), permute_labels)
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1) + "\n")
    print_evaluation(found)


def train(
    dataset: DatasetPath,
    out: Annotated[str, typer.Option(metavar="MODEL", help="directory or URI to write the model to")],
    model: Annotated[str, typer.Option(help="svm, logistic, forest, xgboost, conv, pooled or layers")] = "forest",
    features: Features = None,
    split: Split = "scenario",
    target: Target = "rule",
    inner: Inner = None,
    seed: Seed = 0,
    electrode: Electrode = "full",
    sampling: Sampling = "all",
    observables: Annotated[str, typer.Option(help="comma-separated: what the model reads")] = "all",
    refits: Annotated[
        int, typer.Option(min=0, help="clusters of statistics without which it is trained again, for importance")
    ] = 10,
) -> None:
    """Train a model on the training part of one split, score and rank it on the test part, and store it."""
    from classifier.examples.gaps import gaps
    from classifier.examples.splits import news
    from classifier.studies.study import Study
    from classifier.studies.train import train as fit
    from generator.dataset.storage import Dataset

    study = Study(target, None, electrode, sampling, _features(features), split, seed=seed, inner=inner)
    card = fit(dataset, out, model, study, _list(observables), refits)
    scores = ", ".join(f"{level} {value:.3f}" for level, value in card.scores.items())
    typer.echo(f"{out}: {card.model} on {card.features}, names {card.target} ({', '.join(card.labels)})")
    typer.echo(f"settings chosen on folds that hold out the {' and '.join(card.inner)}")
    typer.echo(f"balanced accuracy on {news(card.split)}: {scores}")
    for text in filter(None, (*gaps(Dataset(dataset), target), card.design)):
        typer.echo(text)


def predict(
    model: ModelPath,
    dataset: DatasetPath,
    level: Annotated[str, typer.Option(help="network (the layers' votes) or layer")] = "network",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a .parquet or .csv file; printed otherwise", callback=_writable),
    ] = None,
    electrode: Annotated[str | None, typer.Option(help="what is measured with; by default the model's own")] = None,
    sampling: Annotated[str | None, typer.Option(help="checkpoints seen; by default the model's own")] = None,
    observables: Annotated[str, typer.Option(help="those that were measured, comma-separated")] = "all",
) -> None:
    """Scores of every class for each network, or layer, of a dataset: scores, not calibrated probabilities."""
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise RequestError(f"--out must end in .parquet or .csv, not {str(out)!r}")
    from classifier.studies.predict import predict as name
    from generator.console import Shown

    table = name(model, dataset, level, electrode, sampling, _list(observables))
    Shown(stderr=True).print(table.attrs["model"], soft_wrap=True)
    if out is None:
        typer.echo(table.to_csv(index=False, float_format="%.4f"), nl=False)
    else:
        _write(out, table.to_csv(index=False) if out.suffix == ".csv" else table.to_parquet(index=False))


def importance(
    model: ModelPath,
    by: Annotated[
        str, typer.Option(help="statistic, observable, function, depth, checkpoint or relation")
    ] = "statistic",
    method: Annotated[
        str,
        typer.Option(
            help="permutation (what it relies on), refit (what it cannot do without), impurity (forest, pooled), shap (xgboost)"
        ),
    ] = "permutation",
    top: Annotated[int, typer.Option(min=1, help="how many")] = 10,
    json_file: JsonFile = None,
) -> None:
    """What a stored model relies on, or cannot do without, the most important first."""
    from classifier.studies import importance as stored

    table = stored.importance(model, by, top, method)
    if json_file is not None:
        _write(json_file, json.dumps(table.to_dict("records"), indent=1) + "\n")
    drop = f"  {'accuracy drop':>13}" if "accuracy_drop" in table else ""
    typer.echo(f"{f'importance ({stored.METHODS[method]})':>21}{drop}  {by}")
    for row in table.to_dict("records"):
        typer.echo(_line(row, by))


def _line(row: dict[Any, Any], by: str) -> str:
    names = row["members"] if by == "statistic" else row["name"]
    if "accuracy_drop" not in row:
        return f"{row['importance']:>21.4f}  {names}"
    return f"{row['importance']:>12.4f} ± {row['sem']:.4f}  {row['accuracy_drop']:>13.3f}  {names}"


def robustness(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="directory of a dataset with several electrodes")],
    model: Annotated[str, typer.Option(help="svm, logistic, forest, xgboost, conv, pooled or layers")] = "forest",
    n_splits: Annotated[int, typer.Option(min=1, help="random splits")] = 5,
    seed: Seed = 0,
    cluster: Cluster = None,
    json_file: JsonFile = None,
) -> None:
    """Accuracy over units × noise × sessions for each observable, into DATASET/report/robustness."""
    from classifier.report import robustness as robust
    from classifier.studies.conditions import FEATURES
    from classifier.studies.study import Study

    with _on(cluster):
        table = robust.robustness(dataset, model, Study(features=FEATURES, n_splits=n_splits, seed=seed), quiet=True)
    if json_file is not None:
        _write(json_file, json.dumps(robust.as_json(table), indent=1) + "\n")
    robust.show_study(dataset, table)


def controls(
    dataset: DatasetPath,
    model: Annotated[str, typer.Option(help="svm, logistic, forest, xgboost, conv, pooled or layers")] = "forest",
    target: Target = "rule",
    n_splits: Annotated[int, typer.Option(min=1, help="random splits")] = 10,
    inner: Inner = None,
    seed: Seed = 0,
    cluster: Cluster = None,
    json_file: JsonFile = None,
) -> None:
    """The controls of the headline: curves and identity alone, matched performance, permuted labels, untrained networks, …"""
    from classifier.report.tables import print_controls
    from classifier.studies.controls import controls as control
    from classifier.studies.study import Study

    with _on(cluster):
        found = control(dataset, model, Study(target, n_splits=n_splits, seed=seed, inner=inner))
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1) + "\n")
    print_controls(found)


def transfer(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="directory or URI of the dataset to train on")],
    tests: Annotated[
        list[str], typer.Argument(metavar="TEST...", help="datasets that share no architecture × task with it")
    ],
    models: Annotated[
        str, typer.Option(help="svm, logistic, forest, xgboost, conv, pooled or layers, comma-separated")
    ] = "layers",
    features: Features = None,
    observables: Annotated[str, typer.Option(help="comma-separated")] = "all,weight,activation,change",
    target: Target = "rule",
    rules: Annotated[str | None, typer.Option(help="only networks with these, comma-separated")] = None,
    inner: Annotated[
        str,
        typer.Option(
            help="what the folds hold out on which settings are chosen: domain (architecture and task), architecture, task or "
            "scenario (`rulescope names inner`)"
        ),
    ] = "domain",
    allow_shared: Annotated[
        bool, typer.Option("--allow-shared", help="test on domains that are in training, too; the tables name them")
    ] = False,
    nulls: Annotated[
        bool, typer.Option("--nulls", help="also score networks before learning, and labels permuted in training")
    ] = False,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="also train on fewer tasks, and fit a law to the error")
    ] = False,
    train_on: Annotated[
        str | None,
        typer.Option(
            help="only training networks with these values of a property, such as family=mlp or task=digits,photos"
        ),
    ] = None,
    seed: Seed = 0,
    electrode: Electrode = "full",
    sampling: Sampling = "all",
    cluster: Cluster = None,
    json_file: JsonFile = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="where to draw accuracy by domain and, with --scaling, the curve, as PNG and SVG"
        ),
    ] = None,
) -> None:
    """How well a model trained on one dataset names the rule in others, on domains (architecture × task) it has not seen."""
    from classifier.report.transfer import print_transfer
    from classifier.studies.study import Study
    from classifier.studies.transfer import Ask
    from classifier.studies.transfer import transfer as run

    if pictures is not None and not pictures.is_dir():
        raise RequestError(f"--pictures {pictures} is not a folder: make it first")
    only = None if rules is None else _list(rules)
    study = Study(target, only, electrode, sampling, _features(features), seed=seed, inner=inner)
    ask = Ask(_list(observables), allow_shared, nulls, scaling, _property(train_on))
    with _on(cluster):
        found = run(train, tests, _list(models), study, ask)
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1) + "\n")
    if pictures is not None:
        from classifier.report import looks, transfer_plots

        for name, figure in transfer_plots.pictures(found).items():
            for kind in ("png", "svg"):
                _write(pictures / f"{name}.{kind}", looks.draw(figure, kind))
    print_transfer(found)


def distinguish(
    dataset: DatasetPath,
    model: Annotated[str, typer.Option(help="one of forest, pooled, layers, …, with its usual settings")] = "pooled",
    features: Features = None,
    observables: Annotated[
        str, typer.Option(help="what is named from, comma-separated; all but accuracies rests on the first")
    ] = "all,activity",
    target: Target = "rule",
    rules: Annotated[str | None, typer.Option(help="only networks with these, comma-separated")] = None,
    families: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help="what `rulescope rules --json` prints: names families of rules, too"),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET", help="test on this one, which shares no domain with the first, in place of splits"
        ),
    ] = None,
    left_out: Annotated[
        bool, typer.Option("--left-out/--no-left-out", help="leave each rule out of training once: a training for each")
    ] = True,
    split: Split = "scenario",
    n_splits: Annotated[int, typer.Option(help="random splits")] = 3,
    seed: Seed = 0,
    electrode: Electrode = "full",
    sampling: Sampling = "all",
    cluster: Cluster = None,
    json_file: JsonFile = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="where to draw the confusion and a map of the rules, as PNG and SVG"),
    ] = None,
) -> None:
    """Which of many rules can be told apart, by what, and what a rule is taken for that was never seen."""
    from classifier.report.distinguish import pictures as drawn
    from classifier.report.distinguish import print_distinguish
    from classifier.studies.distinguish import distinguish as run
    from classifier.studies.study import Study

    if pictures is not None and not pictures.is_dir():
        raise RequestError(f"--pictures {pictures} is not a folder: make it first")
    only = None if rules is None else _list(rules)
    study = Study(target, only, electrode, sampling, _features(features), split, n_splits, seed)
    with _on(cluster):
        found = run(dataset, model, study, _families(families), _list(observables), test, left_out)
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1) + "\n")
    if pictures is not None:
        from classifier.report import looks

        for name, figure in drawn(found).items():
            for kind in ("png", "svg"):
                _write(pictures / f"{name}.{kind}", looks.draw(figure, kind))
    print_distinguish(found)


def identify(
    recordings: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDING...",
            help="datasets of recordings, as `rulescope record` makes them; several are animals that learn alike",
        ),
    ],
    reference: Annotated[
        str,
        typer.Option(
            metavar="DATASET",
            help="simulated networks to compare with; a name without a folder is also looked for in datasets/",
        ),
    ],
    target: Target = "rule",
    prior: Annotated[
        str | None,
        typer.Option(
            help="how likely classes are beforehand, such as sgdm=0.5,adam=0.5; those not named are impossible"
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(help="when sessions were, in any unit, such as 0,1,4,9; by default as the recording says"),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help='transforms to read, joined by "+"; by default such as do not depend on units of measurement'
        ),
    ] = None,
    more: Annotated[
        bool, typer.Option("--more/--no-more", help="say what more units or sessions would bring: a training for each")
    ] = True,
    seed: Seed = 0,
    json_file: JsonFile = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write all of it as one HTML page that can be mailed", callback=_writable),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="where to draw the posterior, its reliability and the evidence, as PNG and SVG"
        ),
    ] = None,
) -> None:
    """Which rule a recording points to, how sure that is, whether it can be told at all, and what it rests on."""
    from classifier.identify import asked
    from classifier.identify.identify import identify as run
    from classifier.report import identify as found_in
    from classifier.report import looks

    if pictures is not None and not pictures.is_dir():
        raise RequestError(f"--pictures {pictures} is not a folder: make it first")
    drawn = {} if pictures is None else {kind: pictures / f"{found_in.PICTURE}.{kind}" for kind in ("png", "svg")}
    for path in drawn.values():
        _writable(path)
    beforehand, when, place = _prior(prior), _times(times), asked.located(reference)
    asked.check(recordings, target, beforehand, when)
    found = run(recordings, place, target, beforehand, when, features, more, seed)
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1) + "\n")
    if page is not None:
        _write(page, found_in.page(found))
    if drawn:
        figure = found_in.picture(found)
        for kind, path in drawn.items():
            _write(path, looks.draw(figure, kind))
    found_in.print_identification(found)


def trust(
    reference: Annotated[
        str, typer.Argument(metavar="DATASET", help="simulated networks, as `identify` compares with")
    ],
    units: Annotated[int | None, typer.Option(min=1, help="units recorded in each area; by default all")] = None,
    noise: Annotated[
        float, typer.Option(min=0, help="of a stimulus' mean, over the standard deviation of responses")
    ] = 0.0,
    sessions: Annotated[
        int | None, typer.Option(min=2, help="sessions, from the start of learning; by default all checkpoints")
    ] = None,
    areas: Annotated[int, typer.Option(min=1, help="areas recorded: layers of a network")] = 1,
    observables: Annotated[str, typer.Option(help="what is measured, comma-separated")] = "activity",
    test: Annotated[list[str], typer.Option(metavar="DATASET", help="other networks to ask of, too")] = [],  # noqa: B006
    target: Target = "rule",
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """How far answers of `identify` may be trusted for a planned recording: accuracy, calibration, and what sets cover."""
    from classifier.identify import asked
    from classifier.identify.planned import planned
    from classifier.report.identify import print_trust

    place = asked.located(reference)
    asked.check([], target, None, None)
    found = planned(place, units, noise, sessions, areas, _list(observables), test, target, seed=seed)
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1) + "\n")
    print_trust(found)


def report(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="directory of a dataset")],
    permute_labels: Annotated[int, typer.Option(min=0, help="label permutations")] = 20,
    inner: Inner = None,
    seed: Seed = 0,
    models: Annotated[str, typer.Option(help="comma-separated; conv, pooled and layers may join")] = "logistic,forest",
    cluster: Cluster = None,
) -> None:
    """Evaluate, train and draw everything a reader wants to know, into DATASET/report."""
    from classifier.report import report as reporting

    with _on(cluster):
        reporting.report(dataset, permute_labels, seed, _list(models), inner=inner)


def power(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="with several electrodes; by default the table that comes with Rulescope"
        ),
    ] = "atlas",
    units: Annotated[int | None, typer.Option(min=1, help="units recorded in each layer; by default all")] = None,
    noise: Annotated[
        float | None, typer.Option(min=0, help="as the dataset's electrodes count it; by default none")
    ] = None,
    reliability: Annotated[
        float | None, typer.Option(help="noise from the correlation between halves of the trials, instead")
    ] = None,
    signal_sd: Annotated[
        float | None, typer.Option(help="noise from the standard deviation of responses, instead, and")
    ] = None,
    noise_sd: Annotated[float | None, typer.Option(help="of single trials around them")] = None,
    trials: Annotated[int, typer.Option(min=1, help="of each stimulus, for --noise-sd")] = 1,
    sessions: Annotated[int | None, typer.Option(min=1, help="checkpoints recorded; by default all")] = None,
    noise_mode: Annotated[
        str | None,
        typer.Option(help="relative (the default), absolute, or poisson: noise is the mean number of spikes"),
    ] = None,
    observable: Annotated[
        str | None, typer.Option(help="all (the default), weight, activation, change, activity, …")
    ] = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="layers recorded in each network, any of them; by default all")
    ] = None,
    animals: Annotated[int, typer.Option(help="that learn alike: 1, 2, 4 or 8, of the table alone")] = 1,
    rules: Annotated[
        str | None, typer.Option(help="rules, or pathways such as bp, to tell apart, comma-separated; by default all")
    ] = None,
    target_accuracy: Annotated[float | None, typer.Option(help="what would reach this balanced accuracy?")] = None,
    model: Annotated[
        str | None, typer.Option(help="svm, logistic, forest (the default), xgboost, conv, pooled or layers")
    ] = None,
    seed: Seed = 0,
    validate: Annotated[
        bool, typer.Option("--validate", help="how well simulated conditions are predicted from the others, instead")
    ] = False,
    cluster: Cluster = None,
    json_file: JsonFile = None,
) -> None:
    """How well a planned recording would name the rule, and what would reach a target accuracy."""
    from classifier.power import power as planning
    from classifier.power.design import Planned, noise_of
    from classifier.power.simulated import Question
    from classifier.report.tables import print_power, print_validation

    if not (reliability is None and signal_sd is None and noise_sd is None):
        if noise is not None:
            raise RequestError("give --noise, or what it follows from, not both")
        noise = noise_of(reliability, signal_sd, noise_sd, trials)
    question = Question(noise_mode, observable, layers, None if rules is None else _list(rules), model, seed)
    with _on(cluster):
        if validate:
            found = planning.power_validation(dataset, question)
        else:
            found = planning.power(dataset, Planned(units, noise or 0.0, sessions), question, target_accuracy, animals)
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1) + "\n")
    (print_validation if validate else print_power)(found)
