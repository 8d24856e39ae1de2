"""The baselines compute what the engine computes: a ratio to anything else would mean nothing."""

from __future__ import annotations

from contextlib import closing

import baseline
import measure_training
import numpy as np
import pytest
import run_baseline
import torch

from generator.spec import spec
from generator.training import loop
from generator.training.stack import Stack

RULES = ["sgdm", "adam", "fa", "ia"]
CASES = [("mlp3", "digits", "plain"), ("mlp3", "digits", "tuned"), ("knet4", "photos", "tuned")]
CASES += [("mlp2", "digits", "plain"), ("knet4lrn", "photos", "plain")]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("architecture", "task", "kind"), CASES)
def test_engine_and_baseline_measure_the_same(architecture: str, task: str, kind: str, rule: str) -> None:
    members = spec.parse(baseline.workload(architecture, task, [rule], each=2, epochs=1, checkpoints=3)).networks
    ours = np.stack([o.statistics[:, 0] for o in loop.train(members, checkpoints=3, probe=32)], axis=1)
    theirs = baseline.train(members[1], baseline.STATISTICS[kind], probe=32, checkpoints=3)
    assert run_baseline.compare(ours[1], theirs) < 1e-3
    assert not np.allclose(ours[0, -1], theirs[-1], rtol=1e-2, equal_nan=True)  # the other network, at half the rate


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("architecture", "task"), [("mlp3", "digits"), ("knet4", "photos")])
def test_engine_and_peer_learn_the_same(architecture: str, task: str, rule: str) -> None:
    pytest.importorskip("jax")
    import jitted

    steps = 4 if architecture == "mlp3" else 2
    members = spec.parse(baseline.workload(architecture, task, [rule], each=2, epochs=1, checkpoints=3)).networks
    with closing(Stack(members)) as stack:
        stack.settle()
        ours = torch.stack([stack.step(stack.batch(step)) for step in range(steps)]).numpy()
    for together in (members, members[:1]):
        theirs = jitted.Peer(together).learn(0, steps)
        np.testing.assert_allclose(theirs, ours[:, : len(together)], rtol=1e-4)
    if architecture == "mlp3":
        seen = np.stack([o.statistics[:, 0] for o in loop.train(members, checkpoints=3, probe=32)], axis=1)
        assert run_baseline.compare(seen[1], jitted.train(members[1], probe=32, checkpoints=3)) < 1e-3


@pytest.mark.parametrize("wrong", [lambda s: s * 1.05, lambda s: np.where(s == s[0], s, np.nan), lambda s: s[::-1]])
def test_numbers_that_are_not_the_same_stop_the_benchmark(wrong: object) -> None:
    seen = np.random.default_rng(0).lognormal(size=(3, 2, 45))
    assert run_baseline.compare(seen, seen.copy()) == 0.0
    with pytest.raises(RuntimeError, match="differ"):
        run_baseline.compare(seen, wrong(seen))  # type: ignore[operator]


def test_arithmetic_is_counted_by_hand() -> None:
    sgdm, ia = (
        spec.parse(baseline.workload("mlp3", "digits", [rule], 1, 40, 21)).networks[0] for rule in ("sgdm", "ia")
    )
    first, above = 64 * 128, 128 * 128 + 128 * 10
    assert measure_training.flops(sgdm) == 2 * 128 * (2 * first + 3 * above)
    assert measure_training.flops(ia) == 2 * 128 * (2 * first + 5 * above)
