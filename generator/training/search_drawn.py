"""The base rates of updates, and of some pathways, searched on networks of the atlas: shapes and tasks drawn at random.

Run `python -m generator.training.search_drawn sgd lion …`; an update takes about two minutes of a core. It rewrites tuned.json
with every score and what was chosen. Every shape is trained at nine rates, each `STEP` times the one before. A rate is scored
by the mean accuracy at itself and at its two neighbours, since a spec's rates span 8×. Of the candidates within one standard
error of the best score the smallest is chosen, as in `search.py`.

Updates are searched under bp, pathways with momentum. A pathway whose gradients are of another size has a factor on momentum's
base rate. Where hidden layers learn by themselves, at a `hidden_rate` relative to the read-out's, that is searched, and the
*largest* is chosen of those whose score is within 5 % of the best: a rule that hardly moves its weights is the read-out alone.

A pathway of other architectures alone is searched on `STAND_INS`, in the place of what is drawn, at its width and on its task.
"""

from __future__ import annotations

import json
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from generator.rules import PATHWAYS
from generator.rules.contract import TUNED

ATLAS = Path(__file__).parents[2] / "datasets" / "atlas.toml"
SHAPES = {"mlps": 8, "convnets": 4}  # of each block, its first ones
STEP, SPAN = 2.83, 4  # the rates are CENTRES × STEP^j, j from −SPAN to SPAN
STAND_INS = {"vnn": "vnn3"}  # by family
LOSS = 0.05  # of accuracy that hidden layers which learn by themselves may cost
CENTRES = {
    "sgd": 0.05,
    "rmsprop": 0.001,
    "sign_sgd": 0.0005,
    "lion": 0.0005,
    "muon": 0.002,
    "exponentiated_gradient": 1.0,
    "p_norm": 0.005,
    "weight_perturbation": 0.0002,
    "forward_gradient": 0.0002,
    "node_perturbation": 0.0002,
    "reinforce": 0.001,
    "brain_prop": 0.02,
    "local_loss": 3.0,
    "pepita": 0.005,
    "gevb": 0.01,
    "forward_forward": 30.0,  # from here on hidden rates
    "hebb": 0.001,
    "oja": 0.001,
    "bcm": 0.001,
    "krotov_hopfield": 0.05,
    "soft_hebb": 0.05,
    "similarity_matching": 0.001,
    "latent_predictive": 5.0,
}


def alone(name: str) -> bool:
    """Whether it is a pathway whose hidden layers learn by themselves."""
    return name in PATHWAYS and "hidden_rate" in PATHWAYS[name].defaults


def accuracies(name: str, block: str, number: int) -> list[float]:
    """Final accuracy on the test part of a shape's first network, one per rate; chance where it diverged."""
    import torch

    from generator.architectures.layers import Pass
    from generator.clusters.process import for_training
    from generator.rules import chosen
    from generator.spec import spec
    from generator.training.loop import EXPLODED
    from generator.training.stack import Stack

    blocks = {one.name: one for one in spec.read(ATLAS).sample}
    drawn = blocks[block].model_copy(update={"shapes": number + 1, "networks": 1, "rule": "sgdm"})
    *_, shape = drawn.drawn(block, root_seed=0, probe=128, checkpoints=21)
    rule = chosen(name if name in PATHWAYS else f"bp+{name}", "")
    first = replace(shape.networks[0], rule=rule)
    for kind in rule.needs.architectures:
        first = replace(first, architecture=STAND_INS[kind], nonlinearity="relu", stem="small")
    rates = [CENTRES[name] * STEP**j for j in range(-SPAN, SPAN + 1)]
    members = [replace(first, learning_rate=1.0 if alone(name) else rate / rule.base_rate) for rate in rates]
    with for_training():
        stack = Stack(members)
        if alone(name):
            stack.pathway.hidden_rate.copy_(torch.tensor(rates))  # type: ignore[attr-defined]
        stack.settle()
        limit = EXPLODED * stack.objective.chance(first.input.classes, first.batch_size)
        kept = torch.ones(len(rates), dtype=torch.bool)
        for step in range(stack.first.steps):
            kept &= stack.step(stack.batch(step)) < limit
        test = stack.probe(len(stack.task.order))
        with torch.no_grad():
            outputs = stack.network.forward(test.x, run := Pass())
            found = stack.objective.assess(stack.network, test, run, outputs, stack.reference)[1]
            # A loss that explodes leaves the answers of vector units as they are: whole networks grow.
            fine = kept if rule.needs.architectures else outputs.isfinite().flatten(1).all(1)
            return torch.where(fine, found, 1 / first.input.classes).tolist()


def search(name: str, record: dict[str, Any]) -> None:
    """Choose a base rate."""
    cases = [(name, block, number) for block, count in SHAPES.items() for number in range(count)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        tables = list(pool.map(accuracies, *zip(*cases, strict=True)))
    rates = [float(f"{CENTRES[name] * STEP**j:.3g}") for j in range(-SPAN, SPAN + 1)]
    scores = {
        rate: math.fsum(sum(table[at - 1 : at + 2]) for table in tables) / (3 * len(tables))
        for at, rate in enumerate(rates)
        if 0 < at < len(rates) - 1
    }
    best = max(scores, key=lambda rate: scores[rate])
    at = rates.index(best)
    each = [sum(table[at - 1 : at + 2]) / 3 for table in tables]
    # of the difference to the best, shape by shape: shapes differ far more than rates
    error = {
        rate: _error([sum(table[i - 1 : i + 2]) / 3 - one for table, one in zip(tables, each, strict=True)])
        for i, rate in enumerate(rates)
        if rate in scores
    }
    good = [rate for rate in scores if scores[rate] >= scores[best] - error[rate]]
    lively = [rate for rate in scores if scores[rate] >= (1 - LOSS) * scores[best]]
    record["scores"][name] = {
        "mean": {str(rate): score for rate, score in scores.items()},
        "cases": {
            f"{block} {n}": dict(zip(map(str, rates), t, strict=True))
            for (_, block, n), t in zip(cases, tables, strict=True)
        },
    }
    if alone(name):
        record["chosen"][name] = {"hidden_rate": max(lively)}
    elif name in PATHWAYS:
        record["chosen"][name] = {"rate": float(f"{min(good) / record['chosen']['momentum']['base_rate']:.3g}")}
    else:
        record["chosen"][name] = {"base_rate": min(good)}
    print(name, record["chosen"][name], {rate: round(score, 3) for rate, score in scores.items()}, flush=True)


def _error(values: list[float]) -> float:
    """Standard error of a mean."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def main() -> None:
    """Run the search for those named, or for all, and write tuned.json."""
    for name in sys.argv[1:] or CENTRES:
        record = json.loads(TUNED.read_text(encoding="utf-8"))
        search(name, record)
        TUNED.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
