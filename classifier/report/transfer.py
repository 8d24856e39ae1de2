"""What `transfer` found, as tables of text for the terminal."""

from __future__ import annotations

from typing import Any

from classifier.report.looks import called
from classifier.report.tables import Rows, count_rows, held_out, of, plus_minus
from generator.console import Shown


def ends(found: dict[str, Any]) -> str:
    """A number, and the ends of its interval where it has one."""
    return _around(found, found["mean"], ".3f")


def _observables(cells: dict[str, Any]) -> list[str]:
    return ["loss and accuracy curves alone" if name == "curves" else name for name in cells]


def accuracy_rows(found: dict[str, Any]) -> Rows:
    """Header and a row per test dataset and model: the score from each set of observables."""
    tests = found["tests"]
    header = _observables(next(iter(next(iter(tests.values()))["models"].values())))
    rows = [["tested on", "model", "networks", "scenarios", *header]]
    for name, test in tests.items():
        for model, cells in test["models"].items():
            one = next(iter(cells.values()))
            rows.append([name, model, str(one["networks"]), str(one["scenarios"]), *map(ends, cells.values())])
    return rows


def family_rows(test: dict[str, Any]) -> Rows:
    """Header and a row per family, and per architecture, of a test dataset: the selected model's scores over all tasks."""
    rows = [["family", "architecture", "networks", *_observables(test["families"][0]["observables"])]]
    for one in test["families"]:
        cells = one["observables"]
        count = str(next(iter(cells.values()))["networks"])
        rows.append([one["family"], one.get("architecture", "all"), count, *map(ends, cells.values())])
    return rows


def domain_rows(test: dict[str, Any]) -> Rows:
    """Header and a row per domain of a test dataset: the selected model's score from each set of observables."""
    header = _observables(test["domains"][0]["observables"])
    rows = [["architecture", "task", "networks", *header]]
    for one in test["domains"]:
        cells = one["observables"]
        count = str(next(iter(cells.values()))["networks"])
        who = [one[name] + " (trained on)" * (name in one["trained"]) for name in ("architecture", "task")]
        both = " (with that architecture)" * one["shared"]
        rows.append([who[0], who[1] + both, count, *map(ends, cells.values())])
    return rows


def rule_rows(test: dict[str, Any], target: str) -> Rows:
    """Header and a row per class: the share of its networks that is named rightly."""
    rules = test["rules"]
    rows = [[target, "networks", *_observables(next(iter(rules.values())))]]
    for name, cells in rules.items():
        rows.append([name, str(next(iter(cells.values()))["networks"]), *map(ends, cells.values())])
    return rows


def null_rows(found: dict[str, Any]) -> Rows:
    """Header and a row per test dataset: what a model scores that has nothing to find."""
    rows = [["tested on", "before learning", "labels permuted in training (± s.e.m.)", "chance"]]
    for name, one in found["nulls"].items():
        rows.append([name, ends(one["before"]), plus_minus(one["permuted"]), f"{found['chance']:.3f}"])
    return rows


def scaling_rows(curve: dict[str, Any]) -> Rows:
    """Header and a row per number of training tasks."""
    rows = [["tasks", "architectures", "domains", "networks", "accuracy (mean over draws)", "draws"]]
    for one in curve["points"]:
        counts = [f"{one[name]:,.0f}" for name in ("tasks", "architectures", "domains", "networks")]
        rows.append([*counts, f"{one['mean']:.3f}", ", ".join(f"{each:.3f}" for each in one["accuracies"])])
    return rows


def _around(found: dict[str, Any], value: float, form: str) -> str:
    return f"{value:{form}}" + ("" if found["low"] is None else f" ({found['low']:{form}} – {found['high']:{form}})")


def law_sentences(curve: dict[str, Any]) -> list[str]:
    """The law of a scaling curve in words, and how well the smaller sizes foretold the largest."""
    law, predicted = curve["law"], curve["predicted"]
    if law is None:
        return ["Too few sizes for a law of the error."]
    floor, scale, exponent = (_around(law[name], law[name]["value"], ".3g") for name in ("floor", "scale", "exponent"))
    over = f"over {curve['units']:,} {curve['resampled']}s" if curve["units"] > 1 else f"of one {curve['resampled']}"
    found = [f"error(n) = a + b · n^(−c), n domains: a {floor}, b {scale}, c {exponent}; {over}."]
    if predicted is None:
        return [*found, "Too few sizes to foretell the largest from the others."]
    error = _around(predicted, predicted["error"], ".3f")
    foretold = f"Up to {predicted['from']:.0f} domains foretell an error of {error} at {predicted['domains']:.0f}"
    return [*found, f"{foretold}; measured: {predicted['measured']:.3f}."]


def sentences(found: dict[str, Any]) -> list[str]:
    """What a reader must know of the numbers."""
    train, selected = found["train"], found["selected"]
    only = " and ".join(f"{name} {' or '.join(values)}" for name, values in found["train_on"].items())
    trained = f"Trained on {of(train['used'])} of {train['networks']:,}{f' of {only}' if only else ''}"
    trained += f", as many of each {found['target']}"
    amount = ", ".join(f"{train[name]:,} {name}" for name in ("architectures", "tasks", "domains"))
    inside = f"chosen on folds that hold out the {held_out(found['inner'])}"
    chosen = f"{selected['model']} on {selected['features']}, {inside}"
    said = [f"{trained}: {amount}. {chosen[0].upper()}{chosen[1:]}; chance is {found['chance']:.2f}."]
    said += [found["inner"]["sentence"], *found["gaps"], found["design"]]
    for name, test in found["tests"].items():
        left_out = ", ".join(f"{one} ({count})" for one, count in test["left_out"].items())
        if left_out:
            said.append(f"{name}: left out, for training has none: {left_out} networks.")
        new = [next(iter(one["observables"].values()))["networks"] for one in test["domains"] if not one["trained"]]
        said.append(
            f"{name}: {sum(new):,} of {of(test['networks'])} have an architecture and a task that training has not."
        )
        if test["lacks"]:
            said.append(f"{name} has no {', '.join(test['lacks'])}.")
    return [one for one in said if one]


def print_transfer(found: dict[str, Any]) -> None:
    """Print all tables, and what a reader must know of them."""
    console, model = Shown(), found["selected"]["model"]
    condition = ", ".join(f"{key} {found[key]}" for key in ("target", "electrode", "sampling"))
    console.table(f"Accuracy per network on datasets not trained on ({condition})", accuracy_rows(found))
    for name, test in found["tests"].items():
        console.table(f"{name}, by family and architecture ({model})", family_rows(test))
        console.table(f"{name}, by domain ({model})", domain_rows(test))
        console.table(f"{name}, share named rightly by {found['target']} ({model})", rule_rows(test, found["target"]))
        seen = called(found["main"])
        console.table(f"{name}, networks by true and named class ({model}, {seen})", count_rows(test["confusion"]))
    if found["nulls"] is not None:
        console.table("What must be chance", null_rows(found))
    if found["scaling"] is not None:
        for name, curve in found["scaling"]["curves"].items():
            console.table(f"{name}, accuracy over the tasks trained on ({model})", scaling_rows(curve))
            for text in law_sentences(curve):
                console.print(text)
        if found["scaling"]["skipped"]:
            console.print(found["scaling"]["skipped"])
    console.print("In brackets: 95 % over the scenarios tested; other architectures and tasks are not in it.")
    for text in sentences(found):
        console.print(text)
