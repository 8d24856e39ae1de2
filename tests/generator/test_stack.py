"""Networks of a stack do not know of each other: k together equal k alone, and a diverging one ends alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from oracles import PAIRS, member, stack, state

from generator.spec.network import NetworkSpec
from generator.training.loop import EXPLODED, Observation, go_on, train
from generator.training.stack import Stack


def trained(*members: NetworkSpec) -> tuple[Stack, np.ndarray]:
    """A stack after three updates, and the losses (k, 3): what the first leaves behind, the others read and change."""
    built = stack(*members)
    built.settle()
    return built, np.array([built.step(built.batch(step)).numpy() for step in range(3)]).T


@pytest.mark.unchecked
@pytest.mark.parametrize(("rule", "architecture"), PAIRS)
def test_three_networks_together_equal_three_alone(rule: str, architecture: str) -> None:
    differing = [
        {},
        {"learning_rate": 3.0, "model_seed": 1, "weight_decay": 0.01},
        {"learning_rate": 0.2, "data_seed": 1},
    ]
    members = [member(rule, architecture, **each) for each in differing]
    together, losses = trained(*members)
    finals = [state(together, i) for i in range(3)]
    for i, one in enumerate(members):
        alone, loss = trained(one)
        np.testing.assert_allclose(losses[i], loss[0], rtol=1e-9)
        for name, expected in state(alone, 0).items():
            np.testing.assert_allclose(finals[i][name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
    fixed = rule.startswith(("none+", "read_out_only+"))  # then two of one model seed keep the same weights
    for a, b in [] if fixed else itertools.combinations(finals, 2):  # some hardly move their first layer in three steps
        weights = [name for name in a if name.startswith("weight")]
        assert any(not np.allclose(a[name], b[name], rtol=1e-4, atol=1e-6) for name in weights)


def cohort(rule: str, architecture: str, middle: float) -> list[Observation]:
    """Three networks, the middle one at another rate."""
    rates = [1.0, middle, 0.5]
    members = [
        member(rule, architecture, learning_rate=rate, model_seed=i, batch_size=100) for i, rate in enumerate(rates)
    ]
    return list(train(members, checkpoints=4, probe=16))


def mates(seen: Sequence[Observation]) -> list[bytes]:
    """All numbers of the outer two, byte for byte."""
    fields = ("statistics", "train_loss", "probe_loss", "probe_accuracy", "diverged_at")
    return [getattr(o, name)[[0, 2]].tobytes() for o in seen for name in fields]


@pytest.mark.parametrize("rule", ["sgdm", "adam", "fa", "ia", "dfa"])
def test_a_diverging_network_ends_alone_and_is_recorded(rule: str) -> None:
    disturbed, calm = cohort(rule, "mlp3", 1e9), cohort(rule, "mlp3", 2.0)
    assert mates(disturbed) == mates(calm)
    assert all(int(o.diverged_at[1]) == -1 for o in calm)
    assert int(disturbed[0].diverged_at[1]) == -1
    at = [int(o.diverged_at[1]) for o in disturbed[1:]]
    assert at == [at[0]] * 3
    assert 0 <= at[0] <= disturbed[1].step


def test_divergence_is_dated_to_the_update_whose_loss_exploded() -> None:
    diverging = member(learning_rate=300.0, batch_size=100)
    built = Stack([diverging])
    built.settle()
    losses = [float(built.step(built.batch(step))[0]) for step in range(diverging.steps)]
    limit = EXPLODED * math.log(diverging.input.classes)
    expected = next(step for step, loss in enumerate(losses) if not loss < limit)
    assert expected > 0
    for checkpoints in (2, 4, 8, 15):
        seen = list(train([diverging, member(batch_size=100)], checkpoints=checkpoints, probe=16))
        assert int(seen[-1].diverged_at[0]) == expected


def test_raw_tensors_are_of_their_own_checkpoint() -> None:
    first, *_, last = train([member(batch_size=100)], checkpoints=3, probe=16, keep=[0])
    assert not np.allclose(first.snapshots[0]["fc1.weight"], last.snapshots[0]["fc1.weight"])


def test_a_large_probe_loss_is_no_divergence_but_one_that_is_not_finite_is() -> None:
    built = stack(*(member(architecture="knet4", model_seed=seed) for seed in range(3)))
    built.settle()
    built.network.norms[-1].mean[1] += 1e6  # seen in evaluation mode alone, as running averages that lag behind are
    built.network.norms[-1].mean[2] = math.inf
    seen = list(go_on(built, [], checkpoints=2, probe=16))
    limit = EXPLODED * math.log(built.first.input.classes)
    assert limit < seen[0].probe_loss[1] < math.inf
    assert seen[-1].diverged_at.tolist() == [-1, -1, 0]
    assert (seen[-1].train_loss < 1).all()


def test_a_knet_that_diverges_leaves_its_mates_alone() -> None:
    disturbed, calm = cohort("fa", "knet4lrn", 1e9), cohort("fa", "knet4lrn", 2.0)
    assert mates(disturbed) == mates(calm)
    assert int(disturbed[-1].diverged_at[1]) >= 0


def test_training_stops_when_no_network_is_alive() -> None:
    seen = list(train([member(learning_rate=1e9, batch_size=100)], checkpoints=8, probe=16))
    assert len(seen) < 8
    assert int(seen[-1].diverged_at[0]) >= 0


def test_members_that_differ_in_more_than_rates_and_seeds_cannot_share_a_stack() -> None:
    with pytest.raises(ValueError, match="must agree"):
        stack(member("sgdm"), member("ia"))
