"""What `identify` says of recordings that are none of a network that learned: `python tests/studies/strangers.py datasets/atlas`.

Networks of some shapes of the reference are trained again, and what their units do is recorded as arrays; the reference is then
used without these shapes. Of each recording others are made: its units shuffled anew in every session, its sessions in another
order, the network untrained. Beside them stand pure noise and images in place of activity.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from classifier.examples.trajectories import Examples, Parts
from classifier.identify import identifier as identifiers
from classifier.identify.identifier import Reading
from classifier.identify.identify import STRANGE, Reference
from classifier.identify.matching import Measurement
from classifier.identify.order import SURE, order
from classifier.identify.outside import doubt
from classifier.identify.planned import statistics
from generator.architectures.layers import Pass
from generator.dataset.electrodes import Electrode
from generator.dataset.storage import Dataset
from generator.recordings.recording import Recording
from generator.spec.network import NetworkSpec
from generator.spec.planning import form_cohorts
from generator.spec.spec import recorded
from generator.training.loop import checkpoint_steps
from generator.training.stack import Stack

Array = NDArray[np.float32]
KINDS = ("as they are", "units shuffled", "sessions in random order", "untrained", "pure noise", "images")


def shapes(networks: list[NetworkSpec], count: int, rng: np.random.Generator) -> list[list[NetworkSpec]]:
    """The networks of some shapes."""
    found: dict[Any, list[NetworkSpec]] = {}
    for one in networks:
        found.setdefault((one.architecture, one.nonlinearity, one.width, one.task), []).append(one)
    chosen = rng.choice(len(found), min(count, len(found)), replace=False)
    return [list(found.values())[place] for place in chosen]


def activity(members: list[NetworkSpec], probe: int, checkpoints: int, sessions: int, units: int) -> Iterator[Array]:
    """Of each network and layer with at least half as many units: (sessions, stimuli, units), untrained in the first session."""
    for _, cohort in form_cohorts(members, "cpu", probe):
        stack = Stack(cohort)
        stack.settle()
        stimuli, done, seen = stack.probe(probe), 0, []
        for until in checkpoint_steps(stack.first.steps, checkpoints)[:sessions]:
            for step in range(done, until):
                stack.step(stack.batch(step))
            done = until
            with torch.no_grad():
                stack.network.forward(stimuli.x, run := Pass(training=False))
            seen.append([y.flatten(2) for y in run.outputs])
        stack.close()
        rng = np.random.default_rng(0)
        for layer in range(len(seen[0])):
            size = seen[0][layer].shape[2]
            picked = rng.permutation(size)[:units]
            if 2 * size < units:
                continue
            for member in range(len(cohort)):
                yield np.stack([of[layer][member][:, picked].numpy() for of in seen])


def variants(y: Array, noise: float, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """A recording as it is, and what was made of it."""

    def noisy(quiet: Array) -> Array:
        return quiet + noise * y[0].std() * rng.standard_normal(quiet.shape).astype(np.float32)

    yield KINDS[0], noisy(y)
    yield KINDS[1], np.stack([one[:, rng.permutation(one.shape[1])] for one in noisy(y)])
    places = np.arange(len(y))
    while (places == np.arange(len(y))).all():
        places = rng.permutation(len(y))
    yield KINDS[2], noisy(y)[places]
    yield KINDS[3], noisy(np.repeat(y[:1], len(y), axis=0))


def others(count: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Pure noise of three kinds, and handwritten digits, others in every session, pixels for units."""
    digits = load_digits().data.astype(np.float32)
    for number in range(count):
        draw = (
            lambda: rng.standard_normal(shape),
            lambda: rng.poisson(rng.gamma(1, 2, shape[2]), shape),
            lambda: rng.lognormal(0, 1, shape),
        )[number % 3]
        yield KINDS[4], draw().astype(np.float32)
        places = [rng.choice(len(digits), shape[1], replace=False) for _ in range(shape[0])]
        yield KINDS[5], np.stack([digits[one] for one in places])


def study(location: str, count: int, units: int, noise: float, sessions: int, seed: int = 0) -> pd.DataFrame:
    """A row per kind: recordings, areas under the ROC curve against recordings as they are, and shares of verdicts."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    names = statistics(location, ["activity"], 1)
    against = Reference(location, names, "rule")
    like = Measurement(tuple(names), sessions, 1, Electrode(units, noise_mode="relative", noise=noise))
    measured, _ = against.measured(like, seed)
    chosen = shapes(recorded(Dataset(location)).networks, count, rng)
    gone = {one.network_id for members in chosen for one in members}
    known = measured.rows(~measured.identity["origin"].isin(gone).to_numpy())
    reading = Reading.of(names, sessions, 1).near
    near = identifiers.neighbourhood(known, reading, "rule", seed)
    recordings = [
        made
        for members in chosen
        for y in activity(members, against.stimuli, against.known.checkpoints, sessions, units)
        if np.isfinite(y).all() and y[0].std() > 0
        for made in variants(y, noise, rng)
    ]
    recordings += others(len(recordings) // (4 * len(chosen)) * 20, (sessions, against.stimuli, units), rng)
    rows = []
    for kind, y in recordings:
        recording = Recording(y)
        table = reading.table(_with_all(Examples.from_recording(recording), names))
        found = order(list(recording.about.distances.values()))
        strange = float(near.strangeness(table)[0])
        rows.append({"kind": kind, "strangeness": strange, "p": found["p"], "doubt": doubt(strange, found)})
    return _summary(pd.DataFrame(rows))


def _with_all(examples: Examples, names: list[str]) -> Examples:
    """With all statistics; one that is nowhere defined, as of activity that never moves, is NaN."""
    known = {**dict.fromkeys(names, Parts("", "", "")), **examples.statistics}
    values = np.full((*examples.values.shape[:2], len(known)), np.nan, np.float32)
    values[:, :, [list(known).index(name) for name in examples.statistics]] = examples.values
    return replace(examples, values=values, statistics=known)


def _summary(rows: pd.DataFrame) -> pd.DataFrame:
    usual, found = rows[rows["kind"] == KINDS[0]], []
    for kind in KINDS:
        of = rows[rows["kind"] == kind]
        truth = np.repeat([0, 1], [len(usual), len(of)])
        auroc = {
            name: roc_auc_score(truth, np.concatenate([usual[name], of[name]]))
            for name in ("strangeness", "p", "doubt")
        }
        out, still = of["strangeness"] > STRANGE, of["p"] > SURE
        found.append(
            {"recordings": kind, "count": len(of)}
            | {f"auroc of {name}": value for name, value in auroc.items()}
            | {"outside": out.mean(), "no learning": still.mean(), "either": (out | still).mean()}
        )
    return pd.DataFrame(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference")
    parser.add_argument("--shapes", type=int, default=40)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.25)
    parser.add_argument("--sessions", type=int, default=8)
    asked = parser.parse_args()
    table = study(asked.reference, asked.shapes, asked.units, asked.noise, asked.sessions)
    print(table.round(3).to_string(index=False))
