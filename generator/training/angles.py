"""How far backward weights are from forward ones while a network learns: the angle of M and W, in degrees.

Run `python -m generator.training.angles`. It trains mlp3 on digits, as `datasets/zoo-unseen.toml` has it, at the usual rate,
under every rule whose error comes down through weights other than W. It prints a line per rule: the angle of all layers together
after the first, 1/16, 1/4 and all of the updates, and the final accuracy on the test part. 90° is no relation, 0° is
alignment.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from generator.architectures.layers import Pass
from generator.architectures.network import Network
from generator.clusters.process import for_training
from generator.rules import PATHWAYS
from generator.rules.pathways.feedback import FeedbackAlignment
from generator.spec import spec
from generator.spec.network import NetworkSpec
from generator.training.stack import Stack

SPEC = Path(__file__).parents[2] / "datasets" / "zoo-unseen.toml"
ARCHITECTURE, TASK, RATE = "mlp3", "digits", 1.0
AT = (1 / 16, 1 / 4, 1)  # of the updates, beside the first


def angle(network: Network) -> float:
    """Between all of M and all of W, of a stack's first network, in degrees."""
    pairs = [(layer.feedback[0], layer.weight[0]) for layer in network.layers if layer.feedback is not None]
    m, w = (torch.cat([one.detach().double().flatten() for one in each]) for each in zip(*pairs, strict=True))
    return math.degrees(math.acos(float(torch.nn.functional.cosine_similarity(m, w, dim=0))))


def turned(one: NetworkSpec) -> tuple[list[float], float]:
    """The angle after the first of its updates and at `AT`, and its final accuracy on the test part."""
    with for_training():
        stack = Stack([one])
        stack.settle()
        marks, angles = {1, *(round(share * one.steps) for share in AT)}, list[float]()
        for step in range(one.steps):
            stack.step(stack.batch(step))
            if step + 1 in marks:
                angles.append(angle(stack.network))
        test = stack.probe(len(stack.task.order))
        with torch.no_grad():
            outputs = stack.network.forward(test.x, run := Pass())
            accuracy = stack.objective.assess(stack.network, test, run, outputs, stack.reference)[1]
        stack.close()
    return angles, float(accuracy[0])


def candidates() -> dict[str, NetworkSpec]:
    """The networks by rule."""
    where = (ARCHITECTURE, TASK, RATE)
    there = [one for one in spec.read(SPEC).networks if (one.architecture, one.task, one.learning_rate) == where]
    return {one.rule.pathway: one for one in there if issubclass(PATHWAYS[one.rule.pathway], FeedbackAlignment)}


def main() -> None:
    """Print the table."""
    print("rule", "first", *(f"{share:.0%}" for share in AT), "accuracy", sep="\t")
    for rule, one in candidates().items():
        angles, accuracy = turned(one)
        print(rule, *(f"{a:.0f}" for a in angles), f"{accuracy:.2f}", sep="\t", flush=True)


if __name__ == "__main__":
    main()
