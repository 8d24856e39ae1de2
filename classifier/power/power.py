"""How well a planned recording would name the rule, read off the simulated measurement conditions around it.

A condition's accuracy is that of classifiers trained and tested under it (`conditions.accuracies`). Those of a grid of
electrodes × sessions are computed once (`simulated`); between them a monotone surface interpolates (`surface`).
What lies outside the simulated conditions is refused, and `validate` says how far the rest can be trusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from classifier.examples.gaps import gaps
from classifier.power import surface
from classifier.power import table as tables
from classifier.power.design import AXES, Design, Planned, Points, coordinates, surrounded
from classifier.power.simulated import Question, ask, simulated
from generator.dataset.noise import MODES
from generator.dataset.storage import Dataset
from generator.errors import RequestError

HELD_OUT = 0.28  # share of the conditions, or electrodes, in one round of the validation
ROUNDS = 8
STEPS = 201  # of noise, in the search for as much as a target allows


def power(
    dataset: str | os.PathLike[str],
    planned: Planned = Planned(),
    question: Question = Question(),
    target_accuracy: float | None = None,
    animals: int = 1,
) -> dict[str, Any]:
    """The accuracy per network that a planned recording would have, and what would reach a target.

    Args:
        dataset: or the name of a table that comes with Rulescope: "atlas" (`table`).
        animals: that learn alike, whose evidence is added; of a dataset always one.
        planned: the recording.
        question: what is to be told apart, and with what.
        target_accuracy: balanced accuracy to be reached.

    Returns:
        The answer as it is written to JSON: {asked: {units, noise, sessions, noise_mode, observable, layers, rules, model, seed,
        target, animals},
        chance, gaps (what the dataset lacks, a sentence each), design (how classes share scenarios, where not all do),
        accuracy: {expected, low, high, level},
        confusion: {labels, shares (true rule by row), interpolated: true},
        simulated: {units, noise, sessions, conditions, sem (mean over conditions)},
        target: None or {accuracy, expected, assured (whether the asked recording reaches it, and with the interval's low end),
        ways: {units, noise, sessions: {expected, assured, best: {at, expected, low}}}}}. A way changes one thing alone:
        the fewest units or sessions or the most noise with which the expected accuracy, or the low end, reaches the target;
        None if nothing simulated does.

    Raises:
        RequestError: a recording outside what was simulated, or a name that the dataset lacks.
    """
    planned.check()
    if target_accuracy is not None and not 0 < target_accuracy <= 1:
        raise RequestError(f"the target accuracy must be above 0 and at most 1, not {target_accuracy}")
    if tables.shipped(dataset):
        return _at_once(str(dataset), planned, tables.check(question), target_accuracy, animals)
    if animals != 1:
        raise RequestError("a dataset is asked of one animal; of several only the table that comes with Rulescope")
    published = Dataset(dataset)
    question, design = ask(published, question, planned.noise)
    planned = replace(planned, sessions=design.sessions[-1] if planned.sessions is None else planned.sessions)
    design.check(planned)
    found = answer(simulated(published, question, design), question, design, planned, target_accuracy)
    return found | {"gaps": gaps(published, question.target)}


def _at_once(name: str, planned: Planned, question: Question, target: float | None, animals: int) -> dict[str, Any]:
    """From a table that comes with Rulescope."""
    known, design = tables.read(name, animals)
    least, most = known["asked_units"].min(), known["asked_units"].max()
    if planned.units is None or planned.units > most:
        wrong = (
            "say how many units are recorded" if planned.units is None else f"{planned.units} units were not simulated"
        )
        raise RequestError(f"{wrong}: the table that comes with Rulescope has {least:g} to {most:g}")
    planned = replace(planned, sessions=planned.sessions or design.sessions[-1])
    design.check(planned)
    found = answer(known, question, design, planned, target, animals)
    networks = known.attrs["networks"]
    gap = (
        f"scored on {networks:,} networks; `rulescope trust` asks a dataset itself, and says how sure answers would be"
    )
    return found | {"gaps": [gap]}


def power_validation(dataset: str | os.PathLike[str], question: Question = Question()) -> dict[str, Any]:
    """How far the answers of `power` on this dataset can be trusted: what `validate` returns. Raises RequestError alike."""
    if tables.shipped(dataset):
        known, design = tables.read(str(dataset), 1)
        return validate(known.assign(units=design.mean_units(known["asked_units"])), design.noise_mode)
    published = Dataset(dataset)
    question, design = ask(published, question)
    table = simulated(published, question, design)
    return validate(table.assign(units=design.mean_units(table["asked_units"])), design.noise_mode)


def answer(
    table: pd.DataFrame,
    question: Question,
    design: Design,
    asked: Planned,
    target: float | None = None,
    animals: int = 1,
) -> dict[str, Any]:
    """What `power` returns, from the simulated conditions."""
    table = table.assign(units=design.mean_units(table["asked_units"]))
    known = place(table, design.noise_mode)
    found = surface.fit(known, table["network_mean"])
    point = design.point(asked)
    expected, low, high = found(point)[0].tolist()
    shares = confusion(found.distances(point, known), table["confusion"], expected)
    return {
        "asked": asdict(asked)
        | asdict(question)
        | {"rules": question.rules and list(question.rules), "animals": animals},
        "chance": 1 / len(shares),
        "design": table.attrs.get("design", ""),
        "accuracy": {"expected": expected, "low": low, "high": high, "level": surface.LEVEL},
        "confusion": {"labels": list(table.attrs["labels"]), "shares": shares.tolist(), "interpolated": True},
        "simulated": design.ranges() | {"conditions": len(table), "sem": float(table["network_sem"].mean())},
        "target": None
        if target is None
        else {
            "accuracy": target,
            "expected": expected >= target,
            "assured": low >= target,
            "ways": {axis: way(found, design, asked, axis, target) for axis in AXES},
        },
    }


def place(table: pd.DataFrame, noise_mode: str) -> Points:
    """(conditions, 3) coordinates of a table of accuracies."""
    return coordinates(table["units"], MODES[noise_mode].severity(table["noise"]), table["sessions"])


def confusion(distances: Points, counts: Iterable[Any], accuracy: float) -> Points:
    """(rules, rules): in each row the shares of the networks of one rule that are taken for each, their diagonal on average
    `accuracy`.

    The conditions' own shares are averaged with weights 1 / distance⁴, then their recalls are moved together to the accuracy
    while errors keep their proportions.

    Args:
        distances: (conditions,) from the recording.
        counts: (conditions,) confusion matrices, nested, a row per true rule.
    """
    matrices = np.array([np.stack(one) for one in counts], dtype=float)
    rows = matrices / matrices.sum(axis=2, keepdims=True)
    weights = 1 / (distances**2 + 1e-6) ** 2
    shares = np.average(rows, axis=0, weights=weights)
    recall = np.diag(shares)
    mean = recall.mean()
    moved = recall * accuracy / max(mean, 1e-9) if accuracy <= mean else 1 - (1 - recall) * (1 - accuracy) / (1 - mean)
    errors = shares * (1 - np.eye(len(shares))) + 1e-9 * (1 - np.eye(len(shares)))
    return np.diag(moved) + (1 - moved)[:, None] * errors / errors.sum(axis=1, keepdims=True)


def way(found: surface.Surface, design: Design, asked: Planned, axis: str, target: float) -> dict[str, Any]:
    """The least of one axis that reaches the target while the others stay as asked, as `power` returns it."""
    values: dict[str, Any] = {"units": asked.units or np.nan, "noise": asked.noise}
    values["sessions"] = asked.sessions or design.sessions[-1]
    candidates = _candidates(design, axis)  # from the worst to the best
    points = design.place(**(values | {axis: candidates}))
    inside = surrounded(points, design.simulated)
    candidates, (expected, low, _) = candidates[inside], found(points[inside]).T

    def first(reached: ArrayLike) -> float | int | None:
        at = np.flatnonzero(reached)
        return candidates[at[0]].item() if len(at) else None

    best = first(expected == expected.max())
    return {
        "expected": first(expected >= target),
        "assured": first(low >= target),
        "best": {"at": best, "expected": float(expected.max()), "low": float(low.max())},
    }


def _candidates(design: Design, axis: str) -> NDArray[Any]:
    """Values of one axis, from the worst simulated to the best."""
    if axis != "noise":
        most = design.sizes.max() if axis == "units" else design.sessions[-1]
        return np.arange(1, int(most) + 1)
    worst = MODES[design.noise_mode].severity(design.ranges()["noise"]).max()
    severities = np.linspace(worst, 0, STEPS if worst > 0 else 1)
    return MODES[design.noise_mode].noise(severities).round(9)


def validate(table: pd.DataFrame, noise_mode: str = "relative", rounds: int = ROUNDS, seed: int = 0) -> dict[str, Any]:
    """How well simulated conditions are predicted from others: single ones, and all of an electrode at once.

    In every round a random share is held out, and predicted where what remains surrounds it: nothing is extrapolated.

    Args:
        table: accuracies of conditions, with the columns units, noise, sessions, network_mean and network_sem.
        noise_mode: what the noise is in.

    Returns:
        {conditions, electrodes: {held_out (predictions), error (mean absolute), sem (mean over the held-out simulations),
        coverage (share inside the interval)}, level}.

    Raises:
        RequestError: there are too few conditions for anything to be held out.
    """
    known, truth = place(table, noise_mode), table["network_mean"].to_numpy()
    electrode = np.unique(known[:, :2], axis=0, return_inverse=True)[1]
    found: dict[str, Any] = {"level": surface.LEVEL}
    for kind, unit in (("conditions", np.arange(len(table))), ("electrodes", electrode)):
        parts = []
        for number in range(rounds):
            rng = np.random.default_rng([seed, number])
            drawn = rng.permutation(unit.max() + 1)[: round(HELD_OUT * (unit.max() + 1))]
            out = np.isin(unit, drawn)
            held = np.flatnonzero(out)[surrounded(known[out], known[~out])]
            if len(held):
                predicted = surface.fit(known[~out], truth[~out])(known[held])
                parts.append(np.column_stack([predicted, truth[held], table["network_sem"].to_numpy()[held]]))
        if not parts and kind == "conditions":
            raise RequestError(f"{len(table)} simulated conditions are too few to hold any out")
        if parts:
            expected, low, high, simulation, sem = np.concatenate(parts).T
            found[kind] = {
                "held_out": len(sem),
                "error": float(np.abs(expected - simulation).mean()),
                "sem": float(sem.mean()),
                "coverage": float(((low <= simulation) & (simulation <= high)).mean()),
            }
    return found
