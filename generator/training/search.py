"""The search behind rules/tuned.json: base learning rates, and information alignment's parameters.

Run `python -m generator.training.search`; it takes about a quarter of an hour on two cores and rewrites tuned.json with what was
tried, every score, and what was chosen. Scores are accuracies on test stimuli outside the probe set, averaged over tasks,
architectures, rules and rate multipliers spanning 8×, so that the choice is good over a spec's whole range of rates, not
at its best point. Of the candidates within one standard error of the best score the gentlest is chosen, the smallest rate
(Breiman et al. 1984): the best one often stands next to divergence. The momentum rules share one base rate: a rate tuned
per rule would name the rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from typing import Any

from generator.rules.contract import TUNED

MULTIPLIERS = (0.35, 1.0, 2.8)
BUDGETS = {"mlp3": (20, 128), "knet4": (4, 32)}  # architecture: epochs, batch size
TASKS = ("digits", "photos")
PROBE, TESTED = 256, 200  # probe stimuli left out of the test; about as many as are left to test on
RATES = {"momentum": (0.0025, 0.005, 0.01, 0.02, 0.04), "adam": (0.0005, 0.001, 0.002, 0.004, 0.008)}
RULES = {"momentum": ("sgdm", "fa"), "adam": ("adam",)}
IA_GRID = {"alpha": (0.5, 2.0, 8.0), "beta": (1.0,), "gamma": (0.3, 1.0, 4.0), "feedback_rate": (0.0003, 0.001)}


def accuracies(rule: Any, architecture: str, task: str, rates: Sequence[float]) -> list[float]:
    """Final accuracy of one network per rate multiplier, trained as one stack; chance where it diverged."""
    import tomli_w
    import torch

    from generator.architectures.layers import Pass
    from generator.clusters.process import for_training
    from generator.spec import spec
    from generator.training.stack import Stack

    epochs, batch = BUDGETS[architecture]
    grid = {"task": task, "architecture": architecture, "rule": rule, "epochs": epochs, "batch_size": batch}
    text = tomli_w.dumps({"name": "search", "grid": [grid | {"learning_rate": list(rates)}]})
    with for_training():
        stack = Stack(spec.parse(text).networks)
        stack.settle()
        for step in range(stack.first.steps):
            stack.step(stack.batch(step))
        whole, run = stack.probe(len(stack.task.order)), Pass()
        test = whole._replace(x=whole.x[:, PROBE:], y=whole.y[:, PROBE:])
        with torch.no_grad():
            outputs = stack.network.forward(test.x, run)
            return stack.objective.assess(stack.network, test, run, outputs, stack.reference)[1].tolist()


def main() -> None:
    """Run the search and write tuned.json."""
    record: dict[str, Any] = {"chosen": json.loads(TUNED.read_text(encoding="utf-8"))["chosen"], "scores": {}}
    record["scored_on"] = (
        "accuracy on test stimuli outside the probe set, mean over rate multipliers, tasks, architectures"
    )
    for update in RATES:
        search_rates(update, record)
        TUNED.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    search_alignment(record)
    TUNED.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def search_rates(update: str, record: dict[str, Any]) -> None:
    """Choose an update's base rate, over all rules that share it."""
    multiples = sorted({_round(rate * m) for rate in RATES[update] for m in MULTIPLIERS})
    base = record["chosen"][update]["base_rate"]
    cases = list(product(RULES[update], BUDGETS, TASKS))
    found = _each([(*case, [rate / base for rate in multiples]) for case in cases])
    tables = [dict(zip(multiples, accuracy, strict=True)) for accuracy in found]
    scores = {rate: _mean([table[_round(rate * m)] for table in tables for m in MULTIPLIERS]) for rate in RATES[update]}
    record["scores"][update] = {
        "mean": scores,
        "cases": {" ".join(case): table for case, table in zip(cases, tables, strict=True)},
    }
    error = _standard_error(
        [table[_round(rate * m)] for table in tables for rate in RATES[update] for m in MULTIPLIERS]
    )
    record["scores"][update]["standard_error"] = error / math.sqrt(len(tables) * len(MULTIPLIERS))
    good = max(scores.values()) - record["scores"][update]["standard_error"]
    record["chosen"][update] = {"base_rate": min(rate for rate, score in scores.items() if score >= good)}
    print(update, scores, flush=True)


def search_alignment(record: dict[str, Any]) -> None:
    """Choose information alignment's parameters at the base rate just found, on one mlp and one knet."""
    grid = [dict(zip(IA_GRID, values, strict=True)) for values in product(*IA_GRID.values())]
    cases = list(product(BUDGETS, TASKS))
    found = iter(_each([({"name": "ia", **point}, *case, MULTIPLIERS) for point in grid for case in cases]))
    tried: list[dict[str, Any]] = []
    for point in grid:
        by_case = {" ".join(case): next(found) for case in cases}
        everything = [a for accuracy in by_case.values() for a in accuracy]
        tried.append({**point, "mean": _mean(everything), "cases": by_case})
        print(tried[-1], flush=True)
    error = _standard_error(everything) / math.sqrt(len(everything))
    good = max(point["mean"] for point in tried) - error
    best = min((p for p in tried if p["mean"] >= good), key=lambda point: (point["feedback_rate"], -point["mean"]))
    record["scores"]["ia"] = {"standard_error": error, "points": tried}
    record["chosen"]["ia"] = {name: best[name] for name in IA_GRID}


def _each(calls: Sequence[tuple[Any, ...]]) -> list[list[float]]:
    """`accuracies` of every call, in fresh processes, which read tuned.json as it stands."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        return list(pool.map(accuracies, *zip(*calls, strict=True)))


def _standard_error(accuracies: Sequence[float]) -> float:
    """The binomial standard error of one accuracy on some 200 test stimuli, root mean square over these."""
    return math.sqrt(_mean([a * (1 - a) / TESTED for a in accuracies]))


def _round(rate: float) -> float:
    return float(f"{rate:.3g}")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


if __name__ == "__main__":
    main()
