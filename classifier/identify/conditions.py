"""Make the table from which `power` answers at once: `python -m classifier.identify.conditions datasets/planner TABLE.json`.

Every electrode of the reference × several numbers of sessions is scored as `identify` would answer: activity of any one layer, on
scenarios that were not trained on. Several animals learn alike and come from other scenarios each; their evidence is added.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.examples.scenarios import text
from classifier.examples.trajectories import ACTIVITY
from classifier.identify import identifier as identifiers
from classifier.identify.identifier import Reading
from classifier.identify.identify import Place, Reference
from classifier.identify.matching import Measurement, drawn
from classifier.identify.planned import statistics
from classifier.models.trust import FOLDS, Codes, Scores
from classifier.power.table import ANIMALS
from generator.dataset.electrodes import Electrode

SESSIONS = (2, 3, 4, 6, 8, 11, 16, 21)
DIGITS = 4


def tabulated(reference: Place, seed: int = 0) -> dict[str, Any]:
    """What `power.table` reads: {reference, networks, labels, noise_mode, conditions: [{units, noise, sessions, animals,
    recordings, accuracy, sem, confusion (shares, true class by row)}]}.

    Accuracy is balanced over classes; its s.e.m. is over folds.
    """
    names = tuple(statistics(reference, (ACTIVITY,)))
    against, found = Reference(reference, names, "rule"), []
    known = [Electrode.named(name) for name in against.electrodes]
    for electrode in (one for one in known if one.units is not None):
        loaded = against.read([electrode.name])
        for sessions in (count for count in SESSIONS if count <= against.known.checkpoints):
            like = Measurement(names, sessions, 1, electrode)
            examples = drawn(loaded, {electrode.name: 1.0}, like, seed=seed)
            who = identifiers.one_each(examples, 1)
            raw, codes, fold = identifiers.crossed_scores(examples, Reading.of(names, sessions, 1), "rule", seed)
            units = identifiers.held_out_together(who, "rule")
            for animals in ANIMALS:
                named = together(raw, codes, units, animals, seed).argmax(axis=1)
                parts = [recalls(named[fold == number], codes[fold == number]).mean() for number in range(FOLDS)]
                shares = np.array(
                    [np.bincount(named[codes == code], minlength=raw.shape[1]) for code in np.unique(codes)]
                )
                shares = shares / shares.sum(axis=1, keepdims=True)
                found.append(
                    {"units": electrode.units, "noise": electrode.noise, "sessions": sessions, "animals": animals}
                    | {"recordings": len(codes), "accuracy": round(float(np.diag(shares).mean()), DIGITS)}
                    | {"sem": round(float(np.std(parts, ddof=1) / np.sqrt(FOLDS)), DIGITS)}
                    | {"confusion": shares.round(DIGITS).tolist()}
                )
            print(f"{electrode.name}, {sessions} sessions: {found[-len(ANIMALS)]['accuracy']:.3f}", file=sys.stderr)
        against.forget(electrode.name)
    labels = np.unique(text(who["rule"])).tolist()
    return {
        "reference": Path(str(against.dataset)).name,
        "networks": against.networks,
        "labels": labels,
        "conditions": found,
    }


def together(raw: Scores, codes: Codes, units: Codes, animals: int, seed: int) -> Scores:
    """(networks, classes) log scores of each network and of others of its class, each from another scenario, added."""
    rng, total = np.random.default_rng(seed), raw.copy()
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        used = [own]
        for _ in range(animals - 1):
            partner = rng.choice(own, len(own))
            while (again := np.any([units[partner] == units[one] for one in used], axis=0)).any():
                partner[again] = rng.choice(own, int(again.sum()))
            used.append(partner)
            total[own] += raw[partner]
    return total


def recalls(named: Codes, codes: Codes) -> NDArray[np.float64]:
    """(classes,) the share of each that is named."""
    return np.array([(named[codes == code] == code).mean() for code in np.unique(codes)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference")
    parser.add_argument("out")
    given = parser.parse_args()
    Path(given.out).write_text(json.dumps(tabulated(given.reference)) + "\n", encoding="utf-8")
