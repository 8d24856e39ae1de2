"""How hard the families of tasks are: what a small network learns of their first draws, beside chance and the linear read-out.

`python tests/benchmarks/measure_tasks.py` prints the table of docs/dictionary.md (two minutes on a core), without real data.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tomli_w
import torch

from generator.architectures.layers import Pass
from generator.clusters.process import for_training
from generator.curricula import reference, tasks
from generator.curricula.families import FAMILIES
from generator.spec import spec
from generator.training.stack import Stack

UPDATES, BATCH = 300, 64  # about: whole epochs
LEARNS, SOLVED = 1.5, 0.98  # from what multiple of chance to what accuracy a task counts as in the range


class Measured(NamedTuple):
    """Of one task."""

    chance: float
    network: float
    linear: float
    seconds: float  # of one core, to make its data


def accuracy(task: str, pixels: int, architecture: str, rule: str) -> float:
    """Of a trained network on the whole test part."""
    epochs = round(UPDATES / (tasks.info(task).train // BATCH))
    grid = {
        "task": task,
        "pixels": pixels,
        "architecture": architecture,
        "rule": rule,
        "epochs": epochs,
        "batch_size": BATCH,
    }
    with for_training():
        stack = Stack(spec.parse(tomli_w.dumps({"name": "hard", "grid": [grid]})).networks)
        stack.settle()
        for step in range(stack.first.steps):
            stack.step(stack.batch(step))
        test, run = stack.probe(len(stack.task.order)), Pass()
        with torch.no_grad():
            outputs = stack.network.forward(test.x, run)
            return stack.objective.assess(stack.network, test, run, outputs, stack.reference)[1].item()


def measured(family: str, draws: int, pixels: int, architecture: str, rule: str) -> Iterator[Measured]:
    """Its first draws."""
    for number in range(draws):
        name = f"{family}:{number}"
        begin = time.process_time()
        tasks.load(name, pixels)
        seconds = time.process_time() - begin
        reached = accuracy(name, pixels, architecture, rule)
        yield Measured(1 / tasks.info(name).classes, reached, reference.reference(name, pixels), seconds)


def main() -> None:
    """Print a row per family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--pixels", type=int, default=16)
    parser.add_argument("--architecture", default="mlp3")
    parser.add_argument("--rule", default="sgdm")
    parser.add_argument("--each", action="store_true", help="print every task, too")
    asked = parser.parse_args()
    print(
        "| family | in the range | too hard | too easy | accuracy: quartiles | accuracy / chance | linear read-out | ms to make |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for family in asked.families.split(","):
        found = list(measured(family, asked.draws, asked.pixels, asked.architecture, asked.rule))
        if asked.each:
            for number, one in enumerate(found):
                drawn = " ".join(f"{k} {v:.3g}" for k, v in tasks.parameters(f"{family}:{number}").items())
                print(f"{one.network:.2f} {one.linear:.2f} chance {one.chance:.2f} {drawn}")
        chance, network, linear, seconds = np.array(found).T
        hard, easy = (network < LEARNS * chance), (network > SOLVED)
        quartiles = [np.quantile(each, (0.25, 0.5, 0.75)) for each in (network, network / chance, linear)]
        text = [", ".join(f"{value:.2f}" for value in each) for each in quartiles]
        inside = len(found) - hard.sum() - easy.sum()
        print(
            f"| `{family}` | {inside} of {len(found)} | {hard.sum()} | {easy.sum()} | {' | '.join(text)} | "
            f"{1000 * np.median(seconds):.0f}, at most {1000 * seconds.max():.0f} |"
        )


if __name__ == "__main__":
    main()
